"""Marginals: total variation distance of single columns, pairs and triples, with intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from common.arrays import AnyIntegers, Floats, Integers
from common.evaluation.statistics.codes import CodedTables
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import (
    FEW_RESAMPLES,
    MOST_ROWS,
    measured,
    narrowing,
    resamples,
    sampled_rows,
)

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

    Half the sum over all cells of |fraction of real rows - fraction of synthetic rows|.
    """
    real, synthetic, cells = _both_cells(codes, columns)
    difference = np.bincount(real, minlength=cells) / len(real) - np.bincount(synthetic, minlength=cells) / len(
        synthetic
    )
    return 0.5 * float(np.abs(difference).sum())


def _both_cells(codes: CodedTables, columns: tuple[int, ...]) -> tuple[Integers, Integers, int]:
    """Return the cell of every real and of every synthetic row, and a number above every cell."""
    size = math.prod(codes.sizes[column] for column in columns)
    real, synthetic = (_cell_numbers(table, codes.sizes, columns) for table in (codes.real, codes.synthetic))
    if size <= DENSE_CELLS:
        return real, synthetic, size
    seen, dense = np.unique(np.concatenate([real, synthetic]), return_inverse=True)
    return dense[: len(real)], dense[len(real) :], len(seen)


def _cell_numbers(table: AnyIntegers, sizes: tuple[int, ...], columns: tuple[int, ...]) -> Integers:
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


def tvd_estimate(grids: Sequence[CodedTables], k: int) -> Estimate | None:
    """Return `mean_tvd_over` with its interval over resampled patients; None if there are fewer than `k` columns.

    The value is that of all rows. At most `MOST_ROWS` rows of either table are resampled.
    Chance adds to a distance, to that of three columns more than to that of one: read it beside `resampled_rows`,
    not beside 0.

    Args:
        grids: codings of the same two tables, on one or several grids.
        k: columns at once.
    """
    rows = len(grids[0].real), len(grids[0].synthetic)
    sets = column_sets(len(grids[0].names), k)
    if not sets:
        return None
    chosen = [
        sampled_rows(count, MOST_ROWS, "tvd", side) for count, side in zip(rows, ("real", "synthetic"), strict=True)
    ]
    kept = len(chosen[0]), len(chosen[1])
    real, synthetic = (resamples(count, FEW_RESAMPLES, "tvd", str(count)).T for count in kept)
    weights = np.vstack([kept[1] * real, -kept[0] * synthetic])  # whole numbers, whose sums are exact
    whole, resampled = [], []
    for codes in grids:
        some = (
            codes if kept == rows else replace(codes, real=codes.real[chosen[0]], synthetic=codes.synthetic[chosen[1]])
        )
        for columns in sets:
            whole.append(_distance(codes, columns))
            resampled.append(_weighted_distance(some, columns, weights))
    value = float(np.mean(whole)) / (2 * rows[0] * rows[1])
    replicates = np.mean(resampled, axis=0) / (2 * kept[0] * kept[1])
    narrowed = narrowing((kept[0], rows[0]), (kept[1], rows[1]))
    return measured(value, replicates, min(rows), within=(0, 1), narrowed=narrowed)


def _distance(codes: CodedTables, columns: tuple[int, ...]) -> float:
    """Return the `tvd` times twice the real rows times the synthetic rows, a whole number."""
    real, synthetic, cells = _both_cells(codes, columns)
    counts, others = (np.bincount(side, minlength=cells) for side in (real, synthetic))
    return float(np.abs(len(synthetic) * counts - len(real) * others).sum())


def _weighted_distance(codes: CodedTables, columns: tuple[int, ...], weights: Floats) -> Floats:
    """Return the sum over cells of |weight of the rows in the cell|, shape (resamples,).

    Args:
        weights: weights of the rows, shape (real and then synthetic rows, resamples); those of synthetic rows are
            negative.
    """
    real, synthetic, size = _both_cells(codes, columns)
    return np.asarray(np.abs(_summed(np.concatenate([real, synthetic]), size, weights)[1]).sum(axis=0))


def _summed(cells: Integers, size: int, weights: Floats) -> tuple[Integers, Floats]:
    """Return the occupied cells, and the weight of the rows in each; shapes (occupied,) and (occupied, resamples)."""
    is_occupied = np.bincount(cells, minlength=size) > 0
    numbered = (np.cumsum(is_occupied) - 1)[cells]
    shape = (len(cells), int(is_occupied.sum()))
    rows = sparse.csr_matrix((np.ones(len(cells)), numbered, np.arange(len(cells) + 1)), shape)
    return np.flatnonzero(is_occupied), np.asarray(rows.T @ weights)


@dataclass(frozen=True, slots=True)
class PartDistances:
    """Mean distances of some real rows: to the synthetic table, and to all real rows."""

    synthetic: Estimate
    pooled: Estimate


def part_distances(codes: CodedTables, parts: Sequence[Integers], k: int) -> list[PartDistances]:
    """Return the mean `tvd` of every part of the real rows, over the sets of `k` columns, with intervals.

    Only the rows of the part are resampled, at most `MOST_ROWS` of them; the other tables are counted once.

    Args:
        codes: both tables, of at least `k` columns.
        parts: indices of real rows, such as those of one hospital.
        k: columns at once.
    """
    sets = column_sets(len(codes.names), k)
    samples = [rows[sampled_rows(len(rows), MOST_ROWS, "tvd", "part")] for rows in parts]
    weights = [resamples(len(rows), FEW_RESAMPLES, "tvd", str(len(rows))).T for rows in samples]
    whole, resampled = np.zeros((2, len(parts))), np.zeros((2, len(parts), FEW_RESAMPLES))
    for columns in sets:
        real, synthetic, size = _both_cells(codes, columns)
        tables = [np.bincount(cells, minlength=size) for cells in (synthetic, real)]
        for part, (rows, sample) in enumerate(zip(parts, samples, strict=True)):
            counts = np.bincount(real[rows], minlength=size)
            occupied, sums = _summed(real[sample], size, weights[part])
            for side, table in enumerate(tables):
                whole[side, part] += np.abs(table.sum() * counts - len(rows) * table).sum()
                resampled[side, part] += _distance_to(table, occupied, sums)
    estimates = [
        [
            measured(
                float(whole[side, part]) / len(sets) / (2 * len(rows) * total),
                resampled[side, part] / len(sets) / (2 * len(sample) * total),
                min(len(rows), total),
                within=(0, 1),
                narrowed=narrowing((len(sample), len(rows))),
            )
            for side, total in enumerate((len(codes.synthetic), len(codes.real)))
        ]
        for part, (rows, sample) in enumerate(zip(parts, samples, strict=True))
    ]
    return [PartDistances(synthetic, pooled) for synthetic, pooled in estimates]


def _distance_to(table: Integers, occupied: Integers, sums: Floats) -> Floats:
    """Return the `tvd` of resampled rows to a table, times twice the rows of both; shape (resamples,).

    Args:
        table: its rows in every cell.
        occupied, sums: cells of the resampled rows, and how often rows of the cell were drawn, by `_summed`.
    """
    rows, total, there = sums.sum(axis=0), table.sum(), table[occupied]
    beyond = rows * (total - there.sum())  # the cells that none of the rows is in
    return np.asarray(np.abs(total * sums - rows * there[:, None]).sum(axis=0) + beyond)


def resampled_rows(codes: CodedTables) -> CodedTables:
    """Return the real rows beside as many of them, drawn with replacement, as there are synthetic rows.

    Their distance is what sampling error alone costs: no synthetic table can be expected to come much closer.
    """
    drawn = np.random.default_rng(0).integers(len(codes.real), size=len(codes.synthetic))
    return replace(codes, synthetic=codes.real[drawn])
