"""A history as one row: a fixed summary, on which a classifier tries to tell real from synthetic patients."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import Estimate, auroc
from common.evaluation.statistics.resampling import sampled_rows
from common.evaluation.visits.coding import CodedHistories

MOST_HISTORIES = 10_000
"""Most patients of either kind that the classifier sees, a fixed random sample: its AUROC is then exact to 0.01."""

FOLDS = 5
"""Parts of the patients, each of which a classifier that was trained on the others predicts."""


def summarize(side: CodedHistories) -> Floats:
    """Return the fixed summary of every history, shape (patients, features); NaN where nothing is known.

    Number of visits, time from the first to the last, mean gap, and the static columns; of a numeric visit column the
    first, last, mean, smallest and largest value and the mean change without its sign; of another one the first and
    last label and the fraction of steps that change it.
    """
    histories = side.histories
    first, last, lengths = histories.starts[:-1], histories.starts[1:] - 1, histories.lengths
    span = histories.times[last] - histories.times[first]
    steps = np.maximum(lengths - 1, 1)
    features = [lengths.astype(np.float64), span, span / steps]
    features += [side.static[first, column].astype(np.float64) for column in range(side.static.shape[1])]
    for column in range(side.visit.shape[1]):
        if column not in side.numbers:
            codes = side.visit[:, column].astype(np.float64)
            changes = _per_patient((_changes(codes, first) > 0).astype(np.float64), first)
            features += [codes[first], codes[last], changes / steps]
            continue
        values = side.numbers[column]
        known = np.maximum(_per_patient((~np.isnan(values)).astype(np.float64), first), 1e-9)
        features += [values[first], values[last], _per_patient(np.nan_to_num(values), first) / known]
        features += [np.fmin.reduceat(values, first), np.fmax.reduceat(values, first)]
        features.append(_per_patient(np.nan_to_num(_changes(values, first)), first) / steps)
    return np.stack(features, axis=1)


def _changes(values: Floats, first: Integers) -> Floats:
    """Return the change from the visit before without its sign, 0 at first visits."""
    changes = np.abs(np.diff(values, prepend=values[:1]))
    changes[first] = 0.0
    return np.asarray(changes)


def _per_patient(values: Floats, first: Integers) -> Floats:
    return np.asarray(np.add.reduceat(values, first))


def history_c2st(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the AUROC with which gradient boosting tells real from synthetic histories by their summaries.

    Equally many patients of both kinds; five-fold cross-validation, so that every patient is predicted by a classifier
    that never saw that row. Patients who are in both tables bring it below 0.5. Interval by DeLong et al. 1988.

    Source: Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests", ICLR.

    Returns:
        0.5 is best; None if there are fewer than ten patients of a kind.
    """
    patients = min(real.histories.patients, synthetic.histories.patients, MOST_HISTORIES)
    if patients < 2 * FOLDS:
        return None
    halves = [
        summarize(side)[sampled_rows(side.histories.patients, patients, "history-c2st", side.name)]
        for side in (real, synthetic)
    ]
    is_synthetic = np.repeat([False, True], patients)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    classifier = HistGradientBoostingClassifier(max_iter=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a feature without a known value
        scores = cross_val_predict(classifier, np.vstack(halves), is_synthetic, cv=folds, method="predict_proba")[:, 1]
    return auroc(scores[is_synthetic], scores[~is_synthetic])
