"""Priors of the interactions of two columns by empirical Bayes: how far noisy tables exceed what simpler ones explain.

Notation: `Y` are measured proportions, `V` their noise variances, `P` the products of single proportions `p`, that is,
independence. An interaction is a deviation of a cell from what simpler tables explain: P x for potentials x, as far as
simpler tables cannot show it. The variance of x is tau / P, as rare cells deviate further. Both margins of a pair are
known, so a cell of the groups i and j has

    tau g,   g = (p_i - p_i^2) (p_j - p_j^2) - e_i e_j,               e_i = p_i^2 / p_I - p_i^2

of signal and

    V f,     f = (1 - 1/a) (1 - 1/b) - (1/n_I - 1/a) (1/n_J - 1/b)

of noise left, in tables of a x b groups of which n_I are in the coarser group I. The second products are what the next
coarser resolution explains, and 0 at the coarsest. With r the residual from it, sum(r^2) is about
tau sum(g) + sum(V f).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.marginals.resolutions import Refinement, Resolution
from common.marginals.slopes import Slopes

LEAST_RATIO = 0.01
"""Least expected proportion of a cell, relative to independence."""

SMALLEST = 1e-300
"""Stands for zero where a number is divided by."""

LEAST_NOISE = 1e-24
"""Squared proportion. Stands for a noise of zero where a variance is divided by."""

LEAST_KEPT = 0.01
"""Part of a table's residuals. A pair of which a prior would keep less has none, so no potential."""

GRID = (1e-6, 1.0, 60)
"""Values of tau among which the distribution is found, relative to the largest: from, to, how many; and 0."""

MIXTURE_STEPS = 200
"""Steps of expectation maximization. 2,000 change what a table keeps of its residuals by less than 0.005 on average."""

LEAST_FREEDOM = 1e-6
"""Degrees of freedom. A resolution that does not refine a pair leaves none but rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Coarser:
    """How the next coarser resolution explains a finer one: its groups within groups, and slopes within them."""

    refinement: Refinement
    slopes: Slopes


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """What is left of the pairs of one resolution where simpler tables are known: factors of groups, shape (width,).

    Attributes:
        proportions: p_i - p_i^2.
        explained: e_i; 0 where only margins are known.
        equal: 1 - 1/a.
        shares: 1/n_I - 1/a; 0 where only margins are known.
    """

    proportions: Floats
    explained: Floats
    equal: Floats
    shares: Floats

    @classmethod
    def of(cls, level: Resolution, single: Floats, refinement: Refinement | None) -> Unexplained:
        """Return the factors at one resolution.

        Args:
            level: the resolution.
            single: proportions of its groups.
            refinement: of the next coarser resolution to this one, if that is known too.
        """
        equal, none = 1 / level.sizes[level.column_of], np.zeros(level.width)
        if refinement is None:
            return cls(single - single**2, none, 1 - equal, none)
        coarse = np.add.reduceat(single, refinement.starts)[refinement.parents]
        shares = 1 / refinement.sizes[refinement.parents] - equal
        return cls(single - single**2, single**2 / coarse - single**2, 1 - equal, shares)

    def without_coarser(self) -> Unexplained:
        """Return the factors where only margins are known."""
        none = np.zeros_like(self.equal)
        return Unexplained(self.proportions, none, self.equal, none)

    def signal(self, rows: Integers | None = None, columns: Integers | None = None) -> Floats:
        """Return g, the part of tau that is a cell's, as a square over groups.

        Args:
            rows: groups of tables, shape (tables, a); then the return value has the shape (tables, a, b).
            columns: groups of the same tables, shape (tables, b).
        """
        return _difference(self.proportions, self.explained, rows, columns)

    def freedom(self, rows: Integers | None = None, columns: Integers | None = None) -> Floats:
        """Return f, the part of V that is a cell's, shaped as `signal`."""
        return _difference(self.equal, self.shares, rows, columns)


def _difference(whole: Floats, simpler: Floats, rows: Integers | None, columns: Integers | None) -> Floats:
    """Return w_i w_j - s_i s_j of every two groups, or of those of tables; not below 0, for rounding."""
    if rows is None or columns is None:
        return np.maximum(np.outer(whole, whole) - np.outer(simpler, simpler), 0.0)
    products = (factors[rows][:, :, None] * factors[columns][:, None, :] for factors in (whole, simpler))
    return np.asarray(np.maximum(next(products) - next(products), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """The pairs of one resolution as squares over its groups: P, V, r from `pair_residuals`, and its parts."""

    independent: Floats
    variances: Floats
    residual: Floats
    unexplained: Unexplained


def pair_residuals(independent: Floats, proportions: Floats, variances: Floats, coarser: Coarser | None) -> Floats:
    """Return what the tables of all pairs at one resolution have beyond the coarser one, 0 where nothing was counted.

    Args:
        independent: P, a square over groups.
        proportions: Y, the same shape.
        variances: V, the same shape; infinite where nothing was counted.
        coarser: how the next coarser resolution explains this one, if there is one.
    """
    is_known = np.isfinite(variances)
    residual = np.where(is_known, proportions - independent, 0.0)
    if coarser is not None:
        merge = coarser.refinement.merge
        relative = merge(residual) / np.maximum(merge(independent), SMALLEST)
        residual = np.where(is_known, residual - independent * coarser.slopes.spread(relative), 0.0)
    return residual


def pair_prior(level: Resolution, pairs: Residuals) -> Floats:
    """Return tau of every pair at one resolution, shape (columns, columns), 0 within a column.

    Where it would keep next to nothing of what the table shows (`LEAST_KEPT`), it is 0.

    Args:
        level: the resolution.
        pairs: its tables.
    """
    is_known = np.isfinite(pairs.variances)
    freedom = np.where(is_known, pairs.unexplained.freedom(), 0.0)
    noise = np.where(is_known, pairs.variances, 0.0) * freedom
    sums = [level.column_sums(square) for square in (pairs.residual**2, noise, freedom)]
    signal = level.column_sums(np.where(is_known, pairs.unexplained.signal(), 0.0))
    is_finer = np.triu((sums[2] > LEAST_FREEDOM) & (signal > SMALLEST), 1)
    squares, variances, degrees = (square[is_finer] for square in sums)
    tau = mixed(squares, variances, signal[is_finer], degrees)
    tau[tau * signal[is_finer] < LEAST_KEPT * variances] = 0.0
    prior = np.zeros((level.columns, level.columns))
    prior[is_finer] = tau
    return prior + prior.T


def mixed(squares: Floats, noise: Floats, signal: Floats, degrees: Floats) -> Floats:
    """Return tau of tables, each from its own residuals and from how tau is distributed among all of them.

    A table's sum(r^2) is (tau sum(g) + sum(V f)) / k times a chi-squared number of k = sum(f) degrees of freedom. The
    distribution of tau is the one on a grid that makes all tables most likely (nonparametric maximum likelihood, Kiefer
    and Wolfowitz 1956), by expectation maximization. Few tables depend strongly in most data, and many not at all,
    which a normal distribution would not show. A table's tau shrinks its residuals as its posterior does on average:
    shrinking by tau g / (tau g + V f) is averaged, not tau.

    Args:
        squares: sum(r^2) of every table, shape (tables,).
        noise: sum(V f), the same shape.
        signal: sum(g), positive, the same shape.
        degrees: sum(f), positive, the same shape.
    """
    if not len(squares):
        return np.empty(0)
    noise = np.maximum(noise, LEAST_NOISE)
    largest = max(float(((squares - noise) / signal).max()), float((LEAST_KEPT * noise / signal).max()))
    grid = np.concatenate([[0.0], largest * np.geomspace(*GRID)])
    expected = np.outer(signal, grid) + noise[:, None]
    logs = -degrees[:, None] / 2 * (np.log(expected) + squares[:, None] / expected)
    likelihoods = np.exp(logs - logs.max(1, keepdims=True))
    weights = np.full(len(grid), 1 / len(grid))
    for _ in range(MIXTURE_STEPS):
        weights *= (1 / (likelihoods @ weights)) @ likelihoods / len(squares)
    kept = likelihoods * weights / expected
    return np.asarray(kept @ grid / kept.sum(1))


def posterior_mean(level: Resolution, pair: Residuals, prior: Floats, coarser: tuple[Coarser, Floats] | None) -> Floats:
    """Return the expected proportions of all pairs at one resolution given their tables and priors.

    With e what the coarser resolution's means explain of the deviation from independence, and
    s = tau g / (tau g + V f),

        E = P + e + s r,

    kept above a small part of P.

    Args:
        level: the resolution.
        pair: P, V, r and their parts.
        prior: tau, by pair of columns.
        coarser: how the next coarser resolution explains this one, and its means.
    """
    independent, explained = pair.independent, np.zeros_like(pair.independent)
    if coarser is not None:
        link, means = coarser
        relative = means / np.maximum(link.refinement.merge(independent), SMALLEST) - 1
        explained = independent * link.slopes.spread(relative)
    signal = pair.unexplained.signal() * level.spread_columns(prior)
    noise = np.where(np.isfinite(pair.variances), pair.variances, 1.0) * pair.unexplained.freedom()
    shrinkage = signal / np.maximum(signal + noise, SMALLEST)
    return np.asarray(np.maximum(independent + explained + shrinkage * pair.residual, LEAST_RATIO * independent))
