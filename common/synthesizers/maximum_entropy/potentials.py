"""A log-linear model of codes.

    p(x) is proportional to exp( sum_c u_c(x_c) + sum_(a,b) theta_ab(x_a, x_b) + sum_s phi_s(g_s(x)) )

with u the potentials of single columns, theta those of pairs and phi those of sets of three or four columns, whose
codes g_s merges to groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers
from common.marginals.queries import WIDE, Domain
from common.marginals.resolutions import sum_runs


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSetPotentials:
    """The potentials of one set of three or four columns, and how codes are merged for it.

    Attributes:
        columns: indices of the columns, in increasing order.
        groups: upper bound on the groups of a column, as in `Domain.groups`.
        maps: group of each code, by column.
        values: phi, one axis of groups for each column.
    """

    columns: tuple[int, ...]
    groups: int
    maps: tuple[Tensor, ...]
    values: Tensor

    @classmethod
    def zeros(cls, columns: tuple[int, ...], groups: int, domain: Domain) -> ColumnSetPotentials:
        """Return potentials of zero."""
        maps = tuple(torch.from_numpy(domain.groups(column, groups)) for column in columns)
        return cls(columns, groups, maps, torch.zeros([int(groups_of_codes.max()) + 1 for groups_of_codes in maps]))

    def others(self, column: int) -> tuple[int, ...]:
        """Return the axes of the other columns."""
        return tuple(axis for axis, other in enumerate(self.columns) if other != column)

    def by_cell(self, column: int) -> Tensor:
        """Return phi by the cell of the other columns and the code of `column`, shape (cells, codes)."""
        axis = self.columns.index(column)
        values = self.values.movedim(axis, -1).reshape(-1, self.values.shape[axis])
        return values[:, self.maps[axis]]


@dataclass(frozen=True, eq=False)
class Potentials:
    """All potentials of the model, float32.

    Attributes:
        domain: codes of every column.
        singles: u, shape (codes of all columns,).
        pairs: theta, symmetric, shape (codes, codes); zero within a column.
        sets: phi.
    """

    domain: Domain
    singles: Tensor
    pairs: Tensor
    sets: tuple[ColumnSetPotentials, ...]

    @property
    def offsets(self) -> Integers:
        """Index of each column's first code when all codes stand side by side, then the number of all codes."""
        return np.concatenate([[0], np.cumsum(self.domain.sizes)]).astype(np.int64)

    def span(self, column: int) -> slice:
        """Return the indices of a column's codes when all codes stand side by side."""
        offsets = self.offsets
        return slice(int(offsets[column]), int(offsets[column + 1]))

    @cached_property
    def has_few_pairs(self) -> bool:
        """Whether a wide table has potentials of fewer pairs than columns, and of no sets.

        For such a table, rows are not drawn again with weights towards the expected tables (`rows.draw_rows`): most
        pairs have no potential, and the weights of their tables made rows worse.
        """
        potentials = sum_runs((self.pairs != 0).double().numpy(), self.offsets[:-1])
        return are_few(int(np.count_nonzero(np.triu(potentials, 1))), len(self.sets), self.domain)


def are_few(pairs: int, sets: int, domain: Domain) -> bool:
    """Return whether a table is wide, and has fewer pairs than columns and no sets of three or four."""
    columns = len(domain.sizes)
    return columns > WIDE and pairs < columns and not sets
