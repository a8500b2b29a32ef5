"""Priors of the interactions of three and four columns by empirical Bayes, and what pairs explain of their tables.

Notation as in `common.marginals.pair_priors`, with one difference: an interaction is a deviation P x of a cell from
what fewer columns explain, and x has the variance tau in every cell, not tau / P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from common.arrays import Array, Floats
from common.marginals.pair_priors import SMALLEST
from common.marginals.queries import centered

LEAST_SET_PRIOR = 1e-4
"""Squared relative deviation. No set's interaction is ruled out."""

FITTING_TURNS = 25
"""Turns of iterative proportional fitting; it converges geometrically, and noise exceeds what is left."""

FEWEST_POOLED = 4
"""Estimates. Fewer say nothing of how far estimates differ."""


def pooled(estimates: Floats, errors: Floats, is_used: Array) -> Floats:
    """Return estimates shrunk towards their mean: normal means with known errors (Efron and Morris 1975).

    Args:
        estimates: of any shape.
        errors: their standard deviations, the same shape.
        is_used: which of them give the mean and the spread, the same shape.
    """
    if is_used.sum() < FEWEST_POOLED:
        return estimates
    weights = 1 / errors[is_used] ** 2
    mean = max(0.0, float(np.average(estimates[is_used], weights=weights)))
    spread = float(np.average((estimates[is_used] - mean) ** 2 - errors[is_used] ** 2, weights=weights))
    kept = max(spread, 0.0) / (max(spread, 0.0) + errors**2 + SMALLEST)
    return np.asarray(mean + kept * (estimates - mean))


def set_prior(
    table: Floats, explained: Floats, singles: Sequence[Floats], deviation: float, centered_axes: Sequence[int]
) -> tuple[float, float]:
    """Return an estimate of tau of one set, from what its noisy table shows of the interaction of all its columns.

    `interaction` is a projection A along every axis. With q the proportions of the k groups of an axis and u_i the unit
    vector of group i, A leaves sum_i |A u_i|^2 of the noise and sum_i q_i^2 |A u_i|^2 of the signal, multiplied over
    all axes:

        |A u_i|^2 = 1 - 2 q_i + |q|^2,     or 1 - 1/k along a centered axis.

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


def set_priors(estimated: Sequence[tuple[float, float]]) -> Floats:
    """Return tau of sets of the same number of columns and groups, shape (sets,), at least `LEAST_SET_PRIOR`.

    Estimates are shrunk towards their mean as far as noise explains their differences.

    Args:
        estimated: what `set_prior` returns for each set.
    """
    estimates, errors = np.array(estimated, dtype=np.float64).reshape(-1, 2).T
    shrunk = np.where(errors > 0, pooled(estimates, np.maximum(errors, SMALLEST), errors > 0), estimates)
    return np.asarray(np.maximum(shrunk, LEAST_SET_PRIOR))


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

    The fit has no interaction of more than two columns (Deming and Stephan 1940). Where noise makes pairs disagree on
    the margin of a column, the table's margin is between theirs.

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
