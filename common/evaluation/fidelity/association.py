"""Cramer's V of every pair of columns, from all two-way tables at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from common.arrays import Floats, Integers


def association(table: Integers, sizes: tuple[int, ...]) -> Floats:
    """Return Cramer's V of every pair of columns, not corrected for bias: 0.0 unrelated, 1.0 one tells the other.

    Args:
        table: codes of shape (rows, columns), `CodedTables.real` or `CodedTables.synthetic`.
        sizes: `CodedTables.sizes`.

    Returns:
        A symmetric matrix of shape (columns, columns). A column with one value is related to nothing: 0.0.

    With X the one-hot table, n = X^T X holds every two-way table at once, and
    V^2 = (sum n_ij^2 / (n_i n_j) - 1) / (min(categories) - 1), from Cramer 1946, chapter 21.
    """
    rows, columns = table.shape
    starts = np.concatenate([[0], np.cumsum(sizes)])
    indices = (np.arange(rows).repeat(columns), (table + starts[:-1]).ravel())
    one_hot = sparse.csr_matrix((np.ones(rows * columns), indices), shape=(rows, starts[-1]))
    return association_of(two_way(one_hot, np.ones(rows)), sizes)


def two_way(one_hot: Any, weights: Floats) -> Any:
    """Return every two-way table at once, X^T diag(weights) X, as a sparse matrix of shape (cells, cells)."""
    return one_hot.T @ one_hot.multiply(weights[:, None]).tocsr()


def association_of(counts: Any, sizes: tuple[int, ...]) -> Floats:
    """Return `association` of the table that `two_way` counted."""
    columns, pairs = len(sizes), counts.tocoo()
    totals = counts.diagonal()
    column_of = np.arange(columns).repeat(sizes)
    categories = np.bincount(column_of[totals > 0], minlength=columns)
    expected = totals[pairs.row] * totals[pairs.col]
    weights = np.divide(pairs.data**2, expected, out=np.zeros_like(expected), where=expected > 0)
    blocks = column_of[pairs.row] * columns + column_of[pairs.col]
    beyond_chance = np.bincount(blocks, weights, minlength=columns**2).reshape(columns, columns) - 1.0
    smaller = np.minimum.outer(categories, categories) - 1
    squared = np.divide(beyond_chance, smaller, out=np.zeros_like(beyond_chance), where=smaller > 0)
    return np.asarray(np.sqrt(np.clip(squared, 0.0, 1.0)), dtype=np.float64)
