"""Augmentation: do synthetic rows of rare classes, added to the real rows, help a learner?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import sampled
from common.evaluation.statistics.values import MISSING, Labels, labels
from common.evaluation.utility.learners import LEARNERS, Prediction, predict
from common.evaluation.utility.scoring import Score, area, average_precision
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED, Predictions
from common.seeds import seed_for

AUGMENTED = ("lr", "gb", "rf")
"""Learners that augmentation is tried with."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One learner trained on real rows; with real minority rows repeated; with balanced synthetic rows added.

    Attributes:
        precision_real, precision_oversampled, precision_augmented: mean precision for the minority class.
        gain: synthetic rows added minus real rows alone, paired.
        gain_over_oversampling: synthetic rows added minus real minority rows repeated, paired.
        auroc_gain: AUROC with synthetic rows added minus real rows alone, paired.
    """

    name: str
    title: str
    precision_real: Estimate
    precision_oversampled: Estimate
    precision_augmented: Estimate
    gain: Estimate
    gain_over_oversampling: Estimate
    auroc_gain: Estimate


def augment(
    data: EvaluationData, minority: str, predictions: Predictions, classes: Sequence[str]
) -> tuple[tuple[Augmentation, ...], int]:
    """Train learners on real rows whose classes were made equally frequent, by repetition or with synthetic rows.

    At most `MOST_TRAINED` real rows are used.

    Args:
        minority: the class whose precision is measured.
        predictions: predictions of learners trained on all real rows; used unless the real rows are sampled.
        classes: classes that learners are scored on.

    Returns:
        One result per learner of `AUGMENTED`, and the number of synthetic rows added; 0 if no class can be filled.
    """
    train, real = sampled(data.train, MOST_TRAINED, "augmented"), predictions.real
    patients = data.holdout.iloc[predictions.rows]
    counts = pd.Series(labels(train[data.target])).value_counts().drop(MISSING, errors="ignore")
    wanted = {str(label): int(counts.max() - count) for label, count in counts.items() if counts.max() > count}
    extra = _fill(_synthetic_rows(data, wanted)[list(train.columns)], wanted, data.target, repeat=False)
    if extra.empty:
        return (), 0
    repeated = _fill(train, wanted, data.target, repeat=True)
    oversampled, augmented = (
        predict(pd.concat([train, rows], ignore_index=True), data.train, patients, data.target, AUGMENTED)
        for rows in (repeated, extra)
    )
    if len(train) < len(data.train):
        real = predict(train, data.train, patients, data.target, AUGMENTED)
    results = tuple(
        _compare(name, predictions.truth, minority, classes, (real, oversampled, augmented)) for name in AUGMENTED
    )
    return results, len(extra)


def _synthetic_rows(data: EvaluationData, wanted: Mapping[str, int]) -> pd.DataFrame:
    """Return synthetic rows of the wanted classes: drawn for them, or the table where no model can draw a class."""
    if data.draw_class is None or not wanted:
        return data.synthetic
    drawn = [data.draw_class(label, count) for label, count in sorted(wanted.items())]
    return pd.concat(drawn, ignore_index=True)


def _compare(
    name: str, truth: Labels, minority: str, classes: Sequence[str], arms: Sequence[Mapping[str, Prediction]]
) -> Augmentation:
    """Compare the arms: real rows alone, real minority rows repeated, synthetic rows added."""
    patients = len(truth)
    precision = [Score(average_precision(truth == minority, arm[name].of(minority)), patients) for arm in arms]
    areas = [Score(area(truth, arm[name], classes), patients) for arm in (arms[0], arms[2])]
    return Augmentation(
        name=name,
        title=LEARNERS[name].title,
        precision_real=precision[0].estimate(),
        precision_oversampled=precision[1].estimate(),
        precision_augmented=precision[2].estimate(),
        gain=precision[2].minus(precision[0]),
        gain_over_oversampling=precision[2].minus(precision[1]),
        auroc_gain=areas[1].minus(areas[0]),
    )


def _fill(rows: pd.DataFrame, wanted: Mapping[str, int], target: str, *, repeat: bool) -> pd.DataFrame:
    """Return rows of every wanted class: as many as wanted with `repeat`, else at most as many as there are."""
    classes, rng = labels(rows[target]), np.random.default_rng(seed_for(0, "augmentation"))
    parts = [rows.head(0)]
    for label, count in sorted(wanted.items()):
        members = np.flatnonzero(classes == label)
        chosen = rng.choice(members, count) if repeat and len(members) else rng.permutation(members)[:count]
        parts.append(rows.iloc[chosen])
    return pd.concat(parts, ignore_index=True)
