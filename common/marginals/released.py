"""Everything counted that a run released, summed over hospitals, by the phase that counted it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from common.arrays import Integers
from common.errors import WireError

COLUMNS, WEIGHTS, CANDIDATES, DECODER = ".columns", ".weights", ".candidates", ".decoder"
"""End the names of the arrays that say what was asked for. No phase has a dot in its name."""

ASKED = (COLUMNS, WEIGHTS, CANDIDATES, DECODER)

NONE: Integers = np.empty(0, dtype=np.int64)
NONE.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the coordinator chose; empty where it follows from study and plan.

    Args:
        columns: int64, the columns of one table after the other.
        weights: int64, of every table; empty where tables have no weights.
        candidates: int64, the groups of one row after the other, for which patients vote.
        decoder: int64, logarithms of a decoder by which patients are put in classes; of several rounds, one after the
            other.
    """

    columns: Integers = field(default_factory=lambda: NONE)
    weights: Integers = field(default_factory=lambda: NONE)
    candidates: Integers = field(default_factory=lambda: NONE)
    decoder: Integers = field(default_factory=lambda: NONE)

    def arrays(self, phase: str) -> dict[str, Integers]:
        """Return what is not empty by name, as `ReleasedMarginals.arrays` does."""
        asked = (self.columns, self.weights, self.candidates, self.decoder)
        named = {phase + ending: array for ending, array in zip(ASKED, asked, strict=True)}
        return {name: array for name, array in named.items() if len(array)}


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedVector:
    """The sum of the hospitals' noisy vectors of one phase: int64, one number per cell, and which tables they are."""

    counts: Integers
    asked: Asked = NOTHING_ASKED


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedMarginals:
    """Released sums by phase, in the order of the run."""

    vectors: Mapping[str, ReleasedVector] = field(default_factory=lambda: MappingProxyType({}))

    def with_phase(self, phase: str, counts: Integers, asked: Asked = NOTHING_ASKED) -> ReleasedMarginals:
        """Return the same sums with those of one more phase at the end.

        Args:
            phase: name of the phase.
            counts: their sum over hospitals, int64.
            asked: what the coordinator sent with the request.
        """
        return ReleasedMarginals(MappingProxyType({**self.vectors, phase: ReleasedVector(counts, asked)}))

    def with_round(self, phase: str, counts: Integers, asked: Asked) -> ReleasedMarginals:
        """Return the same sums with those of one more round of a phase behind those of its earlier rounds."""
        before = self.vectors.get(phase, ReleasedVector(NONE))
        decoders = np.concatenate([before.asked.decoder, asked.decoder])
        return self.with_phase(phase, np.concatenate([before.counts, counts]), Asked(decoder=decoders))

    def only(self, phases: Collection[str]) -> ReleasedMarginals:
        """Return the sums of these phases alone; phases that were not counted are left out."""
        return ReleasedMarginals({name: vector for name, vector in self.vectors.items() if name in phases})

    def counts(self, phase: str) -> Integers:
        """Return the counts of a phase; empty if it was not counted."""
        vector = self.vectors.get(phase)
        return NONE if vector is None else vector.counts

    def arrays(self) -> dict[str, Integers]:
        """Return int64 vectors by name, for a message or a file.

        They are `<phase>`, and where the coordinator chose, `<phase>.columns`, `<phase>.weights`,
        `<phase>.candidates` and `<phase>.decoder`.
        """
        named: dict[str, Integers] = {}
        for name, vector in self.vectors.items():
            named |= {name: vector.counts} | vector.asked.arrays(name)
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
        unexpected = set(arrays) - {name + ending for name in phases for ending in ("", *ASKED)}
        if unexpected:
            raise WireError(f"{len(unexpected)} arrays of released sums are not expected here")
        if any(array.dtype != np.int64 or array.ndim != 1 for array in arrays.values()):
            raise WireError("released sums are not int64 vectors")
        asked = {name: Asked(*(arrays.get(name + ending, NONE) for ending in ASKED)) for name in phases}
        return cls({name: ReleasedVector(arrays[name], asked[name]) for name in phases})
