"""The fit of the model of histories to noisy tables: as `common.synthesizers.maximum_entropy.fit`, for whole histories.

Two sets of noisy tables are met at once: those of single visits, each in its patient's weight, and those of steps from
a visit to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import Floats, Integers
from common.marginals.evidence import Evidence
from common.synthesizers.maximum_entropy.chains import independent_rows
from common.synthesizers.maximum_entropy.fit import (
    WIDENED_AFTER,
    Damping,
    averaged_steps,
    step_of_singles,
    step_rates,
)
from common.synthesizers.maximum_entropy.history_chains import (
    HistoryChains,
    HistoryPotentials,
    HistorySweep,
)
from common.synthesizers.maximum_entropy.history_columns import HistoryColumns
from common.synthesizers.maximum_entropy.targets import PairTarget

LEAST_MASS = 1e-9
"""Proportion. Stands for zero where a number is divided by it."""

TABLES = ("singles", "pairs", "steps")
"""What sweeps and potentials both have."""


@dataclass(frozen=True, slots=True, eq=False)
class HistoryFit:
    """A fitted model of histories.

    Attributes:
        potentials: of the model.
        rows: of the chains, int64, shape (visits, columns).
        visits: proportion of patients with each number of visits, from 1.
    """

    potentials: HistoryPotentials
    rows: Tensor
    visits: Floats


@dataclass(frozen=True, slots=True, eq=False)
class HistoryEvidence:
    """What the noisy tables say of single visits, and of steps from a visit to the next."""

    visits: Evidence
    steps: Evidence


def fit_histories(
    evidence: HistoryEvidence, columns: HistoryColumns, *, chains: int, steps: int, seed: int
) -> HistoryFit:
    """Return the model that the evidence leads to; post-processing of released tables.

    Args:
        evidence: noisy tables and priors.
        columns: what the columns are.
        chains: number of persistent Gibbs chains, a history each.
        steps: stochastic Newton steps, one sweep each.
        seed: seed of all draws.
    """
    fitter, rates = _HistoryFitter(evidence, columns, chains, seed), step_rates(steps)
    first = steps // WIDENED_AFTER
    if first:
        fitter.widen(fitter.run(rates[:first])[0])
    return HistoryFit(fitter.run(rates[first:])[1], fitter.chains.rows, visits_of(fitter.singles, columns))


@dataclass(frozen=True, slots=True, eq=False)
class StartingHistories:
    """Histories whose columns are independent.

    Attributes:
        rows: codes, int64, shape (visits, columns).
        weights: of each history, shape (histories,).
    """

    rows: Tensor
    weights: Tensor

    @classmethod
    def of(cls, singles: Tensor, columns: HistoryColumns, chains: int, seed: int) -> StartingHistories:
        """Return histories of which half have as many visits as patients do, and half as patients with several do.

        Most patients of some tables have one visit, and steps from visit to visit would be drawn from few chains.
        Weights make up for it: together, the histories of n visits weigh the noisy proportion of patients with n.

        Args:
            singles: proportions of every code, all columns side by side.
            columns: what the columns are.
            chains: number of histories.
            seed: seed of the draws.
        """
        proportions = visits_of(singles, columns)
        several = proportions * (np.arange(len(proportions)) > 0)
        mixed = (proportions + several / max(several.sum(), LEAST_MASS)) / 2
        counts = histories_of(proportions, mixed / mixed.sum(), chains)
        visits = np.random.default_rng(seed).permutation(np.repeat(np.arange(1, len(counts) + 1), counts))
        weights = proportions[visits - 1] / np.bincount(visits, minlength=len(proportions) + 1)[visits]
        patients = np.repeat(np.arange(chains), visits)
        rows = independent_rows(singles.double().numpy(), columns.domain.sizes, len(patients), seed)
        starts = np.concatenate([[0], np.cumsum(visits)[:-1]])
        rows[:, columns.of_patient] = rows[torch.from_numpy(starts[patients])][:, columns.of_patient]
        rows[:, columns.visits] = torch.from_numpy(visits[patients] - 1)
        rows[:, columns.visit] = torch.from_numpy(np.arange(len(patients)) - starts[patients])
        return cls(rows, torch.from_numpy(weights / weights.mean()).float())


def visits_of(singles: Tensor, columns: HistoryColumns) -> Floats:
    """Return the proportion of patients with each number of visits, from the proportions of every code."""
    proportions = singles[columns.span(columns.visits)].double().numpy().clip(min=0.0)
    return np.asarray(proportions / max(proportions.sum(), LEAST_MASS))


def spread(proportions: Floats, count: int) -> Integers:
    """Return that many numbers from 0 in increasing order, each about as often as its proportion says."""
    points = (np.arange(count) + 0.5) / count
    return np.minimum(np.searchsorted(np.cumsum(proportions), points), len(proportions) - 1)


def histories_of(proportions: Floats, wanted: Floats, count: int) -> Integers:
    """Return how many of `count` histories have each number of visits: one at least of every number that occurs.

    Args:
        proportions: of patients with each number of visits, from 1.
        wanted: proportions that the histories should have.
        count: number of histories, no fewer than there are numbers of visits.
    """
    counts = np.bincount(spread(wanted, count), minlength=len(proportions))
    lacking = (proportions > 0) & (counts == 0)
    counts += lacking
    for _ in range(int(lacking.sum())):
        counts[np.argmax(counts)] -= 1
    return counts


class _HistoryFitter:
    """The state of a fit: chains, potentials and how much steps are damped."""

    def __init__(self, evidence: HistoryEvidence, columns: HistoryColumns, chains: int, seed: int) -> None:
        self.evidence, self.columns = evidence, columns
        self.singles = torch.from_numpy(evidence.visits.singles).float()
        self.single_potentials = self.singles.log()
        self.pairs, self.steps = PairTarget.of_levels(evidence.visits), PairTarget.of_levels(evidence.steps)
        self.damping = Damping()
        start = StartingHistories.of(self.singles, columns, chains, seed)
        self.chains = HistoryChains(columns, start.rows, torch.Generator().manual_seed(seed), start.weights)
        sizes = torch.tensor(columns.domain.sizes)
        self._column_of = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        self._is_free = ~torch.isin(self._column_of, torch.tensor([columns.visits, columns.visit]))

    def potentials(self) -> HistoryPotentials:
        """Return the potentials as they are now, summed over resolutions."""
        pairs = torch.stack([level.by_code() for level in self.pairs]).sum(0)
        pairs = torch.where(self._column_of[:, None] == self._column_of[None, :], 0.0, pairs)
        codes = self.columns.step_offsets[-1]
        steps = torch.stack([level.by_code() for level in self.steps]).sum(0)[:codes, codes:]
        return HistoryPotentials(self.single_potentials, pairs, steps)

    def widen(self, sweep: HistorySweep) -> None:
        """Widen the priors of pairs whose tables the model misses."""
        self.pairs = PairTarget.widened_levels(self.pairs, sweep.pairs, self.evidence.visits)
        self.steps = PairTarget.widened_levels(self.steps, _both_ways(sweep.steps), self.evidence.steps)
        self.damping.start_again()

    def run(self, rates: Sequence[float]) -> tuple[HistorySweep, HistoryPotentials]:
        """Take a step of each rate, a part of a Newton step; return the means of the last sweeps and potentials.

        The chains follow the potentials slowly, which therefore swing around those that the tables ask for: their mean
        is nearer than the last ones.
        """
        averaged: list[tuple[HistorySweep, HistoryPotentials]] = []
        first = len(rates) - averaged_steps(len(rates))
        for step, rate in enumerate(rates):
            potentials = self.potentials()
            sweep = self.chains.sweep(potentials)
            self.damping.watch(self._step(sweep, self.damping.factor * rate))
            if step >= first:
                averaged.append((sweep, potentials))
        sweeps, former = zip(*averaged, strict=True)
        return (
            HistorySweep(*(_mean([getattr(sweep, name) for sweep in sweeps]) for name in TABLES)),
            HistoryPotentials(*(_mean([getattr(potentials, name) for potentials in former]) for name in TABLES)),
        )

    def _step(self, sweep: HistorySweep, rate: float) -> float:
        """Move every potential; return the size of what was lacking."""
        lacking = torch.where(self._is_free, self.singles - sweep.singles, 0.0)
        size = float(lacking.abs().sum())
        self.single_potentials = self.single_potentials + step_of_singles(lacking, self.singles, sweep.singles, rate)
        for levels, expected in ((self.pairs, sweep.pairs), (self.steps, _both_ways(sweep.steps))):
            coarser: Tensor | None = None
            for level in levels:
                coarser, gradient = level.step(expected, coarser, rate)
                size += gradient / len(self.columns.domain.sizes)
        return size


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).mean(0)


def _both_ways(steps: Tensor) -> Tensor:
    """Return a table of steps as a symmetric square over the codes of a visit and of the next one."""
    none = torch.zeros_like(steps)
    return torch.cat([torch.cat([none, steps], dim=1), torch.cat([steps.T, none], dim=1)])
