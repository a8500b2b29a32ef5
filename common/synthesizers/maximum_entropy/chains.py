"""Gibbs chains: rows of codes that follow a log-linear model more closely with every sweep.

One sweep draws every column once given all others. The logits of column c are sums over rows of tables: a row's codes
pick one row each of theta[:, c], and its cells of the other columns one row each of the sets' potentials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.arrays import Floats
from common.synthesizers.maximum_entropy.blocks import CodeHolders, ColumnBlock, cut_in_blocks
from common.synthesizers.maximum_entropy.potentials import ColumnSetPotentials, Potentials


@dataclass(frozen=True, eq=False)
class ColumnTables:
    """What the logits of one column are summed from.

    Attributes:
        singles: u, shape (codes of the column,).
        by_code: theta, shape (codes of the column, codes of all columns); of the potentials' own memory.
        sets: phi of all sets that hold the column, one after the other, shape (cells, codes of the column).
        members: those sets, by their number.
        starts: first row of each of them in `sets`.
    """

    singles: Tensor
    by_code: Tensor
    sets: Tensor
    members: tuple[int, ...]
    starts: tuple[int, ...]

    @cached_property
    def pairs(self) -> Tensor:
        """Theta, shape (codes of all columns, codes of the column)."""
        return self.by_code.T.contiguous()


def column_tables(potentials: Potentials) -> list[ColumnTables]:
    """Return the tables of every column."""
    offsets = potentials.offsets.tolist()
    tables = []
    for column, (start, end) in enumerate(pairwise(offsets)):
        members = [number for number, held in enumerate(potentials.sets) if column in held.columns]
        blocks = [potentials.sets[number].by_cell(column) for number in members]
        starts = np.cumsum([0, *(len(block) for block in blocks)]).tolist()[:-1]
        sets = torch.cat(blocks) if blocks else torch.empty(0, end - start)
        by_code = potentials.pairs[start:end]
        tables.append(ColumnTables(potentials.singles[start:end], by_code, sets, tuple(members), tuple(starts)))
    return tables


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Expected tables of one sweep: each draw is replaced by its conditional probabilities, which lowers the variance.

    Attributes:
        pairs: shape (codes, codes), symmetric.
        singles: shape (codes,).
        sets: one table for each potential of a set.
    """

    pairs: Tensor
    singles: Tensor
    sets: tuple[Tensor, ...]


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
        self._sets, self._sizes, self._rng = potentials.sets, potentials.domain.sizes, rng
        self._offsets = torch.from_numpy(potentials.offsets[:-1])
        self.positions = rows + self._offsets
        self._holders: CodeHolders | None = None
        self._groups: dict[tuple[int, int], Tensor] = {}
        self._maps = {
            (column, held.groups): groups_of_codes
            for held in self._sets
            for column, groups_of_codes in zip(held.columns, held.maps, strict=True)
        }
        for (column, groups), groups_of_codes in self._maps.items():
            self._groups[column, groups] = groups_of_codes[rows[:, column]]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def rows(self) -> Tensor:
        """Codes, int64, shape (chains, columns)."""
        return self.positions - self._offsets

    def set_column(self, column: int, codes: Tensor) -> None:
        """Give every chain a code in one column."""
        self._holders = None
        self.positions[:, column] = codes + self._offsets[column]
        for (other, groups), groups_of_codes in self._maps.items():
            if other == column:
                self._groups[other, groups] = groups_of_codes[codes]

    def cells(self, held: ColumnSetPotentials, column: int) -> Tensor:
        """Return which cell of a set's other columns each chain is in."""
        first, *others = held.others(column)
        cells = self._groups[held.columns[first], held.groups]
        for axis in others:
            groups = self._groups[held.columns[axis], held.groups]
            cells = torch.add(groups, cells, alpha=held.values.shape[axis])
        return cells

    def probabilities(self, column: int, table: ColumnTables, logits: Tensor | None = None) -> Tensor:
        """Return the probability of every code of a column given each chain's other columns, (chains, codes).

        Args:
            column: index of the column.
            table: its potentials.
            logits: what single codes and pairs add; taken from the table if not given.
        """
        return _softmax(self.logits(column, table, logits))

    def logits(self, column: int, table: ColumnTables, logits: Tensor | None = None) -> Tensor:
        """Return the logarithms of those probabilities, up to a number for each chain; arguments as above."""
        if logits is None:
            logits = F.embedding_bag(self.positions, table.pairs, mode="sum") + table.singles
        return self._with_sets(logits, table, column)

    def _with_sets(self, logits: Tensor, table: ColumnTables, column: int) -> Tensor:
        """Return a column's logits from what single codes and pairs add to them, and sets."""
        if not table.members:
            return logits
        cells = [
            self.cells(self._sets[number], column) + start
            for number, start in zip(table.members, table.starts, strict=True)
        ]
        return logits + F.embedding_bag(torch.stack(cells, dim=1), table.sets, mode="sum")

    def draw(self, probabilities: Tensor) -> Tensor:
        """Return one code for each row of probabilities."""
        return draw_codes(probabilities, self._rng)

    def mix(self, sweeps: int, columns: Sequence[int], tables: Sequence[ColumnTables]) -> None:
        """Draw some columns of all chains; the others keep their codes.

        Args:
            sweeps: how often each column is drawn.
            columns: indices of the columns to draw.
            tables: potentials of every column.
        """
        for _ in range(sweeps):
            for column in columns:
                self.set_column(column, self.draw(self.probabilities(column, tables[column])))

    def sweep(self, tables: Sequence[ColumnTables]) -> Sweep:
        """Draw every column once, in random order, and return the expected tables on the way."""
        width = int(self._offsets[-1]) + self._sizes[-1]
        holders = self._holders or CodeHolders(self.rows, self._offsets.tolist(), width)
        pairs, singles = torch.empty(width, width), torch.empty(width)
        expected: dict[int, Tensor] = {}
        order = torch.randperm(len(self._sizes), generator=self._rng).tolist()
        for columns in cut_in_blocks(order, self._sizes):
            block = ColumnBlock(self.positions, columns, self._spans(columns), [tables[c].by_code for c in columns])
            for index, column in enumerate(columns):
                table = tables[column]
                by_chain = self._with_sets(block.logits(index).T + table.singles, table, column)
                probabilities = by_chain.T.softmax(dim=0)
                for number in table.members:
                    if number not in expected:
                        expected[number] = self._expected(self._sets[number], column, probabilities)
                codes = _draw_by_code(probabilities, self._rng)
                self.set_column(column, codes)
                block.set_column(index, probabilities, codes)
            sums, means = block.sums(holders).T.contiguous(), block.probabilities.mean(1)
            for column, span, local in zip(columns, self._spans(columns), block.local, strict=True):
                pairs[span] = sums[local]
                singles[span] = means[local]
                holders.set_column(column, self.positions[:, column] - span.start, self._sizes[column])
        self._holders = holders
        both_ways = (pairs + pairs.T).div_(2 * len(self))
        return Sweep(both_ways, singles, tuple(expected[number] for number in range(len(self._sets))))

    def _spans(self, columns: Sequence[int]) -> list[slice]:
        """Return where the columns' codes are when all codes stand side by side."""
        starts = self._offsets[torch.tensor(columns)].tolist()
        return [slice(start, start + self._sizes[column]) for start, column in zip(starts, columns, strict=True)]

    def _expected(self, held: ColumnSetPotentials, column: int, probabilities: Tensor) -> Tensor:
        """Return a set's expected table: cells of the other columns as drawn, times the probabilities of the last."""
        axis, shape = held.columns.index(column), held.values.shape
        others = [shape[other] for other in held.others(column)]
        by_code = torch.zeros(len(probabilities), math.prod(others))
        by_code.index_add_(1, self.cells(held, column), probabilities)
        table = torch.zeros(shape[axis], by_code.shape[1]).index_add_(0, held.maps[axis], by_code) / len(self)
        return table.reshape(shape[axis], *others).movedim(0, axis)


def draw_codes(probabilities: Tensor, rng: torch.Generator) -> Tensor:
    """Return one code for each row of probabilities."""
    cumulative = probabilities.cumsum(dim=1)
    points = torch.rand(len(probabilities), 1, generator=rng) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points).squeeze(1).clamp_(max=probabilities.shape[1] - 1)


def _draw_by_code(probabilities: Tensor, rng: torch.Generator) -> Tensor:
    """Return one code for each column of probabilities, (codes, chains): the same as `draw_codes` of their rows."""
    cumulative = probabilities.cumsum(dim=0)
    points = torch.rand(probabilities.shape[1], generator=rng) * cumulative[-1]
    return (cumulative < points).sum(0).clamp_(max=len(probabilities) - 1)


def _softmax(logits: Tensor) -> Tensor:
    """Return probabilities of the codes, (chains, codes).

    Along the first axis: along the second, which is short, torch takes twenty times as long.
    """
    return logits.T.contiguous().softmax(dim=0).T.contiguous()


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
