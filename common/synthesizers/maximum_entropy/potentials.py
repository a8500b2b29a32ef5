"""A log-linear model of codes.

    p(x) is proportional to exp( sum_c u_c(x_c) + sum_(a,b) theta_ab(x_a, x_b) + sum_t phi_t(g_t(x)) )

with u the potentials of single columns, theta those of pairs and phi those of triples, whose codes g_t merges to
groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import Integers
from common.marginals.queries import Domain


@dataclass(frozen=True, slots=True, eq=False)
class TriplePotential:
    """The potentials of one triple, and how codes are merged for it.

    Attributes:
        columns: indices of the columns, in increasing order.
        groups: upper bound on the groups of a column, as in `Domain.groups`.
        maps: group of each code of the three columns.
        values: phi, shape (groups, groups, groups).
    """

    columns: tuple[int, int, int]
    groups: int
    maps: tuple[Tensor, Tensor, Tensor]
    values: Tensor

    @classmethod
    def zeros(cls, columns: tuple[int, int, int], groups: int, domain: Domain) -> TriplePotential:
        """Return potentials of zero."""
        first, second, third = (torch.from_numpy(domain.groups(column, groups)) for column in columns)
        shape = [int(groups_of_codes.max()) + 1 for groups_of_codes in (first, second, third)]
        return cls(columns, groups, (first, second, third), torch.zeros(shape))

    def others(self, column: int) -> tuple[int, int]:
        """Return the axes of the two other columns."""
        first, second = (axis for axis in range(3) if self.columns[axis] != column)
        return first, second

    def by_cell(self, column: int) -> Tensor:
        """Return phi by the cell of the two other columns and the code of `column`, shape (cells, codes)."""
        axis = self.columns.index(column)
        values = self.values.movedim(axis, 2).reshape(-1, self.values.shape[axis])
        return values[:, self.maps[axis]]


@dataclass(frozen=True, slots=True, eq=False)
class Potentials:
    """All potentials of the model, float32.

    Attributes:
        domain: codes of every column.
        singles: u, shape (codes of all columns,).
        pairs: theta, symmetric, shape (codes, codes); zero within a column.
        triples: phi.
    """

    domain: Domain
    singles: Tensor
    pairs: Tensor
    triples: tuple[TriplePotential, ...]

    @property
    def offsets(self) -> Integers:
        """Index of each column's first code when all codes stand side by side, then the number of all codes."""
        return np.concatenate([[0], np.cumsum(self.domain.sizes)]).astype(np.int64)

    def span(self, column: int) -> slice:
        """Return the indices of a column's codes when all codes stand side by side."""
        offsets = self.offsets
        return slice(int(offsets[column]), int(offsets[column + 1]))
