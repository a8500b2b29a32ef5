"""The codes of all columns side by side, at every resolution that tables were counted at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Floats, Integers
from common.marginals.queries import FULL, Domain


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """Codes of every column merged to at most `groups` groups (`FULL`: not merged).

    Attributes:
        maps: group of each code, by column.
        offsets: where each column's groups begin when all are laid side by side, then the number of all groups.
        positions: group of each code among the groups of all columns, shape (codes of all columns,).
    """

    groups: int
    maps: tuple[Integers, ...]
    offsets: Integers
    positions: Integers = field(init=False)

    def __post_init__(self) -> None:
        shifted = [start + groups for start, groups in zip(self.offsets, self.maps, strict=False)]
        object.__setattr__(self, "positions", np.concatenate(shifted).astype(np.int64))

    @classmethod
    def of(cls, domain: Domain, groups: int) -> Resolution:
        """Return the resolution of a domain with at most `groups` groups a column."""
        maps = tuple(domain.groups(column, groups) for column in range(len(domain.sizes)))
        sizes = [int(groups_of_codes.max()) + 1 for groups_of_codes in maps]
        return cls(groups, maps, np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def width(self) -> int:
        """Groups of all columns."""
        return int(self.offsets[-1])

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.maps)

    @property
    def sizes(self) -> Integers:
        """Groups of each column."""
        return np.diff(self.offsets)

    @property
    def column_of(self) -> Integers:
        """Column of each group, shape (width,)."""
        return np.repeat(np.arange(self.columns), self.sizes)

    def size(self, column: int) -> int:
        """Return how many groups a column has."""
        return int(self.offsets[column + 1] - self.offsets[column])

    def span(self, column: int) -> slice:
        """Return where a column's groups are when all are laid side by side."""
        return slice(int(self.offsets[column]), int(self.offsets[column + 1]))

    def merge(self, values: Floats) -> Floats:
        """Return the sum of each group's codes, shape (width,), of a value for every code of all columns."""
        return np.bincount(self.positions, weights=values, minlength=self.width).astype(np.float64)

    def column_sums(self, square: Floats) -> Floats:
        """Return the sum of every pair's block of a square over groups, shape (columns, columns)."""
        return sum_runs(square, self.offsets[:-1])

    def spread_columns(self, square: Floats) -> Floats:
        """Return a square over groups that holds each pair's number in its whole block."""
        return np.asarray(square[np.ix_(self.column_of, self.column_of)])


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """Which group of a coarser resolution each group of the next finer one is in.

    Attributes:
        parents: coarser group of each finer group, shape (finer groups,), in increasing order.
        starts: first finer group of each coarser group.
        sizes: number of finer groups in each coarser group.
    """

    parents: Integers
    starts: Integers
    sizes: Integers

    @classmethod
    def between(cls, coarse: Resolution, fine: Resolution) -> Refinement:
        """Return the refinement of two resolutions.

        Raises:
            ValueError: groups of the finer one are not within groups of the coarser one, or not in their order.
        """
        parents = np.full(fine.width, -1)
        parents[fine.positions] = coarse.positions
        if (parents[fine.positions] != coarse.positions).any() or (np.diff(parents) < 0).any():
            raise ValueError(f"groups of {fine.groups} are not within groups of {coarse.groups}")
        starts = np.searchsorted(parents, np.arange(coarse.width))
        return cls(parents, starts, np.bincount(parents, minlength=coarse.width))

    def merge(self, square: Floats) -> Floats:
        """Return a square over coarser groups: sums of the finer one's blocks."""
        return sum_runs(square, self.starts)

    def spread(self, square: Floats) -> Floats:
        """Return a square over finer groups: every cell holds its coarser cell's number."""
        return np.asarray(square[np.ix_(self.parents, self.parents)])


@dataclass(frozen=True, slots=True, eq=False)
class Resolutions:
    """The resolutions of the pairs, coarse to fine; the last one is full.

    Groups of a finer resolution must lie within those of the next coarser one.

    Attributes:
        refinements: from each level but the last to the next finer one.

    Raises:
        ValueError: groups of a finer resolution are not within those of the next coarser one.
    """

    domain: Domain
    levels: tuple[Resolution, ...]
    refinements: tuple[Refinement, ...] = field(init=False)

    def __post_init__(self) -> None:
        pairs = zip(self.levels, self.levels[1:], strict=False)
        object.__setattr__(self, "refinements", tuple(Refinement.between(coarse, fine) for coarse, fine in pairs))

    @classmethod
    def of(cls, domain: Domain, groups: Sequence[int]) -> Resolutions:
        """Return the resolutions with these numbers of groups, and the full one."""
        wanted = [*sorted(set(groups) - {FULL}), FULL]
        return cls(domain, tuple(Resolution.of(domain, most) for most in wanted))

    @property
    def full(self) -> Resolution:
        """The resolution of the codes themselves."""
        return self.levels[-1]

    def nearest(self, groups: int) -> Resolution:
        """Return the finest resolution of at most that many groups a column, the full one for `FULL`."""
        if groups == FULL:
            return self.full
        return max((level for level in self.levels if FULL < level.groups <= groups), key=lambda level: level.groups)

    def level_of(self, groups: int) -> int:
        """Return the index of the resolution with this number of groups."""
        return [level.groups for level in self.levels].index(groups)


def sum_runs(square: Floats, starts: Integers) -> Floats:
    """Return sums over runs of rows and of columns; each run ends where the next one starts."""
    return np.asarray(np.add.reduceat(np.add.reduceat(square, starts, axis=0), starts, axis=1))
