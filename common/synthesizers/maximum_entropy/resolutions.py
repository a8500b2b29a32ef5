"""The codes of all columns side by side, at every resolution that pairs were counted at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Floats, Integers
from common.marginals.queries import FULL, Domain


@dataclass(frozen=True, slots=True)
class Resolution:
    """Codes of every column merged to at most `groups` groups (`FULL`: not merged).

    Attributes:
        maps: group of each code, by column.
        offsets: where each column's groups begin when all are laid side by side, then the number of all groups.
        membership: which group each code is in, 0 or 1, shape (codes of all columns, groups of all columns).
    """

    groups: int
    maps: tuple[Integers, ...]
    offsets: Integers
    membership: Floats

    @classmethod
    def of(cls, domain: Domain, groups: int) -> Resolution:
        """Return the resolution of a domain with at most `groups` groups a column."""
        maps = tuple(domain.groups(column, groups) for column in range(len(domain.sizes)))
        sizes = [int(groups_of_codes[-1]) + 1 for groups_of_codes in maps]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        membership = np.zeros((sum(domain.sizes), int(offsets[-1])))
        codes = np.arange(len(membership))
        membership[
            codes,
            np.concatenate([offset + groups_of_codes for offset, groups_of_codes in zip(offsets, maps, strict=False)]),
        ] = 1
        return cls(groups, maps, offsets, membership)

    @property
    def width(self) -> int:
        """Groups of all columns."""
        return int(self.offsets[-1])

    def size(self, column: int) -> int:
        """Return how many groups a column has."""
        return int(self.offsets[column + 1] - self.offsets[column])

    def span(self, column: int) -> slice:
        """Return where a column's groups are when all are laid side by side."""
        return slice(int(self.offsets[column]), int(self.offsets[column + 1]))


@dataclass(frozen=True)
class Resolutions:
    """The resolutions of the pairs, coarse to fine; the last one is full.

    Groups of a finer resolution must lie within those of the next coarser one.

    Raises:
        ValueError: they do not.
    """

    domain: Domain
    levels: tuple[Resolution, ...]
    refinements: tuple[Floats, ...] = field(init=False)
    """For every level but the first: which coarser group each group is in, 0 or 1, shape (groups, coarser groups)."""

    def __post_init__(self) -> None:
        refinements = []
        for coarse, fine in zip(self.levels, self.levels[1:], strict=False):
            refinement = ((fine.membership.T @ coarse.membership) > 0).astype(np.float64)
            if (refinement.sum(1) != 1).any():
                raise ValueError(f"groups of {fine.groups} are not within groups of {coarse.groups}")
            refinements.append(refinement)
        object.__setattr__(self, "refinements", tuple(refinements))

    @classmethod
    def of(cls, domain: Domain, groups: Sequence[int]) -> Resolutions:
        """Return the resolutions with these numbers of groups, and the full one."""
        wanted = [*sorted(set(groups) - {FULL}), FULL]
        return cls(domain, tuple(Resolution.of(domain, most) for most in wanted))

    def level_of(self, groups: int) -> int:
        """Return the position of the resolution with this number of groups."""
        return [level.groups for level in self.levels].index(groups)
