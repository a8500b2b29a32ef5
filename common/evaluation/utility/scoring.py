"""Scores of predictions for patients whose outcome is known, as statistics that can be resampled.

With several classes each is scored against the rest and the mean taken. NaN where a resample lacks a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import (
    Estimate,
    Statistic,
    bootstrap,
    from_resamples,
    mean_of,
    resampled,
    weighted_auroc,
    weighted_mean,
)
from common.evaluation.statistics.resampling import PAIRED_RESAMPLES
from common.evaluation.statistics.values import Labels
from common.evaluation.utility.learners import Prediction
from common.seeds import seed_for

Truth = npt.NDArray[np.bool_]
ScoreOf = Callable[[Truth, Floats], Statistic]

BINS = 10
"""Groups of patients of like predicted probability, at most."""

FEWEST_RESAMPLES = 100
"""Fewest resamples of a statistic, however many patients it has."""

WEIGHT_CELLS = 8_000_000
"""Most resampling weights of one statistic; many patients get fewer resamples, since their intervals are narrow."""


def estimate(statistic: Statistic, patients: int) -> Estimate:
    """Return a statistic of held-out patients with its interval over resampled patients."""
    return bootstrap(statistic, patients, seed=patient_seed(patients), resamples=resamples_of(patients))


class Score:
    """A statistic of held-out patients: its value, and the same on resamples that all scores of them share.

    Args:
        statistic: must be defined for the patients as they are.
        patients: number of patients.
    """

    def __init__(self, statistic: Statistic, patients: int) -> None:
        self.value = float(statistic(np.ones((1, patients)))[0])
        self.patients = patients
        self.drawn = resampled(statistic, patients, seed=patient_seed(patients), resamples=resamples_of(patients))

    def estimate(self) -> Estimate:
        """Return the value with its percentile interval."""
        return from_resamples(self.value, self.drawn, self.patients)

    def minus(self, other: Score) -> Estimate:
        """Return the difference of two scores of the same patients with its interval, paired by patient."""
        return from_resamples(self.value - other.value, self.drawn - other.drawn, self.patients)


def patient_seed(patients: int) -> int:
    """Return the seed of resamples of that many patients, the same for all statistics so that they are paired."""
    return seed_for(0, "bootstrap", "patients", patients)


def resamples_of(patients: int) -> int:
    """Return how many resamples statistics of that many patients get."""
    return int(np.clip(WEIGHT_CELLS // max(patients, 1), FEWEST_RESAMPLES, PAIRED_RESAMPLES))


def average_precision(truth: Truth, scores: Floats) -> Statistic:
    """Return the mean precision over the positives, from the highest score down; guessing gives their fraction."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(-scores[order], return_index=True)
    is_true = truth[order]

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order]
        hits = np.add.reduceat(weights * is_true, first, axis=1)
        positives = np.cumsum(hits, axis=1)
        flagged = np.cumsum(np.add.reduceat(weights, first, axis=1), axis=1)
        precision = np.divide(positives, flagged, out=np.zeros_like(positives), where=flagged > 0)
        return _ratio((hits * precision).sum(axis=1), positives[:, -1])

    return statistic


def brier(truth: Truth, probabilities: Floats) -> Statistic:
    """Return the mean squared difference of probability and outcome (Brier 1950); 0.0 is best."""
    return weighted_mean((probabilities - truth) ** 2)


def calibration_error(truth: Truth, probabilities: Floats) -> Statistic:
    """Return the expected calibration error: mean gap of predicted and observed fraction over probability groups."""
    groups = probability_groups(probabilities)
    surplus = probabilities - truth

    def statistic(weights: Floats) -> Floats:
        gaps = sum((np.abs(weights[:, rows] @ surplus[rows]) for rows in groups), np.zeros(len(weights)))
        return _ratio(gaps, weights.sum(axis=1))

    return statistic


def calibration_noise(truth: Truth, probabilities: Floats) -> Statistic:
    """Return by how much a resample moves the groups' gaps, summed as `calibration_error` sums them.

    This is an upper bound on the change of the calibration error. By chance, gaps of zero become positive, so the error
    is too large, and even larger on resamples.
    """
    groups = probability_groups(probabilities)
    surplus = probabilities - truth

    def statistic(weights: Floats) -> Floats:
        moves = sum((np.abs((weights[:, rows] - 1) @ surplus[rows]) for rows in groups), np.zeros(len(weights)))
        return _ratio(moves, weights.sum(axis=1))

    return statistic


def probability_groups(probabilities: Floats) -> list[Integers]:
    """Return the patients in at most ten groups of about equal size; equal probabilities stay together."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)))[1:-1]
    groups = np.searchsorted(edges, probabilities, side="right")
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def over_classes(score: ScoreOf, truth: Labels, prediction: Prediction, classes: Sequence[str]) -> Statistic:
    """Return the mean of a score over some classes, each against the rest.

    Args:
        score: makes the statistic of one class from truth and probabilities.
        truth: the patients' true class, shape (patients,).
        prediction: predicted probability of each class.
        classes: classes to average over.
    """
    return mean_of([score(truth == label, prediction.of(label)) for label in classes])


def area(truth: Labels, prediction: Prediction, classes: Sequence[str]) -> Statistic:
    """Return the mean AUROC over some classes, each against the rest.

    Args:
        truth: the patients' true class, shape (patients,).
        prediction: predicted probability of each class.
        classes: classes to average over.
    """
    return over_classes(weighted_auroc, truth, prediction, classes)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
