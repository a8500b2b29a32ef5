"""Gibbs chains: rows of codes that follow a log-linear model more closely with every sweep.

One sweep draws every column once given all others. The logits of column c are sums over rows of tables: a row's codes
pick one row each of theta[:, c], and its cells of two columns one row each of the triples' potentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.arrays import Floats
from common.synthesizers.maximum_entropy.potentials import Potentials, TriplePotential


@dataclass(frozen=True, slots=True, eq=False)
class ColumnTables:
    """What the logits of one column are summed from.

    Attributes:
        singles: u, shape (codes of the column,).
        pairs: theta, shape (codes of all columns, codes of the column).
        triples: phi of all triples that hold the column, one after the other, shape (cells, codes of the column).
        members: those triples, by their number.
        starts: first row of each of them in `triples`.
    """

    singles: Tensor
    pairs: Tensor
    triples: Tensor
    members: tuple[int, ...]
    starts: tuple[int, ...]


def column_tables(potentials: Potentials) -> list[ColumnTables]:
    """Return the tables of every column."""
    offsets = potentials.offsets.tolist()
    tables = []
    for column, (start, end) in enumerate(pairwise(offsets)):
        members = [number for number, triple in enumerate(potentials.triples) if column in triple.columns]
        blocks = [potentials.triples[number].by_cell(column) for number in members]
        starts = np.cumsum([0, *(len(block) for block in blocks)]).tolist()[:-1]
        triples = torch.cat(blocks) if blocks else torch.empty(0, end - start)
        pairs = potentials.pairs[:, start:end].contiguous()
        tables.append(ColumnTables(potentials.singles[start:end], pairs, triples, tuple(members), tuple(starts)))
    return tables


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Expected tables of one sweep: each draw is replaced by its conditional probabilities, which lowers the variance.

    Attributes:
        pairs: shape (codes, codes), symmetric.
        singles: shape (codes,).
        triples: one table for each triple potential.
    """

    pairs: Tensor
    singles: Tensor
    triples: tuple[Tensor, ...]


class Chains:
    """Rows of codes under a model.

    Args:
        potentials: potentials of the model; chains read their shapes, and values from the tables that each call gets.
        rows: codes, int64, shape (chains, columns).
        rng: of the draws.

    Attributes:
        positions: codes of all columns laid side by side, int64, shape (chains, columns).
    """

    def __init__(self, potentials: Potentials, rows: Tensor, rng: torch.Generator) -> None:
        self._triples, self._sizes, self._rng = potentials.triples, potentials.domain.sizes, rng
        self._offsets = torch.from_numpy(potentials.offsets[:-1])
        self.positions = rows + self._offsets
        self._groups: dict[tuple[int, int], Tensor] = {}
        for triple in self._triples:
            for column, groups_of_codes in zip(triple.columns, triple.maps, strict=True):
                if (column, triple.groups) not in self._groups:
                    self._groups[column, triple.groups] = groups_of_codes[rows[:, column]]
        self._maps = {
            (column, triple.groups): groups_of_codes
            for triple in self._triples
            for column, groups_of_codes in zip(triple.columns, triple.maps, strict=True)
        }

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def rows(self) -> Tensor:
        """Codes, int64, shape (chains, columns)."""
        return self.positions - self._offsets

    def set_column(self, column: int, codes: Tensor) -> None:
        """Give every chain a code in one column."""
        self.positions[:, column] = codes + self._offsets[column]
        for (other, groups), groups_of_codes in self._maps.items():
            if other == column:
                self._groups[other, groups] = groups_of_codes[codes]

    def cells(self, triple: TriplePotential, column: int) -> Tensor:
        """Return which cell of a triple's two other columns each chain is in."""
        first, second = triple.others(column)
        width = triple.values.shape[second]
        groups = [self._groups[triple.columns[axis], triple.groups] for axis in (first, second)]
        return torch.add(groups[1], groups[0], alpha=width)

    def probabilities(self, column: int, table: ColumnTables) -> Tensor:
        """Return the probability of every code of a column given each chain's other columns, (chains, codes)."""
        logits = F.embedding_bag(self.positions, table.pairs, mode="sum") + table.singles
        if table.members:
            cells = [
                self.cells(self._triples[number], column) + start
                for number, start in zip(table.members, table.starts, strict=True)
            ]
            logits += F.embedding_bag(torch.stack(cells, dim=1), table.triples, mode="sum")
        return logits.softmax(dim=1)

    def draw(self, probabilities: Tensor) -> Tensor:
        """Return one code for each row of probabilities."""
        cumulative = probabilities.cumsum(dim=1)
        points = torch.rand(len(probabilities), 1, generator=self._rng) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, points).squeeze(1).clamp_(max=probabilities.shape[1] - 1)

    def mix(self, sweeps: int, columns: Sequence[int], tables: Sequence[ColumnTables]) -> None:
        """Draw the given columns of all chains `sweeps` times; the other columns keep their codes."""
        for _ in range(sweeps):
            for column in columns:
                self.set_column(column, self.draw(self.probabilities(column, tables[column])))

    def sweep(self, tables: Sequence[ColumnTables]) -> Sweep:
        """Draw every column once, in random order, and return the expected tables on the way."""
        width = int(self._offsets[-1]) + self._sizes[-1]
        one_hot = torch.zeros(len(self), width).scatter_(1, self.positions, 1.0)
        pairs, singles = torch.zeros(width, width), torch.zeros(width)
        expected: dict[int, Tensor] = {}
        for column in torch.randperm(len(self._sizes), generator=self._rng).tolist():
            start = int(self._offsets[column])
            span = slice(start, start + self._sizes[column])
            probabilities = self.probabilities(column, tables[column])
            pairs[:, span] = one_hot.T @ probabilities
            singles[span] = probabilities.mean(0)
            for number in tables[column].members:
                if number not in expected:
                    expected[number] = self._expected(self._triples[number], column, probabilities)
            codes = self.draw(probabilities)
            self.set_column(column, codes)
            one_hot[:, span] = 0
            one_hot.scatter_(1, (codes + start)[:, None], 1.0)
        pairs /= len(self)
        return Sweep((pairs + pairs.T) / 2, singles, tuple(expected[number] for number in range(len(self._triples))))

    def _expected(self, triple: TriplePotential, column: int, probabilities: Tensor) -> Tensor:
        """Return a triple's expected table: cells of two columns as drawn, times the probabilities of the third."""
        axis, (first, second) = triple.columns.index(column), triple.others(column)
        shape = triple.values.shape
        by_code = torch.zeros(shape[first] * shape[second], probabilities.shape[1])
        by_code.index_add_(0, self.cells(triple, column), probabilities)
        table = torch.zeros(len(by_code), shape[axis]).index_add_(1, triple.maps[axis], by_code) / len(self)
        return table.reshape(shape[first], shape[second], shape[axis]).movedim(2, axis)


def independent_rows(singles: Floats, sizes: Sequence[int], chains: int, seed: int) -> Tensor:
    """Return rows whose columns are drawn independently, int64, shape (chains, columns).

    Args:
        singles: proportions of every code, all columns side by side.
        sizes: codes of each column.
        chains: number of rows.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    parts = np.split(singles, np.cumsum(sizes)[:-1])
    columns = [rng.choice(len(part), chains, p=part / part.sum()) for part in parts]
    return torch.from_numpy(np.stack(columns, axis=1))
