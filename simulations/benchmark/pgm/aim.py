"""AIM: an adaptive and iterative mechanism (McKenna, Mullins, Sheldon and Miklau 2022, arXiv 2201.12677)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Floats, Integers
from simulations.benchmark.pgm.estimation import Measurement, ModelFit, Stop, fit
from simulations.benchmark.pgm.junction_tree import Clique, cells, model_megabytes
from simulations.benchmark.pgm.model import count
from simulations.benchmark.pgm.spending import choice_epsilon, ranked

ROUNDS_PER_COLUMN = 16
"""Rounds planned per column at first; those that teach little are followed by larger ones."""

MEASURING = 0.9
"""Part of a round's budget that is spent on the marginal; the rest chooses it."""


@dataclass(frozen=True, slots=True)
class AimSettings:
    """What the paper leaves to its user.

    Attributes:
        max_triples: the workload is all triples of columns, or all pairs where there are more triples than this.
        max_cells: largest marginal of the workload.
        max_megabytes: largest model; a round may use as much of it as budget is spent.
        steps: largest number of steps of each round's fit.
        final_steps: of the last fit.
    """

    degree: int = 3
    max_triples: int = 1000
    max_cells: int = 10_000
    max_megabytes: float = 2.0
    steps: int = 60
    final_steps: int = 300


def aim(
    codes: Integers, sizes: Sequence[int], budget: float, rng: np.random.Generator, settings: AimSettings | None = None
) -> Integers:
    """Return as many synthetic rows of codes as there are real ones.

    Args:
        codes: real rows, shape (rows, columns).
        sizes: number of codes of each column, public.
        budget: M^2 of the Gaussian privacy that everything together may cost.
        rng: draws noise, choices and rows.
        settings: None takes those of the benchmark.
    """
    run = _Run(codes, tuple(sizes), budget, rng, settings or AimSettings())
    run.measure_columns()
    while not run.is_finished:
        run.measure_next()
    return run.fitted(run.settings.final_steps).model.sample(len(codes), rng)


@dataclass(slots=True, eq=False)
class _Run:
    """A run of AIM: what it measured and may still spend."""

    codes: Integers
    sizes: tuple[int, ...]
    budget: float
    rng: np.random.Generator
    settings: AimSettings
    is_finished: bool = False
    spent: float = 0.0
    measurements: list[Measurement] = field(default_factory=list)
    weights: dict[Clique, float] = field(init=False)
    counts: dict[Clique, Floats] = field(init=False)
    round_cost: float = field(init=False)
    current: ModelFit = field(init=False)

    def __post_init__(self) -> None:
        degree = 3 if math.comb(len(self.sizes), 3) <= self.settings.max_triples else 2
        self.weights = workload(self.sizes, degree, self.settings.max_cells)
        self.counts = {columns: count(self.codes, columns, self.sizes) for columns in self.weights}
        self.round_cost = self.budget / (ROUNDS_PER_COLUMN * len(self.sizes))

    def measure_columns(self) -> None:
        """Measure every column on its own."""
        for column in range(len(self.sizes)):
            self._measure((column,))
        self.current = self.fitted(self.settings.steps, is_first=True)

    def measure_next(self) -> None:
        """Choose the marginal that the model gets most wrong, measure it and fit the model again."""
        if self.budget - self.spent < 2 * self.round_cost:
            self.round_cost = self.budget - self.spent
            self.is_finished = True
        columns = self._chosen()
        before = self.current.model.marginal(columns)
        self._measure(columns)
        self.current = self.fitted(self.settings.steps)
        change = np.abs(self.current.model.marginal(columns) - before).sum()
        if change <= self._deviation * math.sqrt(2 / math.pi) * before.size:
            self.round_cost *= 4  # half the noise, twice the epsilon

    @property
    def _deviation(self) -> float:
        """Standard deviation of a round's noise."""
        return 1 / math.sqrt(MEASURING * self.round_cost)

    def _chosen(self) -> Clique:
        """Choose by the exponential mechanism among the candidates that leave the model small enough.

        The first of a noisy ranking that is small enough has the same distribution as a choice among those that are,
        and few sizes need to be computed.
        """
        price = (1 - MEASURING) * self.round_cost
        self.spent += price
        limit = self.settings.max_megabytes * (self.spent + MEASURING * self.round_cost) / self.budget
        bias = math.sqrt(2 / math.pi) * self._deviation
        scores = [
            weight
            * (
                np.abs(self.counts[columns] - self.current.model.marginal(columns)).sum()
                - bias * cells(self.sizes, columns)
            )
            for columns, weight in self.weights.items()
        ]
        sensitivity = max(self.weights.values())
        ranking = ranked(np.array(scores), sensitivity, choice_epsilon(math.sqrt(price)), self.rng)
        candidates = list(self.weights)
        return next(candidates[index] for index in ranking if self._is_small_enough(candidates[index], limit))

    def _is_small_enough(self, columns: Clique, limit: float) -> bool:
        """Return whether the model contains a marginal already, or stays within a limit in megabytes with it."""
        if self.current.model.tree.host(columns) is not None:
            return True
        measured = {measurement.columns for measurement in self.measurements}
        return model_megabytes(self.sizes, [*measured, columns]) <= limit

    def _measure(self, columns: Clique) -> None:
        exact = self.counts[columns]
        noisy = exact + self.rng.normal(0.0, self._deviation, exact.shape)
        self.measurements.append(Measurement(columns, noisy, self._deviation))
        self.spent += MEASURING * self.round_cost

    def fitted(self, steps: int, *, is_first: bool = False) -> ModelFit:
        """Fit all measurements, from where the last fit ended."""
        start = None if is_first else self.current.potentials
        return fit(self.sizes, self.measurements, len(self.codes), Stop(steps, 1e-3), start=start)


def workload(sizes: Sequence[int], degree: int, max_cells: int) -> dict[Clique, float]:
    """Return the candidates: all marginals within the workload's, each with the sum of the columns it shares with it.

        w_r = sum over the workload's marginals s of |r intersected with s|

    Args:
        sizes: number of codes of each column.
        degree: number of columns of the workload's marginals.
        max_cells: largest of them.
    """
    columns = range(len(sizes))
    wanted = [marginal for marginal in itertools.combinations(columns, degree) if cells(sizes, marginal) <= max_cells]
    per_column = np.zeros(len(sizes))
    for marginal in wanted:
        per_column[list(marginal)] += 1
    every: dict[Clique, float] = {(column,): float(per_column[column]) for column in columns}
    for marginal in wanted:
        for smaller in _subsets(marginal):
            every.setdefault(smaller, float(per_column[list(smaller)].sum()))
    return every


def _subsets(columns: Clique) -> Iterable[Clique]:
    return itertools.chain.from_iterable(
        itertools.combinations(columns, length) for length in range(2, len(columns) + 1)
    )
