"""Marginals: total variation distance of single columns, pairs and triples, with intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from common.arrays import Floats, Integers
from common.evaluation.statistics.codes import CodedTables
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, measured, resamples

MOST_COLUMN_SETS = 60
"""Sets of columns that are compared where there are more, drawn with a fixed seed."""

COLUMN_SETS_SEED = 1
"""Seed of the drawn sets, fixed so that results of different tables can be compared."""

OTHER_GRIDS = (10, 13, 20, 27)
"""Numbers of quantile bins: a synthesizer that cuts columns into as many bins as one grid gains nothing on the rest."""

DENSE_CELLS = 1 << 20
"""Marginals with more cells than this are counted by sorting instead of by indexing."""


def column_sets(columns: int, k: int) -> list[tuple[int, ...]]:
    """Return the sets of `k` columns that are compared: all of them, or `MOST_COLUMN_SETS` with a fixed seed."""
    total = math.comb(columns, k)
    every = itertools.combinations(range(columns), k)
    if total <= MOST_COLUMN_SETS:
        return list(every)
    drawn = np.random.default_rng(COLUMN_SETS_SEED).choice(total, MOST_COLUMN_SETS, replace=False)
    chosen = set(drawn.tolist())
    return [columns_of_set for index, columns_of_set in enumerate(every) if index in chosen]


def tvd(codes: CodedTables, columns: tuple[int, ...]) -> float:
    """Return the total variation distance of the joint distribution of `columns`: 0.0 identical, 1.0 disjoint.

    Half the sum over all cells of |share of real rows - share of synthetic rows|.
    """
    cells = math.prod(codes.sizes[column] for column in columns)
    real, synthetic = (_cell_numbers(table, codes.sizes, columns) for table in (codes.real, codes.synthetic))
    if cells > DENSE_CELLS:
        seen, dense = np.unique(np.concatenate([real, synthetic]), return_inverse=True)
        cells, real, synthetic = len(seen), dense[: len(real)], dense[len(real) :]
    difference = np.bincount(real, minlength=cells) / len(real) - np.bincount(synthetic, minlength=cells) / len(
        synthetic
    )
    return 0.5 * float(np.abs(difference).sum())


def _cell_numbers(table: Integers, sizes: tuple[int, ...], columns: tuple[int, ...]) -> Integers:
    """Return one integer per row: its codes in `columns`, read as the digits of a mixed-radix number."""
    cell = np.zeros(len(table), dtype=np.int64)
    for column in columns:
        cell = cell * sizes[column] + table[:, column]
    return cell


def mean_tvd(codes: CodedTables, k: int) -> float | None:
    """Return the mean `tvd` over the sets of `k` columns; None if the table has fewer columns. Lower is better."""
    sets = column_sets(len(codes.names), k)
    return float(np.mean([tvd(codes, columns) for columns in sets])) if sets else None


def mean_tvd_over(grids: Sequence[CodedTables], k: int) -> float | None:
    """Return the mean of `mean_tvd` over several codings of the same tables; None if there are fewer columns."""
    distances = [distance for codes in grids if (distance := mean_tvd(codes, k)) is not None]
    return float(np.mean(distances)) if distances else None


def tvd_estimate(grids: Sequence[CodedTables], k: int, *, fixed_synthetic: bool = False) -> Estimate | None:
    """Return `mean_tvd_over` with its interval over resampled patients; None if there are fewer than `k` columns.

    Chance adds to a distance, to that of three columns more than to that of one: read it beside `resampled_rows`,
    not beside 0.

    Args:
        grids: codings of the same two tables, on one or several grids.
        k: columns at once.
        fixed_synthetic: resample the patients of the real table only.
    """
    rows = len(grids[0].real), len(grids[0].synthetic)
    sets = column_sets(len(grids[0].names), k)
    if not sets:
        return None
    real, synthetic = (
        np.column_stack([np.ones(count), resamples(count, FEW_RESAMPLES, "tvd", str(count)).T]) for count in rows
    )
    if fixed_synthetic:
        synthetic = np.repeat(synthetic[:, :1], 1 + FEW_RESAMPLES, axis=1)
    weights = np.vstack([rows[1] * real, -rows[0] * synthetic])  # whole numbers, whose sums are exact
    distances = [_weighted_distance(codes, columns, weights) for codes in grids for columns in sets]
    values = np.mean(distances, axis=0) / (2 * rows[0] * rows[1])
    return measured(float(values[0]), values[1:], min(rows), least=0, most=1)


def _weighted_distance(codes: CodedTables, columns: tuple[int, ...], weights: Floats) -> Floats:
    """Return the sum over cells of |weight of the rows in the cell|, shape (resamples,).

    Args:
        weights: weights of the rows, shape (real and then synthetic rows, resamples); those of synthetic rows are
            negative.
    """
    cells = np.concatenate([_cell_numbers(table, codes.sizes, columns) for table in (codes.real, codes.synthetic)])
    size = math.prod(codes.sizes[column] for column in columns)
    if size > DENSE_CELLS:
        cells = np.unique(cells, return_inverse=True)[1]
    else:  # numbers the occupied cells only, without sorting
        cells = (np.cumsum(np.bincount(cells, minlength=size) > 0) - 1)[cells]
    shape = (len(cells), int(cells.max()) + 1)
    rows = sparse.csr_matrix((np.ones(len(cells)), cells, np.arange(len(cells) + 1)), shape)
    return np.asarray(np.abs(rows.T @ weights).sum(axis=0))


def resampled_rows(codes: CodedTables) -> CodedTables:
    """Return the real rows beside as many of them, drawn with replacement, as there are synthetic rows.

    Their distance is what sampling error alone costs: no synthetic table can be expected to come much closer.
    """
    drawn = np.random.default_rng(0).integers(len(codes.real), size=len(codes.synthetic))
    return replace(codes, synthetic=codes.real[drawn])
