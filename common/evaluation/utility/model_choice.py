"""Choice of a learner: does the synthetic table alone lead to the learner that is best on real patients?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import LEVEL, Estimate, from_resamples, resampled
from common.evaluation.statistics.resampling import sampled
from common.evaluation.statistics.values import Labels, labels
from common.evaluation.utility.learners import LEARNERS, Prediction, predict
from common.evaluation.utility.scoring import area, patient_seed, resamples_of
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED, Predictions
from common.seeds import seed_for

ONE_TESTED_IN = 5
"""One synthetic row in this many is kept to test learners that are trained on the others."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Whether the synthetic table alone leads to the right learner.

    Attributes:
        same_order: fraction of pairs of learners in the same order when trained and tested on synthetic rows as when
            trained on real rows and tested on real patients; 1.0 is best, 0.5 chance (Jordon et al. 2018, "synthetic
            ranking agreement").
        best_by_synthetic, best_by_real: titles of learners.
        regret: real AUROC that is lost by taking the learner that looks best on synthetic rows.
        auroc_within_synthetic: AUROC of learners trained and tested on synthetic rows.
    """

    same_order: Estimate
    best_by_synthetic: str
    best_by_real: str
    regret: Estimate
    auroc_within_synthetic: dict[str, float]


def choose_model(data: EvaluationData, predictions: Predictions, classes: Sequence[str]) -> ModelChoice | None:
    """Rank all learners within the synthetic table, and compare with their ranks on real patients.

    Args:
        predictions: predictions of all learners, for these tables.
        classes: classes that learners are scored on.

    Returns:
        None where the synthetic rows lack a class.
    """
    table = sampled(data.synthetic, MOST_TRAINED, "ranking")
    order = np.random.default_rng(seed_for(0, "ranking")).permutation(len(table))
    cut = len(table) // ONE_TESTED_IN
    tested, trained = (table.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    truth_within = labels(tested[data.target])
    within = predict(trained, data.train, tested, data.target) if len(set(truth_within)) > 1 else {}
    if not within or not set(classes) <= set(truth_within):
        return None
    count = min(resamples_of(len(predictions.truth)), resamples_of(len(tested)))
    real = _areas(predictions.truth, predictions.real, classes, count)
    synthetic = _areas(truth_within, within, classes, count)
    pairs = itertools.combinations(range(len(LEARNERS)), 2)
    same = np.mean([(np.sign((real[i] - real[j]) * (synthetic[i] - synthetic[j])) + 1) / 2 for i, j in pairs], axis=0)
    best, truly_best = int(synthetic[:, 0].argmax()), int(real[:, 0].argmax())
    titles = [learner.title for learner in LEARNERS.values()]
    patients = len(predictions.truth)
    return ModelChoice(
        same_order=from_resamples(float(same[0]), same[1:], patients),
        best_by_synthetic=titles[best],
        best_by_real=titles[truly_best],
        regret=regret_of(real, best, patients),
        auroc_within_synthetic={name: float(value) for name, value in zip(LEARNERS, synthetic[:, 0], strict=True)},
    )


def _areas(truth: Labels, predictions: Mapping[str, Prediction], classes: Sequence[str], resamples: int) -> Floats:
    """Return the AUROC of every learner on the patients and on every resample, shape (learners, 1 + resamples)."""
    statistics = [area(truth, predictions[name], classes) for name in LEARNERS]
    original = np.stack([statistic(np.ones((1, len(truth)))) for statistic in statistics])
    seed = patient_seed(len(truth))
    again = np.stack([resampled(statistic, len(truth), seed=seed, resamples=resamples) for statistic in statistics])
    return np.hstack([original, again])


def regret_of(areas: Floats, chosen: int, patients: int) -> Estimate:
    """Return the AUROC that the chosen learner loses against the best one.

    The best of several looks better than it is. So the interval allows for any of them to be the best: no advantage
    over the chosen one is off by more than `reach` with probability `LEVEL`, and neither is the largest of them (after
    Hsu 1981, Ann. Stat. 9).

    Args:
        areas: AUROC of every learner on the patients and on every resample, shape (learners, 1 + resamples).
        chosen: row of a learner.
        patients: number of patients.
    """
    advantage = areas - areas[chosen]
    errors = np.abs(advantage[:, 1:] - advantage[:, :1]).max(axis=0)
    known = errors[~np.isnan(errors)]
    reach = float(np.quantile(known, LEVEL)) if len(known) else 0.0
    lost = float(advantage[:, 0].max())
    return Estimate(lost, max(0.0, lost - reach), lost + reach, patients)
