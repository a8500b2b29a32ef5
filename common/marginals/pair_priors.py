"""Priors of the interactions of two columns by empirical Bayes: how far noisy tables exceed what simpler ones explain.

Notation: `Y` are measured proportions, `V` their noise variances, `P` the products of single proportions `p`, that is,
independence. Every cell has a potential x with a normal prior of variance tau / P: potentials of rare cells vary more.
A cell deviates from independence by P x. An interaction is the part of this deviation that neither the margins nor the
next coarser resolution show. In the cell of groups i and j, the interaction has the variance

    tau g,   g = (p_i - p_i^2) (p_j - p_j^2) - e_i e_j,               e_i = p_i^2 / p_I - p_i^2,

and the noise that is left without margins and the coarser resolution has the variance

    V f,     f = (1 - 1/a) (1 - 1/b) - (1/n_I - 1/a) (1/n_J - 1/b).

The table has a x b groups; I and J are the coarser groups that hold i and j, p_I is the proportion of I, and n_I is the
number of groups in I. The second products are what the coarser resolution shows, and are 0 at the coarsest. For r, the
residual Y less what margins and the coarser resolution explain, sum(r^2) is about tau sum(g) + sum(V f).
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
"""Ratio of signal, tau sum(g), to noise, sum(V f). A pair with a smaller one gets no prior and so no potential."""

GRID = (1e-6, 1.0, 60)
"""Values of tau, besides 0, at which the distribution may have mass: smallest and largest, both relative to the largest
estimate of one table, and their number."""

MIXTURE_STEPS = 200
"""Steps of expectation maximization. With 2,000, the fraction of its residuals that a table keeps changes by less than
0.005 on average."""

LEAST_FREEDOM = 1e-6
"""Degrees of freedom. Fewer are rounding errors: the resolution does not refine the pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Coarser:
    """How the next coarser resolution explains a finer one: its groups within groups, and slopes within them."""

    refinement: Refinement
    slopes: Slopes


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """The factors of g and f at one resolution, one value for each group; shapes are (width,).

    Attributes:
        signal_factor: p_i - p_i^2.
        coarser_signal: e_i; 0 where only margins are known.
        noise_factor: 1 - 1/a.
        coarser_noise: 1/n_I - 1/a; 0 where only margins are known.
    """

    signal_factor: Floats
    coarser_signal: Floats
    noise_factor: Floats
    coarser_noise: Floats

    @classmethod
    def of(cls, level: Resolution, single: Floats, refinement: Refinement | None) -> Unexplained:
        """Return the factors at one resolution.

        Args:
            level: the resolution.
            single: proportions of its groups, shape (width,).
            refinement: of the next coarser resolution to this one; None at the coarsest.
        """
        equal, none = 1 / level.sizes[level.column_of], np.zeros(level.width)
        if refinement is None:
            return cls(single - single**2, none, 1 - equal, none)
        coarse = np.add.reduceat(single, refinement.starts)[refinement.parents]
        coarser_noise = 1 / refinement.sizes[refinement.parents] - equal
        return cls(single - single**2, single**2 / coarse - single**2, 1 - equal, coarser_noise)

    def without_coarser(self) -> Unexplained:
        """Return the factors where only margins are known."""
        none = np.zeros_like(self.noise_factor)
        return Unexplained(self.signal_factor, none, self.noise_factor, none)

    def signal(self, rows: Integers | None = None, columns: Integers | None = None) -> Floats:
        """Return g of every cell, shape (width, width), or of the cells of some tables, shape (tables, a, b).

        Args:
            rows: groups of the tables' first columns, shape (tables, a); None for all cells.
            columns: groups of their second columns, shape (tables, b); None for all cells.
        """
        return _difference(self.signal_factor, self.coarser_signal, rows, columns)

    def freedom(self, rows: Integers | None = None, columns: Integers | None = None) -> Floats:
        """Return f of every cell, or of the cells of some tables; arguments and shapes are those of `signal`."""
        return _difference(self.noise_factor, self.coarser_noise, rows, columns)


def _difference(whole: Floats, simpler: Floats, rows: Integers | None, columns: Integers | None) -> Floats:
    """Return w_i w_j - s_i s_j for w `whole` and s `simpler`, 0 where rounding makes it negative; see `signal`."""
    if rows is None or columns is None:
        return np.maximum(np.outer(whole, whole) - np.outer(simpler, simpler), 0.0)
    products = (factors[rows][:, :, None] * factors[columns][:, None, :] for factors in (whole, simpler))
    return np.asarray(np.maximum(next(products) - next(products), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class PairLevel:
    """All pairs at one resolution, as square matrices over the groups of all columns; shapes are (width, width).

    Attributes:
        proportions: Y; 0 where nothing was counted.
        variances: V; infinite where nothing was counted.
        independent: P.
        prior: tau, shape (columns, columns). P tau is the prior variance of a cell's deviation from independence; g tau
            is the part that neither margins nor the coarser resolution show.
        residual: r, from `pair_residuals`.
        unexplained: the factors of g and f.
    """

    proportions: Floats
    variances: Floats
    independent: Floats
    prior: Floats
    residual: Floats
    unexplained: Unexplained


def pair_residuals(independent: Floats, proportions: Floats, variances: Floats, coarser: Coarser | None) -> Floats:
    """Return r: what margins and the coarser resolution do not explain of Y; 0 where nothing was counted.

    Args:
        independent: P, shape (width, width).
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


def pair_prior(level: Resolution, residual: Floats, variances: Floats, unexplained: Unexplained) -> Floats:
    """Return tau of every pair at one resolution, shape (columns, columns), 0 within a column.

    tau is 0 for a pair whose signal would be less than `LEAST_KEPT` of its noise.

    Args:
        level: the resolution.
        residual: r, from `pair_residuals`, shape (width, width).
        variances: V, the same shape; infinite where nothing was counted.
        unexplained: the factors of g and f.
    """
    is_known = np.isfinite(variances)
    freedom = np.where(is_known, unexplained.freedom(), 0.0)
    degrees = level.column_sums(freedom)
    noise = level.column_sums(np.where(is_known, variances, 0.0) * freedom)
    signal = level.column_sums(np.where(is_known, unexplained.signal(), 0.0))
    is_finer = np.triu((degrees > LEAST_FREEDOM) & (signal > SMALLEST), 1)
    squares, noise, signal, degrees = (
        sums[is_finer] for sums in (level.column_sums(residual**2), noise, signal, degrees)
    )
    tau = mixture_priors(squares, noise, signal, degrees)
    tau[tau * signal < LEAST_KEPT * noise] = 0.0
    prior = np.zeros((level.columns, level.columns))
    prior[is_finer] = tau
    return prior + prior.T


def mixture_priors(squares: Floats, noise: Floats, signal: Floats, degrees: Floats) -> Floats:
    """Return tau of every table, from its own residuals and from the distribution of tau over all tables.

    A table's sum(r^2) is modeled as (tau sum(g) + sum(V f)) / k times a chi-squared variable with k = sum(f) degrees of
    freedom. The distribution of tau is the one on a grid that maximizes the likelihood of all tables (nonparametric
    maximum likelihood, Kiefer and Wolfowitz 1956), found by expectation maximization. In most data, a few pairs of
    columns depend strongly and many not at all; one normal distribution cannot describe both. With E the mean over a
    table's posterior of tau, t its values, G = sum(g) and N = sum(V f), the table gets

        tau = E[t / (t G + N)] / E[1 / (t G + N)],

    so that its shrinkage, tau G / (tau G + N), is the posterior mean of t G / (t G + N).

    Args:
        squares: sum(r^2) of every table, in squared proportions, shape (tables,).
        noise: sum(V f), in squared proportions, the same shape.
        signal: sum(g), positive, the same shape.
        degrees: sum(f), positive, the same shape.

    Returns:
        tau, shape (tables,); empty for no tables.
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


def posterior_mean(level: Resolution, pairs: PairLevel, coarser: tuple[Coarser, Floats] | None) -> Floats:
    """Return the expected proportions of all pairs at one resolution given their tables and priors.

        E = P + e + s r,    s = tau g / (tau g + V f),    at least `LEAST_RATIO` P

    e is the deviation from independence that the means of the next coarser resolution explain.

    Args:
        level: the resolution.
        pairs: the tables of all pairs at it, and their priors.
        coarser: how the next coarser resolution explains this one, and its means; None at the coarsest.

    Returns:
        E, shape (width, width).
    """
    independent, explained = pairs.independent, np.zeros_like(pairs.independent)
    if coarser is not None:
        link, means = coarser
        relative = means / np.maximum(link.refinement.merge(independent), SMALLEST) - 1
        explained = independent * link.slopes.spread(relative)
    signal = pairs.unexplained.signal() * level.spread_columns(pairs.prior)
    noise = np.where(np.isfinite(pairs.variances), pairs.variances, 1.0) * pairs.unexplained.freedom()
    shrinkage = signal / np.maximum(signal + noise, SMALLEST)
    return np.asarray(np.maximum(independent + explained + shrinkage * pairs.residual, LEAST_RATIO * independent))
