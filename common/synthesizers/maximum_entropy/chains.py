"""A log-linear model of codes, and the Gibbs chains that draw from it.

    p(x) is proportional to exp( sum_c u_c(x_c) + sum_(a,b) sum_l theta_l,ab(g_l(x_a), g_l(x_b)) + sum_t phi_t(g_t(x)) )

with u the potentials of single columns, theta_l those of pairs at resolution l (g_l merges codes to groups) and phi
those of triples. One sweep draws every column once given all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.arrays import Integers
from common.marginals.resolutions import Resolution, Resolutions


@dataclass(slots=True, eq=False)
class TriplePotential:
    """The potentials of one triple, and how codes are merged for it.

    Attributes:
        columns: indices of the columns, in increasing order.
        maps: group of each code of the three columns.
        values: phi, shape (groups, groups, groups).
    """

    columns: tuple[int, int, int]
    maps: tuple[Tensor, Tensor, Tensor]
    values: Tensor

    @classmethod
    def zeros(cls, columns: tuple[int, int, int], resolution: Resolution) -> TriplePotential:
        """Return potentials of zero."""
        first, second, third = (torch.from_numpy(resolution.maps[column]) for column in columns)
        shape = tuple(resolution.size(column) for column in columns)
        return cls(columns, (first, second, third), torch.zeros(shape))

    def cells(self, column: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cell of the two other columns that each row is in, and phi with `column` as its last axis.

        Returns:
            Cells of shape (rows,), and potentials of shape (cells, groups of `column`).
        """
        axis = self.columns.index(column)
        values = self.values.movedim(axis, 2)
        first, second = (other for other in range(3) if other != axis)
        groups = [self.maps[other][rows[:, self.columns[other]]] for other in (first, second)]
        return groups[0] * values.shape[1] + groups[1], values.reshape(-1, values.shape[2])

    def axis_map(self, column: int) -> Tensor:
        """Return the group of each code of a column."""
        return self.maps[self.columns.index(column)]


@dataclass(slots=True, eq=False)
class Potentials:
    """All potentials of the model.

    Attributes:
        sizes: number of codes of each column.
        singles: u, shape (codes of all columns,).
        pairs: theta at each resolution, symmetric, shape (groups of all columns, the same).
        triples: phi.
    """

    resolutions: Resolutions
    singles: Tensor
    pairs: list[Tensor]
    triples: list[TriplePotential]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the number of codes of each column."""
        return self.resolutions.domain.sizes

    @property
    def offsets(self) -> Integers:
        """Index of each column's first code when all codes stand side by side, then the number of all codes."""
        return self.resolutions.levels[-1].offsets

    def span(self, column: int) -> slice:
        """Return the indices of a column's codes when all codes stand side by side."""
        return self.resolutions.levels[-1].span(column)

    def pair_sum(self) -> Tensor:
        """Return the sum of theta over resolutions, shape (codes, codes); zero within a column."""
        total = torch.zeros(int(self.offsets[-1]), int(self.offsets[-1]))
        for level, theta in zip(self.resolutions.levels, self.pairs, strict=True):
            positions = torch.from_numpy(level.positions)
            total += theta[positions][:, positions]
        for column in range(len(self.sizes)):
            total[self.span(column), self.span(column)] = 0.0
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Expected tables of one sweep: each draw is replaced by its conditional probabilities, which lowers the variance.

    Attributes:
        pairs: symmetric matrix over pairs of codes, shape (codes, codes).
        singles: one value per code, shape (codes,).
        triples: one table for each triple potential.
    """

    pairs: Tensor
    singles: Tensor
    triples: tuple[Tensor, ...]


class Chains:
    """Rows of codes that follow the model more closely with every sweep.

    Args:
        potentials: potentials of the model; they may change between sweeps.
        rows: codes, int64, shape (chains, columns).
        seed: seed of the draws.
    """

    def __init__(self, potentials: Potentials, rows: Tensor, seed: int) -> None:
        self.potentials, self.rows = potentials, rows
        self.rng = torch.Generator().manual_seed(seed)
        self._offsets = torch.from_numpy(potentials.offsets[:-1].astype(np.int64))

    @classmethod
    def independent(cls, potentials: Potentials, singles: Sequence[float], chains: int, seed: int) -> Chains:
        """Return chains whose columns are drawn independently.

        Args:
            potentials: potentials of the model.
            singles: proportions of every code, all columns side by side.
            chains: number of rows.
            seed: seed of these draws and of all that follow.
        """
        rng = np.random.default_rng(seed)
        proportions = np.asarray(singles)
        columns = [
            rng.choice(size, chains, p=proportions[potentials.span(column)])
            for column, size in enumerate(potentials.sizes)
        ]
        return cls(potentials, torch.from_numpy(np.stack(columns, axis=1)), seed)

    def conditional(self, column: int, pair_sum: Tensor, rows: Tensor, extra: Tensor | None = None) -> Tensor:
        """Return the probability of every code of a column given each row's other columns.

        Args:
            column: position of the column.
            pair_sum: result of `Potentials.pair_sum`.
            rows: codes, int64, shape (rows, columns).
            extra: added to the logits, shape (codes of the column,) or (rows, codes of the column).

        Returns:
            Probabilities of shape (rows, codes of the column).
        """
        span = self.potentials.span(column)
        positions = rows + self._offsets
        others = torch.cat([positions[:, :column], positions[:, column + 1 :]], dim=1)
        logits = F.embedding_bag(others, pair_sum[:, span].contiguous(), mode="sum") + self.potentials.singles[span]
        merged: dict[int, tuple[Tensor, Tensor]] = {}
        for triple in self.potentials.triples:
            if column in triple.columns:
                cells, values = triple.cells(column, rows)
                groups = triple.axis_map(column)
                _, total = merged.get(len(values[0]), (groups, torch.zeros(())))
                merged[len(values[0])] = groups, total + values[cells]
        for groups, total in merged.values():
            logits = logits + total[:, groups]
        if extra is not None:
            logits = logits + extra
        return logits.softmax(dim=1)

    def draw(self, probabilities: Tensor) -> Tensor:
        """Return one code for each row of probabilities."""
        cumulative = probabilities.cumsum(dim=1)
        points = torch.rand(len(probabilities), 1, generator=self.rng) * cumulative[:, -1:]
        return (cumulative < points).sum(dim=1).clamp_(max=probabilities.shape[1] - 1)

    def mix(self, sweeps: int, columns: Sequence[int]) -> None:
        """Draw the given columns of all rows `sweeps` times; the other columns keep their codes."""
        pair_sum = self.potentials.pair_sum()
        for _ in range(sweeps):
            for column in columns:
                self.rows[:, column] = self.draw(self.conditional(column, pair_sum, self.rows))

    def sweep(self) -> Sweep:
        """Draw every column once, in random order, and return the expected tables on the way."""
        potentials, rows, width = self.potentials, self.rows, int(self.potentials.offsets[-1])
        pair_sum = potentials.pair_sum()
        one_hot = torch.zeros(len(rows), width).scatter_(1, rows + self._offsets, 1.0)
        pairs, singles = torch.zeros(width, width), torch.zeros(width)
        triples: list[Tensor | None] = [None] * len(potentials.triples)
        for column in torch.randperm(len(potentials.sizes), generator=self.rng).tolist():
            span = potentials.span(column)
            probabilities = self.conditional(column, pair_sum, rows)
            pairs[:, span] = one_hot.T @ probabilities / len(rows)
            singles[span] = probabilities.mean(0)
            for number, triple in enumerate(potentials.triples):
                if column in triple.columns and triples[number] is None:
                    triples[number] = _expected(triple, column, rows, probabilities)
            codes = self.draw(probabilities)
            rows[:, column] = codes
            one_hot[:, span] = 0
            one_hot.scatter_(1, (codes + span.start)[:, None], 1.0)
        return Sweep((pairs + pairs.T) / 2, singles, tuple(table for table in triples if table is not None))


def _expected(triple: TriplePotential, column: int, rows: Tensor, probabilities: Tensor) -> Tensor:
    """Return a triple's expected table: cells of two columns as drawn, times the probabilities of the third."""
    cells, values = triple.cells(column, rows)
    grouped = torch.zeros(len(rows), values.shape[1]).index_add_(1, triple.axis_map(column), probabilities)
    table = torch.zeros(values.shape).index_add_(0, cells, grouped) / len(rows)
    axis = triple.columns.index(column)
    shape = [size for other, size in enumerate(triple.values.shape) if other != axis]
    return table.reshape(*shape, values.shape[1]).movedim(2, axis)
