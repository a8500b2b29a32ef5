"""How one hospital writes numbers, dates and missing cells, and the functions that read them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property

from common.columns.cells import number_of, read_date
from common.columns.labels import UNLISTED, finder
from common.harmonization.words import MONTHS
from common.tables.dialect import BLANKS, Dialect

SIGN = re.compile(r"\s*(<=?|≤|>=?|≥)?")
"""The sign of a limit of detection, before the number."""


@dataclass(frozen=True)
class Conventions:
    """How cells are written, unless a column says otherwise.

    Attributes:
        missing: texts that mean missing, beside the usual words.
        decimal, thousands: marks of numbers, as in `common.tables.reading.Reading`.
        date_formats: formats of dates, tried in order.
    """

    missing: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""
    date_formats: tuple[str, ...] = ("%Y-%m-%d",)

    def is_declared_missing(self, cell: str) -> bool:
        """Return whether the cell is one of the declared texts; -9 is also -9.0."""
        return self._number_of_missing(cell) not in (UNLISTED, len(self.missing))

    def is_missing(self, cell: str) -> bool:
        """Return whether the cell is a declared text or a usual word for missing."""
        return self._number_of_missing(cell) != UNLISTED

    @cached_property
    def _number_of_missing(self) -> Callable[[str], int]:
        return finder(self.missing)

    @cached_property
    def _with_point(self) -> Callable[[str], str]:
        return Dialect(decimal=self.decimal, thousands=self.thousands).number_reader() or str

    def number(self, cell: str) -> float:
        """Return the number that the cell writes, else NaN."""
        return number_of(self._with_point(cell.translate(BLANKS)))

    def signed(self, cell: str, unit: str | None = None) -> tuple[str, float]:
        """Return the sign (`<`, `>` or none) and the number in a cell, NaN where it holds none.

        Args:
            cell: a cell, such as "<0,5", "90+" or "5,1 mg/dL".
            unit: unit that may stand behind the number.
        """
        match = SIGN.match(cell)
        assert match is not None, "every part of the pattern may be empty"
        sign, text = match[1] or "", cell[match.end() :].strip()
        if unit is not None:
            text = text.removesuffix(unit).rstrip()
        if not sign and text.endswith("+"):
            sign, text = ">", text[:-1].rstrip()
        direction = "" if not sign else "<" if sign[0] in "<≤" else ">"
        return direction, self.number(text)

    def date(self, cell: str) -> datetime | None:
        """Return the date that the cell writes in one of the formats; None for any other text."""
        for form in self.date_formats:
            if (moment := read_date(_with_english_month(cell, form), form)) is not None:
                return moment
        return None


def _with_english_month(cell: str, form: str) -> str:
    """Return a date with the English name of its month, where the format has a name, as Python reads it.

    Args:
        cell: a date, such as "12. März 2021".
        form: its format: `%B` stands for a whole name, `%b` for an abbreviation.
    """
    if "%b" not in form and "%B" not in form:
        return cell

    def english(word: re.Match[str]) -> str:
        letters = unicodedata.normalize("NFKD", word[1].casefold())
        names = _months().get("".join(mark for mark in letters if not unicodedata.combining(mark)))
        return word[0] if names is None else names[0 if "%B" in form else 1]

    return re.sub(r"([^\W\d_]+)\.?", english, cell)


@cache
def _months() -> dict[str, list[str]]:
    """Return the English names of the month that a word names, in four languages."""
    return {word: names.split("|")[:2] for names in MONTHS for word in names.split("|")}


def text_of_number(value: float, decimals: int | None) -> str:
    """Return a number as text without further zeros: with at most `decimals` decimals, else 12 significant digits.

    Args:
        value: a finite number.
        decimals: number of decimals; None where the number is not rounded to decimals.
    """
    rounded = float(f"{value:.12g}") if decimals is None else round(value, decimals)
    text = f"{rounded + 0.0:.{max(decimals or 0, 0)}f}" if decimals is not None else _plain(rounded + 0.0)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: float) -> str:
    """Return every digit that the number has, without an exponent."""
    digits = 11 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits)}f}"
