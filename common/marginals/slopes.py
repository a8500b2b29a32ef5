"""Values of groups to values of their parts: linear within each group of an ordered column.

A relation between two ordered columns rarely jumps at the border of a group. With t in (-1/2, 1/2) the position of
the middle of a part within the mass of its group i,

    value(part) = value_i + t (value_(i+1) - value_(i-1)) / 2.

At both ends and beside rare groups, whose values are mostly noise, the difference is one-sided. The mean over a group,
by mass, is its value. In columns without order, and for missing, values are constant within a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.marginals.queries import Domain
from common.marginals.resolutions import Resolution

FEWEST_GROUPS = 3
"""Groups, missing not counted. A column of fewer has no slope that its ends do not dominate."""

LEAST_RELATIVE_MASS = 0.25
"""Mass of a group relative to the mean mass of its column's groups. A group with less mass is rare: its value is mostly
noise, and used for no slope of another group."""


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """How values of groups become values of parts, all columns side by side; shapes are (parts,).

    Attributes:
        positions: group of each part.
        above: the next group, or the group itself.
        below: the group before, or the group itself.
        weights: t over the number of groups from `below` to `above`; 0 where values are constant.
    """

    positions: Integers
    above: Integers
    below: Integers
    weights: Floats

    @classmethod
    def of_codes(cls, resolution: Resolution, singles: Floats, domain: Domain) -> Slopes:
        """Return the slopes from groups to codes.

        Args:
            resolution: the groups.
            singles: proportions of the codes of all columns, one column after the other, shape (codes,).
            domain: which columns are ordered, and which have a code for missing.
        """
        positions = resolution.positions
        mass = resolution.merge(singles)
        ends = np.cumsum(singles)
        starts = (np.cumsum(mass) - mass)[positions]  # codes of a group are neighbors, and groups in order
        middles = (ends - singles / 2 - starts) / mass[positions] - 0.5
        first = resolution.offsets[:-1][resolution.column_of]
        last = resolution.offsets[1:][resolution.column_of] - 1
        is_ordered = np.array(domain.is_ordered or (False,) * len(domain.sizes))
        has_missing = np.array(domain.has_missing)
        last = last - has_missing[resolution.column_of]
        groups = np.arange(resolution.width)
        is_sloped = is_ordered[resolution.column_of] & (last - first + 1 >= FEWEST_GROUPS) & (groups <= last)
        is_rare = mass < LEAST_RELATIVE_MASS / resolution.sizes[resolution.column_of]
        above, below = np.minimum(groups + 1, last), np.maximum(groups - 1, first)
        above = np.where(is_sloped & ~is_rare[above], above, groups)[positions]
        below = np.where(is_sloped & ~is_rare[below], below, groups)[positions]
        is_part = np.bincount(positions)[positions] > 1  # a group of one code is that code: t is 0, without rounding
        weights = np.where(is_part & (above > below), middles / np.maximum(above - below, 1), 0.0)
        return cls(positions, above, below, weights)

    def to_groups(self, finer: Resolution, singles: Floats) -> Slopes:
        """Return the slopes to groups of a finer resolution, each with the mean of its codes."""
        first = np.searchsorted(finer.positions, np.arange(finer.width))
        means = finer.merge(self.weights * singles) / finer.merge(singles)
        return Slopes(self.positions[first], self.above[first], self.below[first], means)

    def of_column(self, parts: slice, first: int) -> Slopes:
        """Return the slopes of one column alone.

        Args:
            parts: of the column.
            first: group of the column that becomes the first.
        """
        groups = (self.positions[parts] - first, self.above[parts] - first, self.below[parts] - first)
        return Slopes(*groups, self.weights[parts])

    def differences(self, values: Floats) -> Floats:
        """Return by how much values change from a group to the next, at every part; 0 where there is no order.

        Args:
            values: of groups, along the first axis.
        """
        groups = np.maximum(self.above - self.below, 1).reshape(-1, *(1,) * (values.ndim - 1))
        return np.asarray((values[self.above] - values[self.below]) / groups)

    def spread(self, square: Floats) -> Floats:
        """Return values for pairs of parts, shape (parts, parts), from values for pairs of groups, (groups, groups)."""
        rows = square[self.positions] + self.weights[:, None] * (square[self.above] - square[self.below])
        steps = rows[:, self.above] - rows[:, self.below]
        return np.asarray(rows[:, self.positions] + self.weights * steps)
