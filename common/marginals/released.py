"""Everything counted that a run released, summed over hospitals, by the phase that counted it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from common.arrays import Integers
from common.errors import WireError

COLUMNS = ".columns"
"""Ends the name of the array that says which tables were counted. No phase has a dot in its name."""

NO_COLUMNS: Integers = np.empty(0, dtype=np.int64)
NO_COLUMNS.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedVector:
    """The sum of the hospitals' noisy vectors of one phase.

    Args:
        counts: int64, one per cell.
        columns: int64, the columns of the tables that the coordinator chose, one table after the other; empty where
            the tables follow from the schema.
    """

    counts: Integers
    columns: Integers = field(default_factory=lambda: NO_COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedMarginals:
    """Released sums by phase, in the order of the run."""

    vectors: Mapping[str, ReleasedVector] = field(default_factory=lambda: MappingProxyType({}))

    def with_phase(self, phase: str, counts: Integers, columns: Integers = NO_COLUMNS) -> ReleasedMarginals:
        """Return the same sums with those of one more phase at the end.

        Args:
            phase: name of the phase.
            counts: its noisy counts, summed over hospitals, int64.
            columns: columns of the tables that the coordinator chose; empty where they follow from the plan.
        """
        return ReleasedMarginals(MappingProxyType({**self.vectors, phase: ReleasedVector(counts, columns)}))

    def only(self, phases: Collection[str]) -> ReleasedMarginals:
        """Return the sums of these phases alone; phases that were not counted are left out."""
        return ReleasedMarginals({name: vector for name, vector in self.vectors.items() if name in phases})

    def counts(self, phase: str) -> Integers:
        """Return the counts of a phase; empty if it was not counted."""
        vector = self.vectors.get(phase)
        return NO_COLUMNS if vector is None else vector.counts

    def arrays(self) -> dict[str, Integers]:
        """Return int64 vectors by name, for a message or a file: `<phase>`, and `<phase>.columns` where chosen."""
        named: dict[str, Integers] = {}
        for name, vector in self.vectors.items():
            named[name] = vector.counts
            if len(vector.columns):
                named[name + COLUMNS] = vector.columns
        return named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers], phases: Collection[str]) -> ReleasedMarginals:
        """Return the sums that `arrays` wrote.

        Args:
            arrays: int64 vectors by name.
            phases: the phases that must be there, in the order of the run, and no others.

        Raises:
            WireError: a phase is missing or unexpected, or an array is not an int64 vector.
        """
        missing = [name for name in phases if name not in arrays]
        if missing:
            raise WireError(f"the released sums of phase '{missing[0]}' are missing")
        unexpected = set(arrays) - {*phases, *(name + COLUMNS for name in phases)}
        if unexpected:
            raise WireError(f"{len(unexpected)} arrays of released sums are not expected here")
        if any(array.dtype != np.int64 or array.ndim != 1 for array in arrays.values()):
            raise WireError("released sums are not int64 vectors")
        return cls({name: ReleasedVector(arrays[name], arrays.get(name + COLUMNS, NO_COLUMNS)) for name in phases})
