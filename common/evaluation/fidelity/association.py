"""Cramer's V of every pair of columns, from all two-way tables at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from common.arrays import AnyIntegers, Floats


def association(table: AnyIntegers, sizes: tuple[int, ...]) -> Floats:
    """Return Cramer's V of every pair of columns, not corrected for bias: 0.0 unrelated, 1.0 one tells the other.

    Args:
        table: codes of shape (rows, columns), `CodedTables.real` or `CodedTables.synthetic`.
        sizes: `CodedTables.sizes`.

    Returns:
        A symmetric matrix of shape (columns, columns). A column with one value is related to nothing: 0.0.

    With X the one-hot table, n = X^T X holds every two-way table at once, and
    V^2 = (sum n_ij^2 / (n_i n_j) - 1) / (min(categories) - 1), from Cramer 1946, chapter 21.
    """
    one_hot = one_hot_of(table, sizes)
    return association_of(two_way(one_hot, np.ones(len(table))), sizes)


def one_hot_of(table: AnyIntegers, sizes: tuple[int, ...]) -> Any:
    """Return one indicator per column and code, a sparse matrix of shape (rows, cells).

    Args:
        table: codes of shape (rows, columns).
        sizes: per column, a number above every code of it.
    """
    rows, columns = table.shape
    starts = np.cumsum([0, *sizes])[:-1]
    indices = (table + starts).ravel()
    return sparse.csr_matrix((np.ones(rows * columns), indices, columns * np.arange(rows + 1)), (rows, sum(sizes)))


def two_way(one_hot: Any, weights: Floats) -> Any:
    """Return every two-way table at once, X^T diag(weights) X, as a sparse matrix of shape (cells, cells)."""
    columns = np.diff(one_hot.indptr)  # row i of X has one cell per column
    weighted = sparse.csr_matrix((weights.repeat(columns), one_hot.indices, one_hot.indptr), one_hot.shape)
    return one_hot.T.tocsr() @ weighted


def column_members(sizes: tuple[int, ...]) -> Any:
    """Return which column each cell belongs to, a sparse matrix of 0 and 1, shape (cells, columns)."""
    total = sum(sizes)
    of_cell = np.arange(len(sizes)).repeat(sizes), np.arange(total + 1)
    return sparse.csr_matrix((np.ones(total), *of_cell), (total, len(sizes)))


def summed_by_pair(cells: Any, sizes: tuple[int, ...]) -> Floats:
    """Return the sum over the cells of each two-way table, shape (columns, columns)."""
    member = column_members(sizes)
    return np.asarray((member.T @ (cells @ member)).toarray(), dtype=np.float64)


def association_of(counts: Any, sizes: tuple[int, ...]) -> Floats:
    """Return `association` of the table that `two_way` counted."""
    columns, totals = len(sizes), counts.diagonal()
    column_of = np.arange(columns).repeat(sizes)
    categories = np.bincount(column_of[totals > 0], minlength=columns)
    scale = sparse.diags_array(np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0))
    squares = sparse.csr_matrix((counts.data**2, counts.indices, counts.indptr), counts.shape)  # power() sorts cells
    beyond_chance = summed_by_pair(scale @ squares @ scale, sizes) - 1.0
    smaller = np.minimum.outer(categories, categories) - 1
    squared = np.divide(beyond_chance, smaller, out=np.zeros_like(beyond_chance), where=smaller > 0)
    return np.asarray(np.sqrt(np.clip(squared, 0.0, 1.0)), dtype=np.float64)
