"""Which columns of several dictionaries are the same: by name, by a name in another spelling, and by likeness."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.dictionary.dictionary import Dictionary
from common.dictionary.resolution import Voice

MOST_COMPARED = 40_000
"""Pairs of names that are compared for likeness; beyond, a list of likely pairs helps nobody and takes seconds."""

LIKENESS = 0.75
"""How alike two names are, from 0 to 1, before one is mentioned beside the other."""

SHORTEST = 4
"""Characters of a name that is mentioned because it is a part of another one."""


@dataclass(frozen=True, slots=True)
class Match:
    """A column under its agreed name, and how each hospital describes it.

    Attributes:
        voices: the hospitals that have it, in the order of the files.
        lacking: the hospitals that do not.
        like: by hospital that lacks it, columns of its own whose names are like it and that fewer hospitals have; of
            two that as many have, the later. So nobody is asked to rename in both directions.
    """

    name: str
    voices: tuple[Voice, ...]
    lacking: tuple[str, ...]
    like: Mapping[str, tuple[str, ...]]


def key_of(name: str) -> str:
    """Return a name without case, blanks and punctuation: "Date of Birth" and "date_of_birth" are one.

    A name of punctuation alone is its own key.
    """
    return "".join(mark for mark in name.casefold() if mark.isalnum()) or name


def match_columns(dictionaries: Sequence[Dictionary]) -> list[Match]:
    """Return every column of any hospital once: first in the order of the first dictionary, then those it lacks.

    Names that differ in case, blanks and punctuation alone are one column, unless a hospital has two such names.
    """
    ambiguous = {key for dictionary in dictionaries for key in _repeated(key_of(name) for name in dictionary.by_name)}
    keys = {
        name: name if key_of(name) in ambiguous else key_of(name)
        for dictionary in dictionaries
        for name in dictionary.by_name
    }
    groups: dict[str, list[Voice]] = {}
    for dictionary in dictionaries:
        for name, entry in dictionary.by_name.items():
            groups.setdefault(keys[name], []).append(Voice(dictionary.hospital, entry))
    lacking = {
        key: [d for d in dictionaries if d.hospital not in {voice.hospital for voice in voices}]
        for key, voices in groups.items()
    }
    unmatched = {
        dictionary.hospital: [name for name in dictionary.by_name if lacking[keys[name]]] for dictionary in dictionaries
    }
    compared = sum(len(unmatched[d.hospital]) for absent in lacking.values() for d in absent)
    ranks = {key: (-len(voices), position) for position, (key, voices) in enumerate(groups.items())}
    matches = []
    for key, voices in groups.items():
        name = _most_frequent([voice.entry.name for voice in voices])
        rarer = {
            d.hospital: [other for other in unmatched[d.hospital] if ranks[keys[other]] > ranks[key]]
            for d in lacking[key]
        }
        like = {d.hospital: _alike(name, rarer[d.hospital]) for d in lacking[key] if compared <= MOST_COMPARED}
        absent = tuple(d.hospital for d in lacking[key])
        matches.append(
            Match(name, tuple(voices), absent, {hospital: names for hospital, names in like.items() if names})
        )
    return matches


def _repeated(keys: Iterable[str]) -> set[str]:
    single, repeated = set[str](), set[str]()
    for key in keys:
        (repeated if key in single else single).add(key)
    return repeated


def _most_frequent(names: Sequence[str]) -> str:
    return max(names, key=names.count)


def _alike(name: str, names: Sequence[str]) -> tuple[str, ...]:
    keys, own = {key_of(listed): listed for listed in names}, key_of(name)
    held = [key for key in keys if min(len(key), len(own)) >= SHORTEST and (key in own or own in key)]
    if held:
        return tuple(keys[key] for key in held[:2])
    return tuple(keys[key] for key in difflib.get_close_matches(own, list(keys), n=2, cutoff=LIKENESS))
