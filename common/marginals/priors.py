"""Normal priors of interactions by empirical Bayes: how far noisy tables exceed what simpler tables and noise explain.

Notation: `Y` are measured proportions, `V` their noise variances, `P` the products of single proportions, that is,
independence. An interaction is a deviation P x of a cell from what simpler tables explain, and tau is the variance of
x over the cells of a table:

    tau = max(0, sum(r^2 - V f) / sum(P^2 f))

with r the residual from the simpler tables and f the part of the degrees of freedom that they leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Floats
from common.marginals.resolutions import Refinement, Resolution

LEAST_TRIPLE_PRIOR = 1e-4
"""Squared relative deviation. No triple's interaction is ruled out."""

FITTING_TURNS = 25
"""Turns of iterative proportional fitting; it converges geometrically, and noise exceeds what is left."""

LEAST_RATIO = 0.01
"""Least expected proportion of a cell, relative to independence."""

SMALLEST = 1e-300
"""Stands for zero where a number is divided by."""


def pair_prior(
    level: Resolution, independent: Floats, proportions: Floats, variances: Floats, refinement: Refinement | None
) -> Floats:
    """Return tau of every pair at one resolution, shape (columns, columns), 0 within a column.

    The residuals are from independence or, where there is a coarser resolution, from what that one explains.

    Args:
        level: the resolution.
        independent: P, a square over its groups.
        proportions: Y, the same shape.
        variances: V, the same shape; infinite where nothing was counted.
        refinement: from the next coarser resolution, if there is one.
    """
    is_known = np.isfinite(variances)
    noise = np.where(is_known, variances, 0.0)
    residual = np.where(is_known, proportions - independent, 0.0)
    freedom = is_known.astype(np.float64)
    if refinement is not None:
        coarse = np.maximum(refinement.merge(independent), 1e-12)
        explained = independent * refinement.spread(refinement.merge(residual) / coarse)
        residual = np.where(is_known, residual - explained, 0.0)
        freedom *= 1 - refinement.spread(1 / np.outer(refinement.sizes, refinement.sizes))
    excess = level.column_sums(residual**2 - noise * freedom)
    scale = level.column_sums(independent**2 * freedom)
    tau = np.maximum(excess / np.maximum(scale, 1e-12), 0.0)
    np.fill_diagonal(tau, 0.0)
    return tau


def posterior_mean(
    proportions: Floats,
    variances: Floats,
    independent: Floats,
    prior: Floats,
    coarser: tuple[Refinement, Floats] | None,
) -> Floats:
    """Return the expected proportions of all pairs at one resolution given their tables and priors.

    With e what the coarser resolution explains of the deviation from independence, and s = P^2 tau / (P^2 tau + V),

        E = P + e(E_coarser - P_coarser) + s (Y - P - e(Y_coarser - P_coarser)),

    kept above a small part of P.

    Args:
        proportions: Y, a square over groups.
        variances: V, the same shape.
        independent: P, the same shape.
        prior: tau, the same shape.
        coarser: refinement from the next coarser resolution, and its posterior means.
    """
    is_known = np.isfinite(variances)
    residual = np.where(is_known, proportions - independent, 0.0)
    explained = np.zeros_like(residual)
    if coarser is not None:
        refinement, means = coarser
        total = np.maximum(refinement.merge(independent), SMALLEST)
        residual -= independent * refinement.spread(refinement.merge(residual) / total)
        explained = independent * refinement.spread(means / total - 1)
    signal = independent**2 * prior
    shrinkage = np.where(is_known, signal / np.maximum(signal + np.where(is_known, variances, 1.0), SMALLEST), 0.0)
    return np.asarray(np.maximum(independent + explained + shrinkage * residual, LEAST_RATIO * independent))


def triple_prior(
    table: Floats, explained: Floats, singles: Sequence[Floats], deviation: float, centered_axes: Sequence[int]
) -> float:
    """Return tau of a triple, what its noisy table shows of the interaction of all three columns.

    What is left of noise and signal after the projection A of `interaction` is a product over axes, for
    singles q of k groups: sum_i |A e_i|^2 of noise, and sum_i q_i^2 |A e_i|^2 of signal, with

        |A e_i|^2 = 1 - 2 q_i + |q|^2,     or 1 - 1/k along a centered axis.

    Args:
        table: Y, shape (groups, groups, groups).
        explained: what the three pairs explain, from `without_interaction`, the same shape.
        singles: q, proportions of the groups of each of the three columns.
        deviation: standard deviation of the noise in a proportion, before the table's mean is taken off.
        centered_axes: axes along which the table was counted less its mean.
    """
    independent = np.einsum("a,b,c->abc", *singles)
    residual = interaction(table - explained, independent, centered_axes)
    noise, signal = deviation**2, 1.0
    for axis, single in enumerate(singles):
        left = 1 - 2 * single + (single**2).sum()
        if axis in centered_axes:
            left = np.full(len(single), 1 - 1 / len(single))
        noise, signal = noise * float(left.sum()), signal * float((single**2 * left).sum())
    excess = float((residual**2).sum()) - noise
    return max(excess / signal, LEAST_TRIPLE_PRIOR) if signal > SMALLEST else LEAST_TRIPLE_PRIOR


def centered(table: Floats, axes: Sequence[int]) -> Floats:
    """Return a table less its mean along each of these axes."""
    for axis in axes:
        table = table - table.mean(axis, keepdims=True)
    return table


def interaction(residual: Floats, independent: Floats, centered_axes: Sequence[int] = ()) -> Floats:
    """Return what no two of the three columns explain of a residual: its margins are zero.

        r <- r - mean_c r                 along the centered axes c
        r <- r - P (sum_a r) / (sum_a P)  along every axis a

    Args:
        residual: of a table of three columns.
        independent: P, the same shape.
        centered_axes: axes along which the table was counted less its mean: margins along them are not known.
    """
    residual = centered(residual, centered_axes)
    for axis in range(residual.ndim):
        margin = np.maximum(independent.sum(axis, keepdims=True), SMALLEST)
        residual = residual - independent * (residual.sum(axis, keepdims=True) / margin)
    return residual


def without_interaction(first: Floats, second: Floats, third: Floats) -> Floats:
    """Return the table of three columns that its three pair tables explain, by iterative proportional fitting.

    The fit has no interaction of all three columns (Deming and Stephan 1940). Pairs that do not agree on their margins,
    for their noise, give a table between them.

    Args:
        first: table of the first and second column, non-negative, of sum 1.
        second: table of the first and third column.
        third: table of the second and third column.
    """
    table = np.ones((*first.shape, second.shape[1]))
    for _ in range(FITTING_TURNS):
        for axis, margin in ((2, first), (1, second), (0, third)):
            table *= np.expand_dims(margin / np.maximum(table.sum(axis), SMALLEST), axis)
    return table
