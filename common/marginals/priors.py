"""Normal priors of interactions by empirical Bayes: how far noisy tables exceed what simpler tables and noise explain.

Notation: `Y` are measured proportions, `V` their noise variances, `P` the products of single proportions, that is,
independence. An interaction is a deviation P x of a cell from what simpler tables explain. Of pairs, the variance of x
is tau / P, as rare cells deviate further, so that

    tau = sum(r^2 - V f) / sum(P f)

with r the residual from the simpler tables and f the part of the degrees of freedom that they leave. Of sets of three
and four columns, x has the variance tau in every cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Array, Floats
from common.marginals.queries import centered
from common.marginals.resolutions import Refinement, Resolution
from common.marginals.slopes import Slopes

LEAST_SET_PRIOR = 1e-4
"""Squared relative deviation. No set's interaction is ruled out."""

FITTING_TURNS = 25
"""Turns of iterative proportional fitting; it converges geometrically, and noise exceeds what is left."""

LEAST_RATIO = 0.01
"""Least expected proportion of a cell, relative to independence."""

SMALLEST = 1e-300
"""Stands for zero where a number is divided by."""

LEAST_FREEDOM = 1e-6
"""Degrees of freedom. A resolution that does not refine a pair leaves none but rounding."""

FEWEST_POOLED = 4
"""Estimates. Fewer say nothing of how far estimates differ."""


@dataclass(frozen=True, slots=True, eq=False)
class Coarser:
    """How the next coarser resolution explains a finer one: its groups within groups, and slopes within them."""

    refinement: Refinement
    slopes: Slopes


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """The pairs of one resolution as squares over its groups: P, V, and r from `pair_residuals`."""

    independent: Floats
    variances: Floats
    residual: Floats


def pair_residuals(
    independent: Floats, proportions: Floats, variances: Floats, coarser: Coarser | None
) -> tuple[Floats, Floats]:
    """Return what the tables of all pairs at one resolution have beyond the coarser one, and their freedom.

    Args:
        independent: P, a square over groups.
        proportions: Y, the same shape.
        variances: V, the same shape; infinite where nothing was counted.
        coarser: how the next coarser resolution explains this one, if there is one.

    Returns:
        Residuals from independence or from what the coarser resolution explains, and the part of the degrees of freedom
        that it leaves, 0 where nothing was counted.
    """
    is_known = np.isfinite(variances)
    residual = np.where(is_known, proportions - independent, 0.0)
    freedom = is_known.astype(np.float64)
    if coarser is not None:
        merge, sizes = coarser.refinement.merge, coarser.refinement.sizes
        relative = merge(residual) / np.maximum(merge(independent), SMALLEST)
        residual = np.where(is_known, residual - independent * coarser.slopes.spread(relative), 0.0)
        freedom *= 1 - coarser.refinement.spread(1 / np.outer(sizes, sizes))
    return residual, freedom


def pair_prior(level: Resolution, independent: Floats, residual: Floats, variances: Floats, freedom: Floats) -> Floats:
    """Return tau of every pair at one resolution, shape (columns, columns), 0 within a column.

    The estimates of single pairs, (sum(r^2) - sum(V f)) / sum(P f), have errors that the noise explains. Each is drawn
    towards their mean as far as those errors exceed the differences between pairs.

    Args:
        level: the resolution.
        independent: P, a square over its groups.
        residual: r, from `pair_residuals`, the same shape.
        variances: V, the same shape.
        freedom: f, the same shape.
    """
    noise = np.where(freedom > 0, variances, 0.0)
    scale = np.maximum(level.column_sums(independent * freedom), SMALLEST)
    estimates = level.column_sums(residual**2 - noise * freedom) / scale
    errors = np.sqrt(2 * level.column_sums(noise**2 * freedom)) / scale
    is_finer = level.column_sums(freedom) > LEAST_FREEDOM
    upper = np.triu((errors > 0) & is_finer, 1)
    tau = np.where(errors > 0, pooled(estimates, errors, upper), estimates)
    tau = np.where(is_finer, np.maximum(tau, 0.0), 0.0)
    np.fill_diagonal(tau, 0.0)
    return np.asarray(tau)


def pooled(estimates: Floats, errors: Floats, is_used: Array) -> Floats:
    """Return estimates drawn towards their mean: normal means with known errors (Efron and Morris 1975).

    Args:
        estimates: of any shape.
        errors: their standard deviations, the same shape.
        is_used: which of them the mean and the spread are taken from.
    """
    if is_used.sum() < FEWEST_POOLED:
        return estimates
    weights = 1 / errors[is_used] ** 2
    mean = max(0.0, float(np.average(estimates[is_used], weights=weights)))
    spread = float(np.average((estimates[is_used] - mean) ** 2 - errors[is_used] ** 2, weights=weights))
    kept = max(spread, 0.0) / (max(spread, 0.0) + errors**2 + SMALLEST)
    return np.asarray(mean + kept * (estimates - mean))


def posterior_mean(level: Resolution, pair: Residuals, prior: Floats, coarser: tuple[Coarser, Floats] | None) -> Floats:
    """Return the expected proportions of all pairs at one resolution given their tables and priors.

    With e what the coarser resolution's means explain of the deviation from independence, and s = P tau / (P tau + V),

        E = P + e + s r,

    kept above a small part of P.

    Args:
        level: the resolution.
        pair: P, V and r.
        prior: tau, by pair of columns.
        coarser: how the next coarser resolution explains this one, and its means.
    """
    independent, explained = pair.independent, np.zeros_like(pair.independent)
    if coarser is not None:
        link, means = coarser
        relative = means / np.maximum(link.refinement.merge(independent), SMALLEST) - 1
        explained = independent * link.slopes.spread(relative)
    signal = independent * level.spread_columns(prior)
    variances = np.where(np.isfinite(pair.variances), pair.variances, 1.0)
    shrinkage = signal / np.maximum(signal + variances, SMALLEST)
    return np.asarray(np.maximum(independent + explained + shrinkage * pair.residual, LEAST_RATIO * independent))


def set_prior(
    table: Floats, explained: Floats, singles: Sequence[Floats], deviation: float, centered_axes: Sequence[int]
) -> tuple[float, float]:
    """Return an estimate of a set's tau, what its noisy table shows of the interaction of all its columns.

    What is left of noise and signal after the projection A of `interaction` is a product over axes, for
    singles q of k groups: sum_i |A e_i|^2 of noise, and sum_i q_i^2 |A e_i|^2 of signal, with

        |A e_i|^2 = 1 - 2 q_i + |q|^2,     or 1 - 1/k along a centered axis.

    Args:
        table: Y, one axis of groups for each column.
        explained: what the pairs explain, from `without_interaction`, the same shape.
        singles: q, proportions of the groups of each column.
        deviation: standard deviation of the noise in a proportion, before the table's mean is taken off.
        centered_axes: axes along which the table was counted less its mean.

    Returns:
        The estimate, which noise may make negative, and its standard deviation by noise alone.
    """
    independent = outer_product(singles)
    residual = interaction(table - explained, independent, centered_axes)
    noise, signal = deviation**2, 1.0
    for axis, single in enumerate(singles):
        left = 1 - 2 * single + (single**2).sum()
        if axis in centered_axes:
            left = np.full(len(single), 1 - 1 / len(single))
        noise, signal = noise * float(left.sum()), signal * float((single**2 * left).sum())
    if signal <= SMALLEST:
        return 0.0, 0.0
    freedom = math.prod(size - 1 for size in table.shape)
    return (float((residual**2).sum()) - noise) / signal, noise * math.sqrt(2 / freedom) / signal


def set_priors(found: Sequence[tuple[float, float]]) -> Floats:
    """Return tau of sets that were counted alike, drawn towards their mean as far as noise explains differences.

    Args:
        found: what `set_prior` gives for each.
    """
    estimates, errors = np.array(found, dtype=np.float64).reshape(-1, 2).T
    drawn = np.where(errors > 0, pooled(estimates, np.maximum(errors, SMALLEST), errors > 0), estimates)
    return np.asarray(np.maximum(drawn, LEAST_SET_PRIOR))


def interaction(residual: Floats, independent: Floats, centered_axes: Sequence[int] = ()) -> Floats:
    """Return what only all columns together explain of a residual: its margins are zero.

        r <- r - mean_c r                 along the centered axes c
        r <- r - P (sum_a r) / (sum_a P)  along every axis a

    Args:
        residual: of a table.
        independent: P, the same shape.
        centered_axes: axes along which the table was counted less its mean: margins along them are not known.
    """
    residual = centered(residual, centered_axes)
    for axis in range(residual.ndim):
        margin = np.maximum(independent.sum(axis, keepdims=True), SMALLEST)
        residual = residual - independent * (residual.sum(axis, keepdims=True) / margin)
    return residual


def without_interaction(pairs: Sequence[Floats]) -> Floats:
    """Return the table of three or more columns that its pair tables explain, by iterative proportional fitting.

    The fit has no interaction of more than two columns (Deming and Stephan 1940). Pairs that do not agree on their
    margins, for their noise, give a table between them.

    Args:
        pairs: tables of every two columns, in the order of `itertools.combinations`, non-negative, of sum 1.
    """
    columns = (1 + math.isqrt(1 + 8 * len(pairs))) // 2  # the pairs of n columns are n (n - 1) / 2
    table = np.ones((pairs[0].shape[0], *(pair.shape[1] for pair in pairs[: columns - 1])))
    for _ in range(FITTING_TURNS):
        for kept, margin in zip(combinations(range(columns), 2), pairs, strict=True):
            others = tuple(axis for axis in range(columns) if axis not in kept)
            table *= np.expand_dims(margin / np.maximum(table.sum(others), SMALLEST), others)
    return table


def outer_product(singles: Sequence[Floats]) -> Floats:
    """Return the table of independent columns, one axis for each."""
    product = np.ones(())
    for single in singles:
        product = np.multiply.outer(product, single)
    return product
