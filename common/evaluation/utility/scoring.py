"""How good predictions are for patients whose truth is known, as statistics that can be resampled.

With several classes each is judged against the rest and the mean taken. NaN where a resample lacks a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from common.evaluation.statistics.intervals import Statistic, mean_of, weighted_auroc, weighted_mean
from common.evaluation.statistics.values import Floats, Labels
from common.evaluation.utility.learners import Prediction

Truth = npt.NDArray[np.bool_]
Score = Callable[[Truth, Floats], Statistic]

BINS = 10


def average_precision(truth: Truth, scores: Floats) -> Statistic:
    """Mean precision over the positives, from the highest score down; the share of positives is what guessing gives."""
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(-scores[order], return_index=True)
    is_true = truth[order]

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order]
        hits = np.add.reduceat(weights * is_true, first, axis=1)
        found = np.cumsum(hits, axis=1)
        flagged = np.cumsum(np.add.reduceat(weights, first, axis=1), axis=1)
        precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
        return _ratio((hits * precision).sum(axis=1), found[:, -1])

    return statistic


def brier(truth: Truth, probabilities: Floats) -> Statistic:
    """Mean squared difference of the probability and what happened (Brier 1950); 0.0 is best."""
    return weighted_mean((probabilities - truth) ** 2)


def calibration_error(truth: Truth, probabilities: Floats) -> Statistic:
    """Expected calibration error: mean gap of promised and observed share over ten groups of like probability."""
    groups = probability_groups(probabilities)
    surplus = probabilities - truth

    def statistic(weights: Floats) -> Floats:
        gaps = sum((np.abs(weights[:, rows] @ surplus[rows]) for rows in groups), np.zeros(len(weights)))
        return _ratio(gaps, weights.sum(axis=1))

    return statistic


def calibration_noise(truth: Truth, probabilities: Floats) -> Statistic:
    """By how much a resample moves the groups' gaps, summed as `calibration_error` sums them: no error is off by more.

    Chance turns gaps of zero into positive ones, so that the error is too large, and larger still on resamples.
    """
    groups = probability_groups(probabilities)
    surplus = probabilities - truth

    def statistic(weights: Floats) -> Floats:
        moves = sum((np.abs((weights[:, rows] - 1) @ surplus[rows]) for rows in groups), np.zeros(len(weights)))
        return _ratio(moves, weights.sum(axis=1))

    return statistic


def probability_groups(probabilities: Floats) -> list[npt.NDArray[np.int64]]:
    """The patients in at most ten groups of about equal size; equal probabilities stay together."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)))[1:-1]
    places = np.searchsorted(edges, probabilities, side="right")
    return [np.flatnonzero(places == place) for place in np.unique(places)]


def over_classes(score: Score, truth: Labels, prediction: Prediction, judged: Sequence[str]) -> Statistic:
    """The mean of a score over the judged classes, each against the rest."""
    return mean_of([score(truth == label, prediction.of(label)) for label in judged])


def area(truth: Labels, prediction: Prediction, judged: Sequence[str]) -> Statistic:
    """The mean AUROC over the judged classes, each against the rest."""
    return over_classes(weighted_auroc, truth, prediction, judged)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
