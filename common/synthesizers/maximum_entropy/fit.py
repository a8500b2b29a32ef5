"""The fit of the log-linear model to noisy tables by stochastic Newton steps along persistent Gibbs chains.

At each step the chains are swept once, which estimates the model's tables M (persistent contrastive divergence,
Tieleman 2008). A potential theta of a table with noise variance V and prior variance tau / P (pairs; tau for sets of
three and four columns) maximizes the posterior where

    Y - M - ridge * theta = 0,     ridge = V / tau (pairs), V / (P tau) (sets),

and moves by rate * (Y - M - ridge * theta) / (max(P, M) + ridge): the diagonal of the Hessian is about M + ridge. What
a coarser resolution has potentials for, or fewer columns of a set explain, is taken out of the residual first, so that
every resolution has potentials only for what the coarser ones do not explain. After a first run, priors are widened
where the model misses tables (`PairTarget.widened`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from common.marginals.evidence import Evidence
from common.synthesizers.maximum_entropy.chains import Chains, Sweep, column_tables, independent_rows
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials, Potentials
from common.synthesizers.maximum_entropy.targets import ColumnSetTarget, PairTarget, limited

FIRST_RATE, LAST_RATE = 0.15, 0.05
"""Length of the steps, as a fraction of a Newton step, at the start and at the end of the fit. With 0.3 at the start,
columns that depend on many others overshoot from the first step on."""

SINGLES_FASTER = 3.0
"""Factor by which steps of single columns' potentials are longer: every change of a pair shifts single columns."""

AVERAGED_FROM, AVERAGED = 0.7, 60
"""Expected tables are the mean over the last steps: after this part of the fit, and at most this many."""

WIDENED_AFTER = 3
"""Priors of pairs are widened after this part of the steps, a third: wide ones need time, and to find them a model."""

WATCHED = 8
"""Steps between two looks at the residual's size."""

LEAST_DAMPING = 0.1
"""The steps are shortened no further once their factor is at or below this."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted model: its potentials, the chains' rows, and the tables that it expects, averaged over steps.

    Attributes:
        rows: codes, int64, shape (chains, columns).
        pairs: expected proportions, shape (codes, codes), symmetric.
        singles: expected proportions, shape (codes,).
    """

    potentials: Potentials
    rows: Tensor
    pairs: Tensor
    singles: Tensor


def fit_model(evidence: Evidence, *, chains: int, steps: int, seed: int) -> Fit:
    """Return the model that the evidence leads to; post-processing of released tables.

    Args:
        evidence: noisy tables and priors.
        chains: number of persistent Gibbs chains.
        steps: stochastic Newton steps, one sweep each.
        seed: seed of all draws.
    """
    fitter, rates = ModelFitter(evidence, chains, seed), step_rates(steps)
    fitter.add_sets(max(1, steps // 2))
    first = steps // WIDENED_AFTER
    if first:
        fitter.widen(fitter.run(rates[:first]))
    return fitter.run(rates[first:])


def step_rates(steps: int) -> list[float]:
    """Return the lengths of a fit's steps, as parts of a Newton step: ever shorter by the same factor."""
    rates: list[float] = np.geomspace(FIRST_RATE, LAST_RATE, steps).tolist()
    return rates


def averaged_steps(steps: int) -> int:
    """Return how many steps, the last of a run, are averaged."""
    return min(steps - math.ceil(min(AVERAGED_FROM * steps, steps - 1)), AVERAGED)


def fitted_levels(levels: Sequence[PairTarget]) -> Sequence[PairTarget]:
    """Return the resolutions, coarse to fine, up to the finest that has potentials: finer ones explain nothing."""
    last = max((index for index, level in enumerate(levels) if level.has_potential.any()), default=-1)
    return levels[: last + 1]


def step_of_singles(lacking: Tensor, wanted: Tensor, expected: Tensor, rate: float) -> Tensor:
    """Return by how much the potentials of single codes move.

    Args:
        lacking: wanted less expected proportions of the codes that move, 0 for others, shape (codes,).
        wanted: proportions that the noisy tables show, the same shape.
        expected: proportions of the model, the same shape.
        rate: length of the step of pairs, as a fraction of a Newton step.
    """
    return limited(SINGLES_FASTER * rate * lacking / (torch.maximum(wanted, expected) + 1e-4))


class Damping:
    """How much steps are shortened where they make things worse: strongly dependent columns overshoot."""

    def __init__(self) -> None:
        self.factor, self._least = 1.0, math.inf
        self._sizes: list[float] = []

    def watch(self, size: float) -> None:
        """Note the size of what was lacking at a step, and look at the mean of every `WATCHED` steps."""
        self._sizes.append(size)
        if len(self._sizes) < WATCHED:
            return
        mean = float(np.mean(self._sizes))
        self._least, self._sizes = min(self._least, mean), []
        if mean > 1.4 * self._least and self.factor > LEAST_DAMPING:
            self.factor *= 0.6

    def start_again(self) -> None:
        """Forget the sizes: from now on, more is part of them."""
        self._least, self._sizes = math.inf, []


class ModelFitter:
    """The state of a fit: chains, potentials and how much steps are damped."""

    def __init__(self, evidence: Evidence, chains: int, seed: int) -> None:
        self.evidence, self.domain = evidence, evidence.resolutions.domain
        self.rng = torch.Generator().manual_seed(seed)
        self.singles = torch.from_numpy(evidence.singles).float()
        self.single_potentials = self.singles.log()
        self.pairs = PairTarget.of_levels(evidence)
        self._levels = fitted_levels(self.pairs)
        self.sets: list[ColumnSetTarget] = []
        self.damping = Damping()
        rows = independent_rows(evidence.singles, self.domain.sizes, chains, seed)
        self.chains = Chains(self.potentials(), rows, self.rng)

    def potentials(self) -> Potentials:
        """Return the potentials as they are now; pairs are summed over resolutions."""
        width = len(self.single_potentials)
        pairs = torch.zeros(width, width)
        for level in self._levels:
            pairs += level.by_code()
        for start, end in pairwise(np.cumsum([0, *self.domain.sizes]).tolist()):
            pairs[start:end, start:end] = 0.0
        sets = tuple(
            ColumnSetPotentials(target.columns, target.groups, target.maps, target.values) for target in self.sets
        )
        return Potentials(self.domain, self.single_potentials, pairs, sets)

    def add_sets(self, steps: int) -> None:
        """Give every counted set of three or four columns potentials, if there are any, after these steps without."""
        if not self.evidence.sets:
            return
        self.run([FIRST_RATE] * steps)
        self.sets = [ColumnSetTarget.of(table, self.domain) for table in self.evidence.sets]
        self.chains = Chains(self.potentials(), self.chains.rows, self.rng)
        self.damping.start_again()  # what sets lack is part of the size from now on

    def restarted(self, evidence: Evidence, seed: int) -> ModelFitter:
        """Return a fitter to other sums of the same tables, which starts from these potentials and chains.

        Args:
            evidence: the other sums, with priors.
            seed: seed of all further draws.
        """
        other = copy.copy(self)
        other.evidence, other.rng = evidence, torch.Generator().manual_seed(seed)
        other.singles = torch.from_numpy(evidence.singles).float()
        other.single_potentials = self.single_potentials.clone()
        levels = zip(PairTarget.of_levels(evidence), self.pairs, strict=True)
        other.pairs = [replace(target, values=former.values.clone()) for target, former in levels]
        other._levels = fitted_levels(other.pairs)
        sets = zip(evidence.sets, self.sets, strict=True)
        other.sets = [
            replace(ColumnSetTarget.of(table, self.domain), values=former.values.clone()) for table, former in sets
        ]
        other.damping = copy.copy(self.damping)
        other.damping.start_again()
        other.chains = Chains(other.potentials(), self.chains.rows, other.rng)
        return other

    def widen(self, fit: Fit) -> None:
        """Widen the priors of pairs whose tables the model misses."""
        self.pairs = PairTarget.widened_levels(self.pairs, fit.pairs, self.evidence)
        self._levels = fitted_levels(self.pairs)
        self.damping.start_again()  # what the wider priors let move is part of the size from now on

    def run(self, rates: Sequence[float]) -> Fit:
        """Take a step of each rate, a part of a Newton step; return the model after the last."""
        averaged, width = averaged_steps(len(rates)), len(self.singles)
        pairs, singles = torch.zeros(width, width), torch.zeros(width)
        for step, rate in enumerate(rates):
            sweep = self.chains.sweep(column_tables(self.potentials()))
            self.damping.watch(self._step(sweep, self.damping.factor * rate))
            if step >= len(rates) - averaged:
                pairs += sweep.pairs
                singles += sweep.singles
        return Fit(self.potentials(), self.chains.rows, pairs.div_(averaged), singles.div_(averaged))

    def _step(self, sweep: Sweep, rate: float) -> float:
        """Move every potential; return the size of what was lacking."""
        lacking = self.singles - sweep.singles
        size = float(lacking.abs().sum())
        self.single_potentials += step_of_singles(lacking, self.singles, sweep.singles, rate)
        coarser: Tensor | None = None
        for level in self._levels:
            coarser, gradient = level.step(sweep.pairs, coarser, rate)
            size += gradient / len(self.domain.sizes)
        for target, table in zip(self.sets, sweep.sets, strict=True):
            size += target.step(table, rate) / len(self.domain.sizes)
        return size
