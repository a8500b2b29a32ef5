"""What a proposal needs to know of a local column: its cells, whether they are numbers or dates, in which form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from common.columns.cells import is_missing
from common.columns.drafting_dates import DATE_FORMATS, TIME_FORMATS
from common.harmonization.conventions import Conventions
from common.harmonization.headers import Header, header_of
from common.harmonization.words import MISSING_TEXTS

TRIED = 2000
"""Most different cells that are looked at, the most frequent first."""

NAMED_MONTHS = ("%d. %B %Y", "%d %B %Y", "%d %b %Y", "%d. %b %Y")
"""Further formats of days, with the name of the month in any of four languages."""

ENOUGH = 0.9
"""Smallest part of the rows that a form of dates has to read."""

COMMA, POINT = (re.compile(rf"[<>]?\s*[+-]?\d+{mark}\d+(?:\s*[^\d\s.,].*)?") for mark in (",", "[.]"))
"""Numbers with a decimal mark, also with a unit behind them."""

BEHIND = re.compile(r"[<>]?\s*[+-]?\d+(?:[.,]\d+)?\s*([^\d\s.,;:+-][^\d]{0,11})")
"""A number with something behind it, which may be a unit."""


PRECISE = tuple(f"%Y-%m-%d{separator}%H:%M:%S{ending}" for separator in " T" for ending in ("%z", ".%f", ".%f%z"))
"""Formats of times with an offset from UTC or fractions of a second, as databases and logs write them."""


@dataclass(frozen=True)
class Described:
    """What a data dictionary says of a column.

    Attributes:
        label: what it holds, in words, with its unit in brackets; empty where the dictionary does not say.
        meanings: what each code means.
    """

    label: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


NOT_DESCRIBED = Described()


@dataclass(frozen=True)
class LocalColumn:
    """A column of a hospital's own table.

    Attributes:
        name: its name.
        texts: rows by cell, without missing cells; at most `TRIED`.
        described: what the hospital's data dictionary says of it.
    """

    name: str
    texts: Counter[str]
    described: Described = NOT_DESCRIBED

    @classmethod
    def of(cls, name: str, cells: Counter[str], described: Described = NOT_DESCRIBED) -> LocalColumn:
        """Return the column with these cells, counted."""
        present = Counter({cell: count for cell, count in cells.items() if not is_missing(cell)})
        return cls(name, Counter(dict(present.most_common(TRIED))), described)

    @cached_property
    def header(self) -> Header:
        """What its label says, or its name where it has none."""
        return header_of(self.described.label or self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, and its label if it has one."""
        return (self.name, self.described.label) if self.described.label else (self.name,)

    def meaning(self, text: str) -> str:
        """Return what a cell means by the data dictionary; the cell itself where that does not say."""
        return self.described.meanings.get(text.strip(), text)

    @cached_property
    def missing_texts(self) -> tuple[str, ...]:
        """Its texts that often mean missing."""
        return tuple(text for text in MISSING_TEXTS if any(cell.strip() == text for cell in self.texts))

    def share(self, texts: dict[str, bool]) -> float:
        """Return the part of the rows whose text is true, among the texts that are listed."""
        total = sum(self.texts[text] for text in texts)
        return sum(self.texts[text] for text, value in texts.items() if value) / total if total else 0.0

    def numbers(self, conventions: Conventions, unit: str | None) -> dict[str, float]:
        """Return the number of every cell that is not missing, NaN where it is none.

        Args:
            conventions: how numbers and missing cells are written.
            unit: unit that may stand behind a number.
        """
        return {text: conventions.signed(text, unit)[1] for text in self.texts if not conventions.is_missing(text)}

    @cached_property
    def unit_behind(self) -> str | None:
        """What stands behind most of its numbers; None for nothing."""
        behind = Counter[str]()
        for text, count in self.texts.items():
            if (match := BEHIND.fullmatch(text.strip())) is not None:
                behind[match[1].strip()] += count
        unit, count = behind.most_common(1)[0] if behind else ("", 0)
        return unit if count > 0.5 * self.texts.total() else None

    @cached_property
    def decimal(self) -> str:
        """The decimal mark of most of its numbers with one."""
        texts = [text.strip() for text in self.texts]
        commas, points = (sum(mark.fullmatch(text) is not None for text in texts) for mark in (COMMA, POINT))
        return "," if commas > points else "."

    @cached_property
    def date_forms(self) -> tuple[str, ...]:
        """The formats of dates that read nearly all of its cells, the likeliest first."""
        texts = [text for text in self.texts if text.strip() not in MISSING_TEXTS]
        if not texts or max(map(len, texts)) > 30:
            return ()
        fitting = []
        for form in (*DATE_FORMATS, *TIME_FORMATS, *NAMED_MONTHS, *PRECISE):
            read = Conventions(date_formats=(form,)).date
            if not any(read(text) for text in texts[:5]):
                continue
            if self.share({text: _is_plausible(read(text)) for text in texts}) >= ENOUGH:
                fitting.append(form)
        return tuple(fitting)


def _is_plausible(moment: datetime | None) -> bool:
    return moment is not None and 1850 <= moment.year <= 2150
