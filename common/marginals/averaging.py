"""Counted tables as proportions, and what all tables of one column or one pair say together.

Notation as in `common.marginals.evidence`: `Y` are proportions, `V` their noise variances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Floats
from common.marginals.measurements import LEAST_DEVIATION, Measurements
from common.marginals.queries import centered
from common.marginals.resolutions import Resolutions

LEAST_PROPORTION = 1e-5
"""Proportion. No code of a column is rarer to the model: its logarithm is the start of a potential."""

LEAST_VARIANCE = 1e-24
"""Squared proportion. Stands for a noise of zero where a variance is divided by."""


@dataclass(frozen=True, slots=True, eq=False)
class CountedTable:
    """A counted table, or the margin of one, as proportions.

    Attributes:
        variance: of the noise in a proportion, before the table's mean is taken off along the centered axes.
    """

    columns: tuple[int, ...]
    level: int
    proportions: Floats
    variance: float
    centered: tuple[int, ...]


def counted_tables(measurements: Measurements, resolutions: Resolutions) -> Iterator[CountedTable]:
    """Yield every counted table of two columns or more, and of larger ones the margins of two that they hold."""
    for query, proportions, deviation in measurements.tables():
        if len(query.columns) < 2:
            continue
        centered = measurements.domain.centered_axes(query)
        level, variance = resolutions.level_of(query.groups), max(deviation**2, LEAST_VARIANCE)
        yield CountedTable(query.columns, level, proportions, variance, centered)
        axes = range(len(query.columns))
        for left in combinations(axes, 2) if len(axes) > 2 else ():
            summed = tuple(axis for axis in axes if axis not in left)
            if not set(summed) & set(centered):
                columns, kept = tuple(query.columns[axis] for axis in left), [axis for axis in left if axis in centered]
                cells = math.prod(proportions.shape[axis] for axis in summed)
                margin = proportions.sum(summed)
                yield CountedTable(columns, level, margin, variance * cells, tuple(map(left.index, kept)))


def single_proportions(measurements: Measurements, tables: Sequence[CountedTable], resolutions: Resolutions) -> Floats:
    """Return the proportions of single columns: their own tables and margins of pairs, by inverse variance.

    A margin over groups corrects the sum of a group's codes, as far as it is more precise than that sum.

    Args:
        measurements: all noisy marginals.
        tables: the counted tables; of these, pairs that are not centered add their margins.
        resolutions: how finely each table cuts the columns.

    Returns:
        Proportions of the codes of all columns, one column after the other, shape (codes of all columns,).
    """
    own = np.concatenate([_positive(proportions) for proportions in measurements.singles])
    first = max(measurements.deviations[0], LEAST_DEVIATION) / measurements.total
    weights = np.repeat(np.array(measurements.precisions) / max(first**2, LEAST_VARIANCE), resolutions.full.sizes)
    sums = [np.zeros(level.width) for level in resolutions.levels]
    precisions = [np.zeros(level.width) for level in resolutions.levels]
    sums[-1] += own * weights
    precisions[-1] += weights
    for table in tables:
        if len(table.columns) != 2 or table.centered:
            continue
        for axis, column in enumerate(table.columns):
            span, weight = resolutions.levels[table.level].span(column), 1 / table.proportions.shape[1 - axis]
            sums[table.level][span] += table.proportions.sum(1 - axis) * (weight / table.variance)
            precisions[table.level][span] += weight / table.variance
    means, full = _agreeing_singles(sums, precisions, resolutions), resolutions.full
    return np.concatenate([_positive(means[full.span(column)]) for column in range(full.columns)])


def _agreeing_singles(sums: list[Floats], precisions: list[Floats], resolutions: Resolutions) -> Floats:
    """Return the proportions of every code that all resolutions agree on.

    Upwards as `_agreeing` does for pairs. Downwards, codes keep their proportions within a group, so that rare ones
    stay rare.

    Args:
        sums: proportions over their variances, by resolution; changed.
        precisions: inverse variances; 0 where nothing was counted, but not for codes. Changed.
        resolutions: of the pairs, coarse to fine.
    """
    means = [sums[-1] / precisions[-1]]
    for number, refinement in reversed(list(enumerate(resolutions.refinements))):
        gain = 1 / np.add.reduceat(1 / precisions[number + 1], refinement.starts)
        sums[number] += np.add.reduceat(means[0], refinement.starts) * gain
        precisions[number] += gain
        means.insert(0, sums[number] / precisions[number])
    for number, refinement in enumerate(resolutions.refinements):
        finer = np.maximum(means[number + 1], LEAST_PROPORTION)
        factor = np.maximum(means[number], LEAST_PROPORTION) / np.add.reduceat(finer, refinement.starts)
        means[number + 1] = finer * factor[refinement.parents]
    return means[-1]


def _positive(proportions: Floats) -> Floats:
    raised = np.maximum(proportions, LEAST_PROPORTION)
    return np.asarray(raised / raised.sum())


def pair_averages(
    tables: Sequence[CountedTable], singles: Sequence[Floats], resolutions: Resolutions
) -> tuple[list[Floats], list[Floats]]:
    """Return Y and V of all pairs at every resolution, over all tables, so that resolutions and margins agree.

    Margins come from the single columns. V is the noise variance of a cell before margins are replaced, and infinite
    where nothing was counted; `common.marginals.pair_priors` gives the part f of V that is left.

    Args:
        tables: counted tables, and margins of larger ones.
        singles: proportions of single groups at every resolution.
        resolutions: of the pairs, coarse to fine.
    """
    return _agreeing(*_averages(tables, singles, resolutions), resolutions)


def _averages(
    tables: Sequence[CountedTable], singles: Sequence[Floats], resolutions: Resolutions
) -> tuple[list[Floats], list[Floats]]:
    """Return Y / V and 1 / V of every resolution: the tables of each pair, averaged by inverse variance.

    Both margins of a table are replaced by those of the single columns, which are more precise: they are estimated from
    all tables of the column.
    """
    weighted = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    precision = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    for table in tables:
        if len(table.columns) != 2:
            continue
        level = resolutions.levels[table.level]
        first, second = (level.span(column) for column in table.columns)
        independent = np.outer(singles[table.level][first], singles[table.level][second])
        values = independent + centered(table.proportions - independent, (0, 1))
        variance = max(table.variance, LEAST_VARIANCE)
        for rows, columns, block in ((first, second, values), (second, first, values.T)):
            weighted[table.level][rows, columns] += block / variance
            precision[table.level][rows, columns] += 1 / variance
    return weighted, precision


def _agreeing(
    weighted: list[Floats], precision: list[Floats], resolutions: Resolutions
) -> tuple[list[Floats], list[Floats]]:
    """Return Y and V of every resolution, brought to agreement.

    Upwards, a coarse cell's own count and the sum of its fine cells are averaged by inverse variance. Downwards, what
    fine cells lack to sum to their coarse cell is shared among them equally (Hay et al. 2010, arXiv 0904.0942).
    """
    proportions: list[Floats] = [np.empty(0)] * len(weighted)
    variances: list[Floats] = [np.empty(0)] * len(weighted)
    for number in reversed(range(len(weighted))):
        if number + 1 < len(weighted):
            refinement = resolutions.refinements[number]
            is_known = np.isfinite(variances[number + 1])
            variance = refinement.merge(np.where(is_known, variances[number + 1], 0))
            is_whole = refinement.merge((~is_known).astype(np.float64)) == 0
            gain = np.where(is_whole, 1 / np.maximum(variance, LEAST_VARIANCE), 0)
            weighted[number] += refinement.merge(proportions[number + 1]) * gain
            precision[number] += gain
        is_counted = precision[number] > 0
        proportions[number] = weighted[number] / np.where(is_counted, precision[number], 1)
        variances[number] = np.where(is_counted, 1 / np.where(is_counted, precision[number], 1), np.inf)
    for number, refinement in enumerate(resolutions.refinements):
        lacking = proportions[number] - refinement.merge(proportions[number + 1])
        shared = refinement.spread(lacking / np.outer(refinement.sizes, refinement.sizes))
        proportions[number + 1] += np.where(np.isfinite(variances[number + 1]), shared, 0)
    return proportions, variances
