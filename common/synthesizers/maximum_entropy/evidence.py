"""What the noisy tables say: proportions of pairs at every resolution, their noise, and priors of the potentials.

Notation: at a resolution, `Y` are measured proportions of all pairs of groups, `V` their noise variances (infinite
where nothing was counted), `P` the products of single proportions, that is, independence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from common.marginals.measurements import Measurements
from common.marginals.queries import FULL
from common.synthesizers.maximum_entropy.resolutions import Resolution, Resolutions

LEAST_PROPORTION = 1e-5
"""Proportion. No code of a column is rarer to the model: its logarithm is the start of a potential."""

NO_INTERACTION = 1e-6
"""Squared relative deviation from independence below which a pair has no potential at a resolution."""


@dataclass(frozen=True, slots=True, eq=False)
class PairLevel:
    """All pairs at one resolution, as square matrices over the groups of all columns.

    Attributes:
        proportions: Y.
        independent: P.
        ridge: noise variance over prior variance, the weight of the prior; 0 where there is no potential.
        has_potential: where the noisy tables show an interaction that coarser resolutions do not explain.
    """

    proportions: Floats
    independent: Floats
    ridge: Floats
    has_potential: Floats


@dataclass(frozen=True, slots=True, eq=False)
class TripleTable:
    """A counted table of three columns.

    Attributes:
        columns: in increasing order.
        resolution: of its codes.
        proportions: noisy, shape (groups, groups, groups).
        independent: products of single proportions, the same shape.
        deviation: standard deviation of the noise in a proportion.
    """

    columns: tuple[int, int, int]
    resolution: Resolution
    proportions: Floats
    independent: Floats
    deviation: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that the fit needs to know of the measurements.

    Attributes:
        resolutions: of the pairs, coarse to fine.
        singles: proportions of every code, all columns side by side; each column sums to 1.
        pairs: one entry for every resolution.
        triples: tables of three columns.
    """

    resolutions: Resolutions
    singles: Floats
    pairs: tuple[PairLevel, ...]
    triples: tuple[TripleTable, ...]

    @classmethod
    def of(cls, measurements: Measurements) -> Evidence:
        """Return what the measurements say."""
        domain = measurements.domain
        groups = [query.groups for query in measurements.queries if len(query.columns) == 2]
        resolutions = Resolutions.of(domain, groups)
        singles = np.concatenate([_positive(proportions) for proportions in measurements.singles])
        proportions, variances = _agreeing(*_averages(measurements, resolutions), resolutions)
        pairs = []
        for number, level in enumerate(resolutions.levels):
            single = level.membership.T @ singles
            coarser = resolutions.refinements[number - 1] if number else None
            pairs.append(_with_prior(level, np.outer(single, single), proportions[number], variances[number], coarser))
        return cls(resolutions, singles, tuple(pairs), _triples(measurements, singles))


def _positive(proportions: Floats) -> Floats:
    raised = np.maximum(proportions, LEAST_PROPORTION)
    return np.asarray(raised / raised.sum())


def _averages(measurements: Measurements, resolutions: Resolutions) -> tuple[list[Floats], list[Floats]]:
    """Return Y / V and 1 / V of every resolution: the tables of each pair, averaged by inverse variance."""
    weighted = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    precision = [np.zeros((level.width, level.width)) for level in resolutions.levels]
    for query, table, deviation in measurements.tables():
        if len(query.columns) != 2:
            continue
        number = resolutions.level_of(query.groups)
        level, variance = resolutions.levels[number], max(deviation, 1e-12) ** 2
        first, second = (level.span(column) for column in query.columns)
        for rows, columns, values in ((first, second, table), (second, first, table.T)):
            weighted[number][rows, columns] += values / variance
            precision[number][rows, columns] += 1 / variance
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
            within = resolutions.refinements[number]
            is_known = np.isfinite(variances[number + 1])
            summed = within.T @ np.where(is_known, proportions[number + 1], 0) @ within
            variance = within.T @ np.where(is_known, variances[number + 1], 0) @ within
            is_whole = within.T @ ~is_known @ within == 0
            gain = np.where(is_whole, 1 / np.maximum(variance, 1e-300), 0)
            weighted[number] += summed * gain
            precision[number] += gain
        is_counted = precision[number] > 0
        proportions[number] = weighted[number] / np.maximum(precision[number], 1e-300)
        variances[number] = np.where(is_counted, 1 / np.maximum(precision[number], 1e-300), np.inf)
    for number, within in enumerate(resolutions.refinements):
        sizes = within.sum(0)
        lacking = (proportions[number] - within.T @ proportions[number + 1] @ within) / np.outer(sizes, sizes)
        is_known = np.isfinite(variances[number + 1])
        proportions[number + 1] = np.where(is_known, proportions[number + 1] + within @ lacking @ within.T, 0)
    return proportions, variances


def _with_prior(
    level: Resolution, independent: Floats, proportions: Floats, variances: Floats, within: Floats | None
) -> PairLevel:
    """Return a resolution's pairs with priors by empirical Bayes.

    The potentials of a pair have a normal prior around 0 of variance tau: what its squared residuals r exceed the noise
    by, over squared independence, tau = max(0, sum(r^2 - V f) / sum(P^2 f)). The residuals are from independence or,
    where there is a coarser resolution, from what it explains; f is the share of degrees of freedom that this leaves.
    """
    is_known = np.isfinite(variances)
    noise = np.where(is_known, variances, 0.0)
    residual = np.where(is_known, proportions - independent, 0.0)
    freedom = is_known.astype(np.float64)
    if within is not None:
        coarse = np.maximum(within.T @ independent @ within, 1e-12)
        explained = independent * (within @ (within.T @ residual @ within / coarse) @ within.T)
        residual = np.where(is_known, residual - explained, 0.0)
        sizes = within.sum(0)
        freedom = freedom * (1 - within @ (1 / np.outer(sizes, sizes)) @ within.T)
    columns = np.repeat(np.eye(len(level.maps)), [level.size(column) for column in range(len(level.maps))], axis=0)
    excess = columns.T @ (residual**2 - noise * freedom) @ columns
    scale = columns.T @ (independent**2 * freedom) @ columns
    tau = np.maximum(excess / np.maximum(scale, 1e-12), 0.0)
    np.fill_diagonal(tau, 0.0)
    prior = columns @ tau @ columns.T
    has_potential = is_known & (prior > NO_INTERACTION)
    safe = np.maximum(independent, 1e-9)
    ridge = np.where(has_potential, noise / (safe * np.maximum(prior, 1e-9)), 0.0)
    return PairLevel(np.where(is_known, proportions, 0.0), safe, ridge, has_potential.astype(np.float64))


def _triples(measurements: Measurements, singles: Floats) -> tuple[TripleTable, ...]:
    resolutions: dict[int, Resolution] = {}
    full = Resolution.of(measurements.domain, FULL)
    triples = []
    for query, table, deviation in measurements.tables():
        if len(query.columns) != 3:
            continue
        if query.groups not in resolutions:
            resolutions[query.groups] = Resolution.of(measurements.domain, query.groups)
        resolution = resolutions[query.groups]
        first, second, third = (
            np.bincount(resolution.maps[column], weights=singles[full.span(column)]) for column in query.columns
        )
        independent = np.maximum(np.einsum("a,b,c->abc", first, second, third), 1e-12)
        columns = query.columns[0], query.columns[1], query.columns[2]
        triples.append(TripleTable(columns, resolution, table, independent, deviation))
    return tuple(triples)
