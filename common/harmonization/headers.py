"""What the name of a column says: its words in one language, and its unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from common.harmonization.units import is_unit
from common.harmonization.words import HEADER_WORDS, LABEL_WORDS, NOISE, SHORT_UNITS, UNIT_SUFFIXES

LONGEST_PHRASE = 4
"""Most words of a phrase of the tables of words."""

SHORTEST_PART = 3
"""Fewest letters of a part of a compound."""

LONGEST_COMPOUND = 80
"""Most letters of a compound; a longer word is taken whole, so that no header takes long."""

OPENING, CLOSING = "[(", "])"


@dataclass(frozen=True, slots=True)
class Header:
    """A column's name.

    Attributes:
        words: what it is about, in English where the tables know the word; without noise where others remain.
        unit: unit that it names; None for none.
    """

    words: frozenset[str]
    unit: str | None

    @property
    def text(self) -> str:
        """The words in alphabetical order, for a comparison letter by letter."""
        return " ".join(sorted(self.words))


@cache
def header_of(name: str) -> Header:
    """Return what a column's name says."""
    body, unit = name, None
    before, inside = _in_brackets(name)
    if before and (unit := _unit(inside)) is not None:
        body = before
    tokens = folded(body).split()
    if unit is None:
        tokens, unit = _without_unit(tokens)
    words = _translated(tokens)
    meaning = words - NOISE
    return Header(frozenset(meaning or words), unit)


def _in_brackets(name: str) -> tuple[str, str]:
    """Return what stands before the brackets at the end of a name, and what stands inside; empty without brackets."""
    stripped = name.rstrip()
    start = max(stripped.rfind(mark) for mark in OPENING)
    inside = stripped[start + 1 : -1]
    if start < 0 or stripped[-1] not in CLOSING or any(mark in inside for mark in OPENING + CLOSING):
        return "", ""
    return stripped[:start].rstrip(), inside


def folded(text: str) -> str:
    """Return a text in lower-case letters without accents, its words apart; "Größe", "Groesse" and "grosse" agree."""
    apart = re.sub(r"(?<=[a-zß-ÿ])(?=[A-Z][a-zß-ÿ])", " ", text)
    lower = apart.casefold().replace("œ", "oe").replace("nº", "no ").replace("µ", "u").replace("μ", "u")
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(mark))
    for pair in ("ae", "oe", "ue"):
        plain = plain.replace(pair, pair[0])
    return " ".join(re.findall(r"[^\W_]+|[+-]$", plain))


@cache
def meanings_of(label: str) -> frozenset[str]:
    """Return what a label may mean by the table of labels; nothing for an unknown one."""
    return frozenset(_meanings().get(folded(label), ()))


def _unit(text: str) -> str | None:
    """Return the unit in brackets at the end of a name; None where it is something else."""
    stripped = text.strip()
    compact = re.sub(r"[\W_]+", "", stripped.casefold())
    if compact in UNIT_SUFFIXES and not (set(stripped) & set("/^%")):
        return UNIT_SUFFIXES[compact]
    return stripped if stripped and is_unit(stripped) else None


def _without_unit(tokens: list[str]) -> tuple[list[str], str | None]:
    """Return the words of a name without the unit at its end, and the unit."""
    for length in (2, 1):
        unit = UNIT_SUFFIXES.get("".join(tokens[-length:])) if len(tokens) > length else None
        if unit is not None:
            return tokens[:-length], unit
    about = _translated(tokens[:-1])
    for concept, units in SHORT_UNITS.items():
        if concept in about and tokens[-1] in units:
            return tokens[:-1], units[tokens[-1]]
    return tokens, None


def _translated(tokens: list[str]) -> frozenset[str]:
    """Return the words of a name in English; the longest known phrase counts, and compounds are taken apart."""
    table, words, start = _headers(), set[str](), 0
    while start < len(tokens):
        for length in range(min(LONGEST_PHRASE, len(tokens) - start), 0, -1):
            concept = table.get(" ".join(tokens[start : start + length]))
            if concept is not None:
                words.add(concept)
                break
        else:
            length = 1
            words |= _parts(tokens[start])
        start += length
    return frozenset(words)


def _parts(token: str) -> set[str]:
    """Return the concepts of the two parts of a compound such as "aufnahmedatum"; the word itself where it is none."""
    table = _headers()
    if len(token) > LONGEST_COMPOUND:
        return {token}
    for cut in range(SHORTEST_PART, len(token) - SHORTEST_PART + 1):
        first, second = token[:cut], token[cut:]
        concepts = [table.get(part) or table.get(part.rstrip("sn")) for part in (first, second)]
        if concepts[0] is not None and concepts[1] is not None:
            return {concepts[0], concepts[1]}
    return {token}


@cache
def _headers() -> dict[str, str]:
    return {folded(word): concept for concept, listed in HEADER_WORDS.items() for word in [concept, *listed.split("|")]}


@cache
def _meanings() -> dict[str, set[str]]:
    meanings: dict[str, set[str]] = {}
    for meaning, word in _pairs(LABEL_WORDS.items()):
        meanings.setdefault(folded(word) or word, set()).add(meaning)
    return meanings


def _pairs(table: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((meaning, word) for meaning, listed in table for word in listed.split("|"))
