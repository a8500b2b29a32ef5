"""What a proposal says about one column, and how similar the names of two columns are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rapidfuzz import fuzz

from common.columns.base import TableColumn
from common.harmonization.headers import Header, folded, header_of

LIKELY, POSSIBLE = 85, 60
"""Confidence in percent from which a proposal needs no check, and below which none is made."""

MISFIT = 0.4
"""Largest part of the confidence that cells which do not fit take away."""

OPPOSITE = 80.0
"""Similarity of a name about death and one about life."""

OF_DATES = frozenset({"date", "time"})
"""Words that a name may have or leave out."""


@dataclass(frozen=True)
class Suggestion:
    """A recipe for one column of a study.

    Attributes:
        settings: the recipe as it is written in the mapping.
        fit: part of the rows, from 0 to 1, that the recipe reads to values of the study.
        reasons: why, for the comment above it.
        checks: what a person has to check.
        unmapped: labels that it leaves out, with a remark about each.
    """

    settings: dict[str, Any]
    fit: float
    reasons: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    unmapped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposed:
    """What is proposed for one column of a study.

    Attributes:
        name: the study's column.
        suggestion: the recipe; None where no local column resembles it.
        confidence: percent.
        nearest: the local column with the most similar name, where nothing is proposed.
    """

    name: str
    suggestion: Suggestion | None
    confidence: int
    nearest: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether nothing about it needs a person's check."""
        return self.suggestion is not None and self.confidence >= LIKELY and not self.suggestion.checks

    @property
    def sources(self) -> tuple[str, ...]:
        """The local columns that it reads."""
        settings = {} if self.suggestion is None else self.suggestion.settings
        sources = settings.get("from", list(settings.get("items", {}).values()))
        return (sources,) if isinstance(sources, str) else tuple(sources)


def similarity(column: TableColumn, local: tuple[str, ...]) -> float:
    """Return how similar a local column's names are to a study's column, by its name or description: 0 to 100."""
    return max(_similarity(column, name) for name in local)


def _similarity(column: TableColumn, local: str) -> float:
    header = header_of(local)
    score = max(_words_alike(header_of(column.name), header), fuzz.ratio(folded(column.name), folded(local)))
    if column.description is not None:
        score = max(score, 0.95 * _words_alike(header_of(column.description), header))
    return score


def _words_alike(first: Header, second: Header) -> float:
    """Return 100 for the same words, less for some in common or for similar ones."""
    if first.words == second.words:
        return 100.0
    if any({"died"} <= one.words and {"alive"} <= other.words for one, other in ((first, second), (second, first))):
        return OPPOSITE
    core = [header.words - OF_DATES for header in (first, second)]
    if core[0] and core[0] == core[1]:
        return 97.0
    common, either = first.words & second.words - OF_DATES, first.words | second.words
    shared = 60.0 + 35.0 * len(common) / len(either) if common else 0.0
    return max(shared, fuzz.token_sort_ratio(first.text, second.text))
