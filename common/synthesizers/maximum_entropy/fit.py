"""The fit of the log-linear model to noisy tables by stochastic Newton steps along persistent Gibbs chains.

At each step the chains are swept once, which estimates the model's tables M (persistent contrastive divergence,
Tieleman 2008). A potential theta of a table with noise variance V and prior variance tau maximizes the posterior where

    Y - M - ridge * theta = 0,     ridge = V / (P tau),

and moves by rate * (Y - M - ridge * theta) / (max(P, M) + ridge): the diagonal of the Hessian is about M + ridge. What
a coarser resolution, or the pairs within a triple, explain is taken out of the residual first, so that every resolution
has potentials only for what the coarser ones do not explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.arrays import Floats
from common.marginals.evidence import Evidence, PairLevel
from common.marginals.resolutions import Refinement, Resolution
from common.synthesizers.maximum_entropy.chains import Chains, Potentials, Sweep, TriplePotential

FIRST_RATE, LAST_RATE = 0.3, 0.03
"""Length of the steps, as a part of a Newton step, at the start and at the end of the fit."""

LONGEST_STEP = 0.3
"""No potential moves further in one step: a cell that the chains rarely visit has a noisy estimate."""

AVERAGED_FROM, AVERAGED = 0.7, 60
"""Expected tables are the mean over the last steps: after this part of the fit, and at most this many."""

WATCHED = 8
"""Steps between two looks at the residual's size."""

LEAST_DAMPING = 0.1
"""The steps are shortened no further once their factor is at or below this."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted model: its potentials, the chains' rows, and the tables that it expects, averaged over steps.

    Attributes:
        pairs: symmetric matrix over pairs of codes, shape (codes, codes).
        singles: one value per code, shape (codes,).
    """

    potentials: Potentials
    rows: Tensor
    pairs: Tensor
    singles: Tensor


NO_INTERACTION = 1e-6
"""Squared relative deviation from independence below which a pair has no potential at a resolution."""


@dataclass(slots=True, eq=False)
class _Level:
    """One resolution's evidence and maps as tensors.

    Attributes:
        membership: which group each code is in, 0 or 1, shape (codes, groups).
        within: which coarser group each group is in, 0 or 1, shape (groups, coarser groups); None for the coarsest.
        coarse: independence at the next coarser resolution.
        ridge: noise variance over prior variance, the weight of the prior; 0 where there is no potential.
        has_potential: where the noisy tables show an interaction that coarser resolutions do not explain.
    """

    membership: Tensor
    within: Tensor | None
    proportions: Tensor
    independent: Tensor
    coarse: Tensor
    ridge: Tensor
    has_potential: Tensor

    @classmethod
    def of(cls, resolution: Resolution, pairs: PairLevel, refinement: Refinement | None) -> _Level:
        """Return one resolution's evidence; `refinement` is from the next coarser one."""
        prior = resolution.spread_columns(pairs.prior)
        has_potential = np.isfinite(pairs.variances) & (prior > NO_INTERACTION)
        safe = np.maximum(pairs.independent, 1e-9)
        noise = np.where(has_potential, pairs.variances, 0.0)
        ridge = noise / (safe * np.where(has_potential, prior, 1.0))
        coarse = pairs.independent if refinement is None else refinement.merge(pairs.independent)
        return cls(
            F.one_hot(torch.from_numpy(resolution.positions)).float(),
            None if refinement is None else F.one_hot(torch.from_numpy(refinement.parents)).float(),
            *map(_tensor, (pairs.proportions, safe, coarse, ridge, has_potential)),
        )


@dataclass(slots=True, eq=False)
class _Triple:
    """One triple's evidence as tensors, and its potentials."""

    potential: TriplePotential
    proportions: Tensor
    independent: Tensor
    ridge: Tensor
    centered: tuple[int, ...]

    def residual(self, expected: Tensor) -> Tensor:
        """Return what the noisy table has and the model lacks of the interaction of all three columns."""
        residual = self.proportions - expected
        for axis in self.centered:
            residual = residual - residual.mean(axis, keepdim=True)
        for axis in range(3):
            margin = self.independent.sum(axis, keepdim=True)
            residual = residual - self.independent * (residual.sum(axis, keepdim=True) / margin)
        return residual


def fit_model(evidence: Evidence, *, chains: int, steps: int, seed: int) -> Fit:
    """Return the model that the evidence leads to; post-processing of released tables.

    Args:
        evidence: noisy tables and priors.
        chains: number of persistent Gibbs chains.
        steps: stochastic Newton steps, one sweep each.
        seed: seed of all draws.
    """
    resolutions = evidence.resolutions
    singles = torch.from_numpy(np.log(evidence.singles)).float()
    pairs = [torch.zeros(level.width, level.width) for level in resolutions.levels]
    potentials = Potentials(resolutions, singles, pairs, [])
    fitter = _Fitter(evidence, Chains.independent(potentials, list(evidence.singles), chains, seed))
    if evidence.triples:
        fitter.run(max(1, steps // 2), FIRST_RATE, FIRST_RATE)
        fitter.add_triples()
    return fitter.run(steps, FIRST_RATE, LAST_RATE)


class _Fitter:
    """The state of a fit: chains, potentials and how much steps are damped."""

    def __init__(self, evidence: Evidence, chains: Chains) -> None:
        self.evidence, self.chains, self.potentials = evidence, chains, chains.potentials
        self.singles = torch.from_numpy(evidence.singles).float()
        self.damping, self.least = 1.0, math.inf
        self.triples: list[_Triple] = []
        self.levels: list[_Level] = []
        resolutions = evidence.resolutions
        refinements = (None, *resolutions.refinements)
        for resolution, pairs, refinement in zip(resolutions.levels, evidence.pairs, refinements, strict=True):
            self.levels.append(_Level.of(resolution, pairs, refinement))

    def add_triples(self) -> None:
        """Give every counted triple potentials."""
        for table in self.evidence.triples:
            potential = TriplePotential.zeros(table.columns, table.resolution)
            ridge = table.deviation**2 / np.maximum(table.independent * table.prior, 1e-12)
            triple = _Triple(
                potential, _tensor(table.proportions), _tensor(table.independent), _tensor(ridge), table.centered
            )
            self.potentials.triples.append(potential)
            self.triples.append(triple)

    def run(self, steps: int, first_rate: float, last_rate: float) -> Fit:
        """Take steps whose rate falls geometrically; return the model after the last."""
        averaged: list[Sweep] = []
        sizes: list[float] = []
        for step in range(steps):
            sweep = self.chains.sweep()
            rate = self.damping * first_rate * (last_rate / first_rate) ** (step / max(1, steps - 1))
            sizes.append(self._step(sweep, rate))
            if len(sizes) == WATCHED:
                self._damp(float(np.mean(sizes)))
                sizes = []
            if step >= min(AVERAGED_FROM * steps, steps - 1):
                averaged = [*averaged, sweep][-AVERAGED:]
        pairs = torch.stack([sweep.pairs for sweep in averaged]).mean(0)
        singles = torch.stack([sweep.singles for sweep in averaged]).mean(0)
        return Fit(self.potentials, self.chains.rows, pairs, singles)

    def _step(self, sweep: Sweep, rate: float) -> float:
        """Move every potential; return the size of what was lacking."""
        lacking = self.singles - sweep.singles
        size = float(lacking.abs().sum())
        self.potentials.singles += _limited(rate * lacking / (torch.maximum(self.singles, sweep.singles) + 1e-4))
        coarse_residual: Tensor | None = None
        for level, theta in zip(self.levels, self.potentials.pairs, strict=True):
            expected = level.membership.T @ sweep.pairs @ level.membership
            residual = level.proportions - expected
            own = residual
            if level.within is not None and coarse_residual is not None:
                own = residual - level.independent * (level.within @ (coarse_residual / level.coarse) @ level.within.T)
            gradient = level.has_potential * (own - level.ridge * theta)
            theta += _limited(rate * gradient / (torch.maximum(level.independent, expected) + level.ridge))
            size += float(gradient.abs().sum()) / len(self.potentials.sizes)
            coarse_residual = residual
        for triple, table in zip(self.triples, sweep.triples, strict=True):
            gradient = triple.residual(table) - triple.ridge * triple.potential.values
            scale = torch.maximum(triple.independent, table) + triple.ridge
            triple.potential.values += _limited(rate * gradient / scale)
        return size

    def _damp(self, size: float) -> None:
        """Shorten the steps where they make things worse: columns that depend strongly on each other overshoot."""
        self.least = min(self.least, size)
        if size > 1.4 * self.least and self.damping > LEAST_DAMPING:
            self.damping *= 0.6


def _limited(step: Tensor) -> Tensor:
    return step.clamp(-LONGEST_STEP, LONGEST_STEP)


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))
