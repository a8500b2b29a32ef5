"""What is proposed where hospitals differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.dictionary.entry import DictionaryEntry


@dataclass(frozen=True, slots=True)
class Voice:
    """One hospital's description of a column."""

    hospital: str
    entry: DictionaryEntry


@dataclass(frozen=True, slots=True)
class Talk:
    """One aspect of one column under discussion.

    Attributes:
        voices: hospitals that have the column with the agreed kind, and what each says, in the order of the files.
        agreed: settings agreed so far; aspects are discussed in the order of `ASPECTS`.
        keys: the keys of the aspect.
    """

    voices: Sequence[Voice]
    agreed: Mapping[str, Any]
    keys: tuple[str, ...]

    def declaration(self, voice: Voice) -> tuple[Any, ...]:
        """Return what a hospital declares for the keys."""
        return tuple(voice.entry.value(key) for key in self.keys)


@dataclass(frozen=True, slots=True)
class ColumnProposal:
    """What is proposed for some settings of a column.

    Attributes:
        values: the settings; a key that is absent has its default, or stays open.
        sentence: the proposal in words.
        tasks: who has to do what, by hospital.
        is_open: whether people have to decide.
        renames: agreed label of each of a hospital's own labels that changes, by hospital.
    """

    values: Mapping[str, Any]
    sentence: str
    tasks: Mapping[str, str]
    is_open: bool
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def preferred(values: Sequence[Any]) -> Any:
    """Return the value that most hospitals give; of equally frequent ones, that of the first hospital."""
    counts = Counter(values)
    return max(values, key=lambda value: counts[value])


def spelled(word: str) -> str:
    """Return a unit or a label without the differences of spelling: case, blanks, and the two letters for micro."""
    return "".join(word.casefold().split())
