"""Distances between weighted tables of visits, on the patients as they are and on resamples of them.

The first entry of every result is that of the patients as they are, the others are those of the resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import measured
from common.evaluation.visits.coding import CodedHistories, Units

UnitsOf = Callable[[CodedHistories], Units]
"""How a table is counted: by visit, by transition or by patient."""

CellsOf = Callable[[CodedHistories, Integers], Integers]
"""Returns the cell of every unit, given the rows of the units."""


def weights_of(cells: Sequence[Integers], draws: Sequence[Floats]) -> tuple[Integers, list[Floats]]:
    """Return the cells that occur, in ascending order, and the weight of each in every table, which sums to 1.

    Args:
        cells: of every table, the cell of every unit.
        draws: of every table, the weights of the units, shape (units, 1 + resamples).

    Returns:
        Cells, and one array of shape (cells, 1 + resamples) per table; NaN where a resample has no units.
    """
    seen, numbered = np.unique(np.concatenate(cells), return_inverse=True)
    tables, start = list[Floats](), 0
    for own, weights in zip(cells, draws, strict=True):
        columns = numbered[start : start + len(own)]
        start += len(own)
        rows = sparse.csr_matrix((np.ones(len(own)), columns, np.arange(len(own) + 1)), (len(own), len(seen)))
        sums = np.asarray(rows.T @ weights)
        with np.errstate(invalid="ignore"):
            tables.append(sums / sums.sum(axis=0))
    return seen, tables


def tvd_of(real: Floats, synthetic: Floats) -> Floats:
    """Return half the sum over cells of |real - synthetic|; 1 where the synthetic table is empty."""
    distance = 0.5 * np.abs(real - synthetic).sum(axis=0)
    return np.where(np.isnan(synthetic).any(axis=0), 1.0, distance)


def transition_error(cells: Integers, size: int, real: Floats, synthetic: Floats) -> Floats:
    """Return the state-transition error of one column.

        sum over a of p(a) TVD(P(b given a), Q(b given a)) = 1/2 sum over a, b of |P(a, b) - Q(a, b) P(a) / Q(a)|

    where P are real and Q synthetic transitions from a to b. Where Q(a) is 0, the distance counts as 1.

    Args:
        cells: occupied cells a * size + b, in ascending order.
        size: a number above every code.
        real, synthetic: weights of the cells, shape (cells, 1 + resamples).
    """
    origins = cells // size
    first = np.flatnonzero(np.diff(origins, prepend=-1))
    p, q = (np.add.reduceat(table, first, axis=0) for table in (real, np.nan_to_num(synthetic)))
    is_known = q > 0
    ratio = np.divide(p, q, out=np.zeros_like(p), where=is_known)
    group = np.cumsum(np.diff(origins, prepend=origins[0]) > 0)
    distance = 0.5 * np.abs(real - np.nan_to_num(synthetic) * ratio[group]).sum(axis=0)
    unknown = 0.5 * np.where(is_known, 0.0, p).sum(axis=0)
    return np.asarray(distance + unknown)


def mean_distance(
    real: CodedHistories, synthetic: CodedHistories, units_of: UnitsOf, cells_of: Sequence[CellsOf]
) -> Estimate | None:
    """Return the mean TVD over several tables with its interval over resampled patients.

    Args:
        real, synthetic: the patients to compare.
        units_of: what is counted.
        cells_of: of every table, the cell of a unit.

    Returns:
        None if there is no table, or the real patients have no units.
    """
    both = units_of(real), units_of(synthetic)
    if not cells_of or not len(both[0].rows):
        return None
    distances = []
    for cells in cells_of:
        occupied = [cells(side, units.rows) for side, units in zip((real, synthetic), both, strict=True)]
        _, tables = weights_of(occupied, [units.draws for units in both])
        distances.append(tvd_of(*tables))
    return estimate_of(distances, real, synthetic)


def estimate_of(distances: Sequence[Floats], real: CodedHistories, synthetic: CodedHistories) -> Estimate:
    """Return the mean of several distances with its interval.

    Args:
        distances: each of shape (1 + resamples,).
        real, synthetic: the patients that were compared.
    """
    mean = np.mean(distances, axis=0)
    size = min(real.histories.patients, synthetic.histories.patients)
    return measured(float(mean[0]), mean[1:], size, within=(0, 1))
