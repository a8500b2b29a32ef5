"""A linear classifier of rows of codes, in whole numbers: a row gets the same class on every machine.

The classes are the groups of the target's codes, and the features the groups of all other columns (`Domain.groups`, at
most `GROUPS` of a column, and one for missing):

    class of a row = the first k with the largest    w[k, 0] + sum over columns c of w[k, c, group of the row in c]

The class of a patient is a public function of the patient's own codes, the weights and the domain. So whatever the
weights are, a patient adds one to one cell of the table of true against predicted classes.
"""

from __future__ import annotations

import numpy as np

from common.arrays import Array, Integers
from common.columns.base import Codes
from common.errors import WireError
from common.marginals.queries import Domain

GROUPS = 8
"""Groups of a column, missing not counted."""

MOST_WEIGHT = 2**20
"""Largest absolute weight. Sums over any number of columns then stay far inside 64 bits."""

UNITS = 2**12
"""Weights per unit of log odds: coefficients are rounded to 1 / 4096."""

BLOCK = 2**14
"""Rows classified at once."""


def class_count(domain: Domain, target: int) -> int:
    """Return the number of classes: the groups of the target's codes, the last of which may mean missing."""
    return int(domain.groups(target, GROUPS)[-1]) + 1


def feature_count(domain: Domain, target: int) -> int:
    """Return the number of weights of one class: one for all rows, and one for each group of every other column."""
    columns = (column for column in range(len(domain.sizes)) if column != target)
    return 1 + sum(int(domain.groups(column, GROUPS)[-1]) + 1 for column in columns)


def read_classifier(flat: Array, domain: Domain, target: int) -> Integers:
    """Return the weights that a request holds, shape (classes, features).

    Args:
        flat: weights of one class after the other, int64.
        domain: codes of every column.
        target: number of the column to predict.

    Raises:
        WireError: there are more or fewer, or one of them exceeds `MOST_WEIGHT`.
    """
    shape = class_count(domain, target), feature_count(domain, target)
    if flat.shape != (shape[0] * shape[1],) or flat.dtype != np.int64:
        raise WireError(f"the request does not hold the {shape[0] * shape[1]} weights of a classifier")
    if (flat < -MOST_WEIGHT).any() or (flat > MOST_WEIGHT).any():
        raise WireError(f"a weight of the classifier exceeds {MOST_WEIGHT}")
    return flat.reshape(shape)


def predict(codes: Codes, weights: Integers, domain: Domain, target: int) -> Integers:
    """Return the class of every row, int64, shape (rows,).

    Args:
        codes: rows of codes, (rows, columns); the target's are not looked at.
        weights: of the classifier, (classes, features).
        domain: codes of every column.
        target: number of the column to predict.
    """
    predicted = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        features = _features(codes[start : start + BLOCK], domain, target)
        predicted[start : start + BLOCK] = weights.T[features].sum(axis=1).argmax(axis=1)
    return predicted


def confusion(codes: Codes, weights: Integers, domain: Domain, target: int) -> Integers:
    """Return how many rows have each true class (first axis) and get each predicted class (second), int64.

    One row more adds one to exactly one cell.

    Args:
        codes: rows of codes, (rows, columns).
        weights: of the classifier, (classes, features).
        domain: codes of every column.
        target: number of the column to predict.
    """
    count = class_count(domain, target)
    true = domain.groups(target, GROUPS)[codes[:, target]]
    cells = true * count + predict(codes, weights, domain, target)
    return np.bincount(cells, minlength=count**2).reshape(count, count).astype(np.int64)


def fit_classifier(codes: Codes, domain: Domain, target: int) -> Integers:
    """Return the weights of a logistic regression on these rows, (classes, features). It never predicts missing.

    Args:
        codes: rows of codes, (rows, columns): synthetic ones.
        domain: codes of every column.
        target: number of the column to predict.
    """
    from sklearn.linear_model import LogisticRegression  # slow to load, and only a coordinator fits

    count, width = class_count(domain, target), feature_count(domain, target)
    true = domain.groups(target, GROUPS)[codes[:, target]]
    is_known = true < count - domain.has_missing[target]
    features, true = _features(codes[is_known], domain, target), true[is_known]
    weights = np.zeros((count, width), dtype=np.int64)
    weights[:, 0] = -MOST_WEIGHT
    present = np.unique(true)
    if len(present) < 2:
        weights[present, 0] = 0
        return weights
    hot = np.zeros((len(features), width))
    hot[np.arange(len(features))[:, None], features] = 1
    fitted = LogisticRegression(max_iter=1000).fit(hot[:, 1:], true)
    coefficients = np.column_stack([fitted.intercept_, fitted.coef_])
    if len(present) == 2:  # one row of log odds of the second class
        coefficients = np.vstack([np.zeros(width), coefficients[0]])
    # The sum over columns stays below that of a class that is never predicted.
    reach = MOST_WEIGHT // (2 * len(domain.sizes) + 2)
    weights[present] = np.rint(coefficients * UNITS).clip(-reach, reach).astype(np.int64)
    return weights


def _features(codes: Codes, domain: Domain, target: int) -> Integers:
    """Return the numbers of the weights that are added up for each row, shape (rows, columns): 0 is that of all."""
    parts, start = [np.zeros(len(codes), dtype=np.int64)], 1
    for column in range(len(domain.sizes)):
        if column != target:
            groups = domain.groups(column, GROUPS)
            parts.append(start + groups[codes[:, column]])
            start += int(groups[-1]) + 1
    return np.stack(parts, axis=1)
