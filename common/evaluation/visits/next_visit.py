"""Train on synthetic patients, test on real ones: what does a visit say about the next one?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.evaluation.statistics.codes import is_numeric_by_value
from common.evaluation.statistics.intervals import Estimate, bootstrap
from common.evaluation.statistics.resampling import RESAMPLES
from common.evaluation.statistics.values import MISSING, labels, numbers
from common.evaluation.utility.learners import predict, scored_classes
from common.evaluation.utility.scoring import area
from common.evaluation.visits.histories import OrderedVisits, VisitLayout
from common.seeds import seed_for

NEXT = "next visit"
"""Column of the target at the next visit."""

LEARNER = "gb"
"""The learner, an entry of `LEARNERS`: gradient boosting."""


def next_visit_auroc(
    table: OrderedVisits, train: OrderedVisits, holdout: OrderedVisits, layout: VisitLayout
) -> Estimate | None:
    """Return the AUROC of predicting the target at the next visit for held-out patients.

    Features are all columns at a visit, the target among them, and its number. A numeric target counts as above or not
    above the median of the training visits. With several classes each is scored against the rest and the mean taken.
    A patient's n - 1 steps have weight 1/(n - 1); the interval is over resampled held-out patients.

    Args:
        table: the patients to learn from, synthetic or real.
        train: real training patients, who decide which columns are numeric.
        holdout: real patients to predict.
        layout: names of the columns.

    Returns:
        None without a target, held-out patients who return, or two classes.
    """
    if layout.target is None:
        return None
    frames = [steps_of(histories, train, layout) for histories in (table, train, holdout)]
    if any(frame.empty for frame in frames):
        return None
    learned = predict(frames[0], frames[1], frames[2], NEXT, (LEARNER,))
    truth = labels(frames[2][NEXT])
    classes = scored_classes(truth, learned[LEARNER].classes) if learned else []
    if not classes or len(set(truth)) < 2:
        return None
    statistic = area(truth, learned[LEARNER], classes)
    owner = np.asarray(frames[2].index)
    patients, weights = holdout.patients, 1 / (holdout.lengths[owner] - 1)

    def of_patients(drawn: Floats) -> Floats:
        return statistic(drawn[:, owner] * weights)

    seed = seed_for(0, "bootstrap", "next-visit")
    return bootstrap(of_patients, patients, seed=seed, resamples=RESAMPLES)


def steps_of(histories: OrderedVisits, train: OrderedVisits, layout: VisitLayout) -> pd.DataFrame:
    """Return one row per visit that has a next one: its columns, its number, and the target at the next visit.

    Args:
        histories: the patients.
        train: real training patients, whose median divides a numeric target.
        layout: names of the columns; there is a target.

    Returns:
        The index is the patient's. Rows whose next target is a missing number are left out.
    """
    assert layout.target is not None
    rows = histories.with_next
    owner = histories.patient_of_visit[rows]
    steps = histories.table.iloc[rows].set_axis(owner, axis=0)
    following = histories.table[layout.target].iloc[rows + 1]
    steps["visit number"] = rows - histories.starts[owner] + 1
    if is_numeric_by_value(train.table[layout.target]):
        values = numbers(following)
        median = float(np.nanmedian(numbers(train.table[layout.target])))
        steps[NEXT] = np.where(values > median, "above", "not above")
        return steps[~np.isnan(values)]
    steps[NEXT] = labels(following)
    return steps[steps[NEXT] != MISSING]
