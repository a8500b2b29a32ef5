"""What the noisy tables say: proportions of pairs at every resolution, their noise, and priors of interactions.

Notation: at a resolution, `Y` are measured proportions of all pairs of groups, `V` their noise variances (infinite
where nothing was counted), `P` the products of single proportions, that is, independence. All of it is post-processing
of released sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from common.arrays import Floats
from common.marginals import pair_priors, set_priors
from common.marginals.averaging import CountedTable, counted_tables, pair_averages, single_proportions
from common.marginals.measurements import Measurements
from common.marginals.pair_priors import Coarser, PairLevel, Unexplained
from common.marginals.resolutions import Resolution, Resolutions
from common.marginals.slopes import Slopes

COARSEST = 2
"""Groups of the coarsest resolution: halves of columns say most of a pair in one number."""

MIDDLE, MIDDLE_FROM = 16, 24
"""Groups of a resolution between the coarse ones and the full one, where a column has more codes than the second
number: what 16 groups explain of a fine table is then told apart from what only finer ones do."""


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
        tables = list(counted_tables(measurements, resolutions))
        singles = single_proportions(measurements, tables, resolutions)
        coarser = [_coarser(number, singles, resolutions) for number in range(len(resolutions.levels))]
        pairs = _pair_levels(tables, singles, coarser, resolutions)
        counted = [table for table in tables if len(table.columns) > 2]
        estimates = _estimates(pairs, coarser, resolutions) if counted else []
        return cls(resolutions, singles, pairs, _sets(counted, singles, estimates, resolutions))

    @property
    def counted_pairs(self) -> int:
        """How many pairs of columns were counted at any resolution."""
        levels = zip(self.resolutions.levels, self.pairs, strict=True)
        counted = sum(level.column_sums(np.isfinite(pairs.variances).astype(np.float64)) for level, pairs in levels)
        return int(np.count_nonzero(np.triu(counted, 1)))

    def independent(self, columns: Sequence[int], level: Resolution) -> Floats:
        """Return the products of the single proportions of some columns at a resolution, one axis a column."""
        single = level.merge(self.singles)
        return set_priors.outer_product([single[level.span(column)] for column in columns])


def _pair_levels(
    tables: Sequence[CountedTable], singles: Floats, coarser: Sequence[Coarser | None], resolutions: Resolutions
) -> tuple[PairLevel, ...]:
    """Return the pairs at every resolution, with priors from what each has beyond the coarser ones.

    Args:
        tables: counted tables, and margins of larger ones.
        singles: proportions of every code.
        coarser: how the next coarser resolution explains each; None for the coarsest.
        resolutions: of the pairs, coarse to fine.
    """
    single = [level.merge(singles) for level in resolutions.levels]
    proportions, variances = pair_averages(tables, single, resolutions)
    levels: list[PairLevel] = []
    for number, (level, explains) in enumerate(zip(resolutions.levels, coarser, strict=True)):
        independent = np.outer(single[number], single[number])
        residual = pair_priors.pair_residuals(independent, proportions[number], variances[number], explains)
        unexplained = Unexplained.of(level, single[number], explains.refinement if explains else None)
        prior = pair_priors.pair_prior(level, residual, variances[number], unexplained)
        levels.append(PairLevel(proportions[number], variances[number], independent, prior, residual, unexplained))
    return tuple(levels)


def _coarser(number: int, singles: Floats, resolutions: Resolutions) -> Coarser | None:
    """Return how the next coarser resolution explains the one of this number."""
    if not number:
        return None
    coarse, level = resolutions.levels[number - 1], resolutions.levels[number]
    slopes = Slopes.of_codes(coarse, singles, resolutions.domain).to_groups(level, singles)
    return Coarser(resolutions.refinements[number - 1], slopes)


def _estimates(pairs: Sequence[PairLevel], coarser: Sequence[Coarser | None], resolutions: Resolutions) -> list[Floats]:
    """Return the expected proportions of all pairs at every resolution, given tables and priors.

    Args:
        pairs: by resolution.
        coarser: how the next coarser resolution explains each; None for the coarsest.
        resolutions: of the pairs, coarse to fine.
    """
    means: list[Floats] = []
    for level, pair, explains in zip(resolutions.levels, pairs, coarser, strict=True):
        means.append(pair_priors.posterior_mean(level, pair, (explains, means[-1]) if explains else None))
    return means


def _sets(
    tables: Sequence[CountedTable], singles: Floats, estimates: Sequence[Floats], resolutions: Resolutions
) -> tuple[ColumnSetTable, ...]:
    """Return the counted sets with priors from what they show beyond their pairs, by resolution and size."""
    found = [_set(table, singles, estimates, resolutions) for table in tables]
    kinds = [(table.level, len(table.columns)) for table in tables]
    taus = np.zeros(len(tables))
    for kind in set(kinds):
        alike = [number for number, other in enumerate(kinds) if other == kind]
        taus[alike] = set_priors.set_priors([found[number][1] for number in alike])
    return tuple(replace(table, prior=float(tau)) for (table, _), tau in zip(found, taus, strict=True))


def _set(
    table: CountedTable, singles: Floats, estimates: Sequence[Floats], resolutions: Resolutions
) -> tuple[ColumnSetTable, tuple[float, float]]:
    """Return a counted set without a prior, and the estimate of its prior with its error."""
    level = resolutions.levels[table.level]
    margins = [level.merge(singles)[level.span(column)] for column in table.columns]
    pairs = [estimates[table.level][level.span(a), level.span(b)] for a, b in combinations(table.columns, 2)]
    deviation = math.sqrt(table.variance)
    explained = set_priors.without_interaction(pairs)
    prior = set_priors.set_prior(table.proportions, explained, margins, deviation, table.centered)
    independent = set_priors.outer_product(margins)
    return ColumnSetTable(table.columns, level, table.proportions, independent, deviation, table.centered, 0.0), prior
