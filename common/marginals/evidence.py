"""What the noisy tables say: proportions of pairs at every resolution, their noise, and priors of interactions.

Notation: at a resolution, `Y` are measured proportions of all pairs of groups, `V` their noise variances (infinite
where nothing was counted), `P` the products of single proportions, that is, independence. All of it is post-processing
of released sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from common.arrays import Floats
from common.marginals import priors
from common.marginals.measurements import LEAST_DEVIATION, Measurements
from common.marginals.priors import Coarser, Residuals
from common.marginals.queries import centered
from common.marginals.resolutions import Resolution, Resolutions
from common.marginals.slopes import Slopes

LEAST_PROPORTION = 1e-5
"""Proportion. No code of a column is rarer to the model: its logarithm is the start of a potential."""

COARSEST = 2
"""Groups of the coarsest resolution: halves of columns say most of a pair in one number."""

MIDDLE, MIDDLE_FROM = 16, 24
"""Groups of a resolution between the coarse ones and the full one, where a column has more codes than the second
number: what 16 groups explain of a fine table is then told apart from what only finer ones do."""

LEAST_VARIANCE = 1e-24
"""Squared proportion. Stands for a noise of zero where a variance is divided by."""


@dataclass(frozen=True, slots=True, eq=False)
class PairLevel:
    """All pairs at one resolution, as square matrices over the groups of all columns.

    Attributes:
        proportions: Y; 0 where nothing was counted.
        variances: V; infinite where nothing was counted.
        independent: P.
        prior: tau, by pair of columns: P tau is the prior variance of a proportion's deviation from what coarser
            resolutions explain.
        residual: what the tables have beyond what coarser resolutions explain.
    """

    proportions: Floats
    variances: Floats
    independent: Floats
    prior: Floats
    residual: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSetTable:
    """A counted table of three or four columns.

    Attributes:
        columns: indices of the columns, in increasing order.
        resolution: of its codes.
        proportions: noisy, one axis of groups for each column.
        independent: products of single proportions, the same shape.
        deviation: standard deviation of the noise in a proportion, before the table's mean is taken off.
        centered: axes along which the table was counted less its mean: what is left of it along them is independence.
        prior: tau, prior variance of a relative deviation from what fewer of the columns explain.
    """

    columns: tuple[int, ...]
    resolution: Resolution
    proportions: Floats
    independent: Floats
    deviation: float
    centered: tuple[int, ...]
    prior: float


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything that the fit and the choice of tables need to know of the measurements.

    Attributes:
        resolutions: of the pairs, coarse to fine.
        singles: proportions of every code, all columns side by side; each column sums to 1.
        pairs: one entry for every resolution.
        sets: tables of three and four columns.
    """

    resolutions: Resolutions
    singles: Floats
    pairs: tuple[PairLevel, ...]
    sets: tuple[ColumnSetTable, ...]

    @classmethod
    def of(cls, measurements: Measurements) -> Evidence:
        """Return what the measurements say."""
        groups = [COARSEST, *(query.groups for query in measurements.queries if len(query.columns) > 1)]
        if max(measurements.domain.sizes) > MIDDLE_FROM:
            groups.append(MIDDLE)
        resolutions = Resolutions.of(measurements.domain, groups)
        tables = list(_tables(measurements, resolutions))
        singles = _singles(measurements, tables, resolutions)
        coarser = [_coarser(number, singles, resolutions) for number in range(len(resolutions.levels))]
        pairs = _pair_levels(tables, singles, coarser, resolutions)
        counted = [table for table in tables if len(table.columns) > 2]
        estimates = _estimates(pairs, coarser, resolutions) if counted else []
        return cls(resolutions, singles, pairs, _sets(counted, singles, estimates, resolutions))

    def independent(self, columns: Sequence[int], level: Resolution) -> Floats:
        """Return the products of the single proportions of some columns at a resolution, one axis a column."""
        single = level.merge(self.singles)
        return priors.outer_product([single[level.span(column)] for column in columns])


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """A counted table, or the margin of one, as proportions.

    Attributes:
        variance: of the noise in a proportion, before the table's mean is taken off along the centered axes.
    """

    columns: tuple[int, ...]
    level: int
    proportions: Floats
    variance: float
    centered: tuple[int, ...]


def _tables(measurements: Measurements, resolutions: Resolutions) -> Iterator[_Table]:
    """Yield every counted table of two columns or more, and of larger ones the margins of two that they hold."""
    for query, proportions, deviation in measurements.tables():
        if len(query.columns) < 2:
            continue
        centered = measurements.domain.centered_axes(query)
        level, variance = resolutions.level_of(query.groups), max(deviation**2, LEAST_VARIANCE)
        yield _Table(query.columns, level, proportions, variance, centered)
        axes = range(len(query.columns))
        for left in combinations(axes, 2) if len(axes) > 2 else ():
            summed = tuple(axis for axis in axes if axis not in left)
            if not set(summed) & set(centered):
                columns, kept = tuple(query.columns[axis] for axis in left), [axis for axis in left if axis in centered]
                cells = math.prod(proportions.shape[axis] for axis in summed)
                margin = proportions.sum(summed)
                yield _Table(columns, level, margin, variance * cells, tuple(map(left.index, kept)))


def _singles(measurements: Measurements, tables: Sequence[_Table], resolutions: Resolutions) -> Floats:
    """Return the proportions of single columns: their own tables and margins of pairs, by inverse variance.

    A margin over groups says something of their codes: they are in the proportions that the column's own tables give.
    """
    full = resolutions.full
    own = np.concatenate([_positive(proportions) for proportions in measurements.singles])
    first = max(measurements.deviations[0], LEAST_DEVIATION) / measurements.total
    weights = np.repeat(np.array(measurements.precisions) / max(first**2, LEAST_VARIANCE), full.sizes)
    sums = own * weights
    for table in tables:
        if len(table.columns) != 2 or table.centered:
            continue
        for axis, column in enumerate(table.columns):
            span, groups = full.span(column), resolutions.levels[table.level].maps[column]
            margin, weight = table.proportions.sum(1 - axis), 1 / (table.variance * table.proportions.shape[1 - axis])
            within = own[span] / np.bincount(groups, weights=own[span])[groups]
            sums[span] += within * margin[groups] * weight
            weights[span] += weight
    means = sums / weights
    return np.concatenate([_positive(means[full.span(column)]) for column in range(full.columns)])


def _positive(proportions: Floats) -> Floats:
    raised = np.maximum(proportions, LEAST_PROPORTION)
    return np.asarray(raised / raised.sum())


def _pair_levels(
    tables: Sequence[_Table], singles: Floats, coarser: Sequence[Coarser | None], resolutions: Resolutions
) -> tuple[PairLevel, ...]:
    """Return the pairs at every resolution, with priors from what each has beyond the coarser ones.

    Args:
        tables: counted tables, and margins of larger ones.
        singles: proportions of every code.
        coarser: how the next coarser resolution explains each; None for the coarsest.
        resolutions: of the pairs, coarse to fine.
    """
    single = [level.merge(singles) for level in resolutions.levels]
    weighted, precision = _averages(tables, single, resolutions)
    proportions, variances = _agreeing(weighted, precision, resolutions)
    levels: list[PairLevel] = []
    for number, level in enumerate(resolutions.levels):
        independent = np.outer(single[number], single[number])
        residual, freedom = priors.pair_residuals(independent, proportions[number], variances[number], coarser[number])
        prior = priors.pair_prior(level, independent, residual, variances[number], freedom)
        levels.append(PairLevel(proportions[number], variances[number], independent, prior, residual))
    return tuple(levels)


def _coarser(number: int, singles: Floats, resolutions: Resolutions) -> Coarser | None:
    """Return how the next coarser resolution explains the one of this number."""
    if not number:
        return None
    coarse, level = resolutions.levels[number - 1], resolutions.levels[number]
    slopes = Slopes.of_codes(coarse, singles, resolutions.domain).to_groups(level, singles)
    return Coarser(resolutions.refinements[number - 1], slopes)


def _averages(
    tables: Sequence[_Table], singles: Sequence[Floats], resolutions: Resolutions
) -> tuple[list[Floats], list[Floats]]:
    """Return Y / V and 1 / V of every resolution: the tables of each pair, averaged by inverse variance.

    Along a centered axis, a table takes its margin from the single columns.
    """
    weighted = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    precision = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    for table in tables:
        if len(table.columns) != 2:
            continue
        level = resolutions.levels[table.level]
        first, second = (level.span(column) for column in table.columns)
        independent = np.outer(singles[table.level][first], singles[table.level][second])
        values = independent + centered(table.proportions - independent, table.centered)
        variance = max(table.variance * _kept(table), LEAST_VARIANCE)
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


def _estimates(pairs: Sequence[PairLevel], coarser: Sequence[Coarser | None], resolutions: Resolutions) -> list[Floats]:
    """Return the expected proportions of all pairs at every resolution, given tables and priors.

    Args:
        pairs: by resolution.
        coarser: how the next coarser resolution explains each; None for the coarsest.
        resolutions: of the pairs, coarse to fine.
    """
    means: list[Floats] = []
    for level, pair, explains in zip(resolutions.levels, pairs, coarser, strict=True):
        residuals = Residuals(pair.independent, pair.variances, pair.residual)
        means.append(priors.posterior_mean(level, residuals, pair.prior, (explains, means[-1]) if explains else None))
    return means


def _sets(
    tables: Sequence[_Table], singles: Floats, estimates: Sequence[Floats], resolutions: Resolutions
) -> tuple[ColumnSetTable, ...]:
    """Return the counted sets with priors from what they show beyond their pairs, by resolution and size."""
    found = [_set(table, singles, estimates, resolutions) for table in tables]
    kinds = [(table.level, len(table.columns)) for table in tables]
    taus = np.zeros(len(tables))
    for kind in set(kinds):
        alike = [number for number, other in enumerate(kinds) if other == kind]
        taus[alike] = priors.set_priors([found[number][1] for number in alike])
    return tuple(replace(table, prior=float(tau)) for (table, _), tau in zip(found, taus, strict=True))


def _set(
    table: _Table, singles: Floats, estimates: Sequence[Floats], resolutions: Resolutions
) -> tuple[ColumnSetTable, tuple[float, float]]:
    """Return a counted set without a prior, and the estimate of its prior with its error."""
    level = resolutions.levels[table.level]
    margins = [level.merge(singles)[level.span(column)] for column in table.columns]
    pairs = [estimates[table.level][level.span(a), level.span(b)] for a, b in combinations(table.columns, 2)]
    deviation = math.sqrt(table.variance)
    explained = priors.without_interaction(pairs)
    prior = priors.set_prior(table.proportions, explained, margins, deviation, table.centered)
    independent = priors.outer_product(margins)
    return ColumnSetTable(table.columns, level, table.proportions, independent, deviation, table.centered, 0.0), prior


def _kept(table: _Table) -> float:
    """Return the part of the noise variance that centering leaves."""
    return float(np.prod([1 - 1 / table.proportions.shape[axis] for axis in table.centered]))
