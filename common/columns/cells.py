"""Cells of a raw table: text of typed values, missing cells, numbers and dates in text, and counts of rows in words."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")

MISSING_WORDS = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "null", "NULL", "None", "?"})
"""Cell texts that mean "missing", unless a categorical column lists the text as a category of its own."""

MINUS = "\N{MINUS SIGN}"
"""The sign that word processors write for a hyphen before a number."""

KEEP_TO_YOURSELF = "this number is a fact about your patients: do not pass it on"
"""End of every notice whose count could tempt a reader to fit the public schema to the records."""


def each(cells: Iterable[Any], function: Callable[[Any], T]) -> list[T]:
    """Return the function of every cell, computed once per distinct cell."""
    listed = list(cells)
    known = {cell: function(cell) for cell in set(listed)}
    return [known[cell] for cell in listed]


def text_of(value: object) -> str:
    """Return a typed value as text: "63" for 63.0, "True" for True, "" for missing, else shortest exact decimals."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        # Adding zero turns -0.0 into 0.0.
        return "" if math.isnan(value) else np.format_float_positional(value + 0.0, trim="-")
    return str(value)


def is_missing(text: str) -> bool:
    """Return whether the cell means "missing" in a column that does not list its text as a category."""
    return text.strip() in MISSING_WORDS


def number_of(text: str) -> float:
    """Return the finite number that the text writes, else NaN."""
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return number_of(text.replace(MINUS, "-")) if MINUS in text else math.nan
    return number if math.isfinite(number) else math.nan


def read_date(text: str, form: str) -> datetime | None:
    """Return the date that a cell writes in this format, without its time zone; None for any other text."""
    try:
        return datetime.strptime(text.strip(), form).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


STANDARD = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?)?", re.ASCII
)
"""A date or time as ISO 8601, databases and typed files write it, maybe with its offset from UTC."""

OFFSET = re.compile(r"(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)$", re.ASCII)
"""The offset from UTC at the end of a format."""


def standard_date(text: str) -> datetime | None:
    """Return the date or time that a cell writes in the form `STANDARD`, with its offset; None for any other text."""
    match = STANDARD.fullmatch(text.strip())
    try:
        return None if match is None else datetime.fromisoformat(match[0].replace(" +", "+").replace(" -", "-"))
    except ValueError:
        return None


def date_of(text: str, form: str) -> datetime | None:
    """Return the date that a cell writes in this format or in the form `STANDARD`, without its offset from UTC.

    Typed files hold dates in no format, so that a column of dates reads both. Where the format ends in an offset, a
    time with another one is converted to it; else the clock time counts as it is written. A format that has the day
    where `STANDARD` has the month is read alone.
    """
    moment = read_date(text, form)
    if moment is not None or form.startswith("%Y-%d") or (moment := standard_date(text)) is None:
        return moment
    offset = OFFSET.search(form)
    try:
        if moment.tzinfo is not None and offset is not None:
            moment = moment.astimezone(_zone(offset[0]))
        return moment.replace(tzinfo=None)
    except OverflowError:
        return None


def _zone(offset: str) -> timezone:
    """Return the time zone with this offset from UTC."""
    zone = datetime.strptime(offset, "%z").tzinfo
    assert isinstance(zone, timezone)
    return zone


BELOW = r"<=?|≤|(?:less|lower|smaller) than|below|under|unter|kleiner(?: als)?|moins de|inférieur à|menos de|menor que"
ABOVE = r">=?|≥|(?:more|greater|higher|older) than|above|over|über|größer(?: als)?|plus de|supérieur à|más de|mayor que"
MORE = r"over|above|older|more|up|greater|higher|älter|mehr|darüber|plus|más|mayor(?:es)?"
YEARS = r"years?|yrs?|jahre?|ans?|años?"
_NUMBER = rf"([+{MINUS}-]?\d[\d.]*(?:[eE][+-]?\d+)?)"
CENSORED = re.compile(
    rf"(?:({BELOW})|({ABOVE}))\s*{_NUMBER}(?:\s*(?:{YEARS}))?"
    rf"|{_NUMBER}\s*(?:(?:{YEARS})\s*)?(?:\+|plus|(?:and|or|und|oder|et|ou|y|o|&)\s+(?:{MORE}))",
    re.IGNORECASE,
)
"""A number of which only one side is known: "<0.1", "> 89 years", "90+", "less than 5", "90 and over"."""

FLAGGED = re.compile(rf"{_NUMBER}\s*(?:\*{{1,3}}|!{{1,3}}|↑{{1,2}}|↓{{1,2}}|\[?\(?(?:HH?|LL?|A)\)?\]?)")
"""A number with a laboratory's mark behind it that says whether it is high or low: "12.3 H", "4.1*"."""

ABOUT = r"~|≈|ca\.?|circa|approx(?:\.|imately)?|about|etwa|rund|env(?:\.|iron)"
ROUGHLY = re.compile(rf"(?:{ABOUT})\s*{_NUMBER}", re.IGNORECASE)
"""A number that is said to be approximate: "~12", "ca. 12"."""

WIDE = {mark: mark - 0xFEE0 for mark in range(0xFF01, 0xFF5F)}
"""ASCII characters by their wide forms, which East Asian keyboards write."""

COMMA_LIMIT = re.compile(r"(\D*)(0,\d+|\d+,(?:\d{1,2}|\d{4,}))(\D*)")
"""A limit with a decimal comma. Three digits behind a comma may be thousands, unless a 0 stands before it."""


def censored(text: str) -> tuple[int, float] | None:
    """Return the side and the number of a censored value: -1 for below, 1 for above; None for any other text.

    It may be written in wide forms of East Asian keyboards, in HTML (`&lt;`) and with a decimal comma.
    """
    match = CENSORED.fullmatch(_plain(text.strip())) if _is_no_number(text) else None
    if match is None:
        return None
    below, _, limit, edge = match.groups()
    number = number_of(limit if edge is None else edge)
    return None if math.isnan(number) else (-1 if below else 1, number)


def _plain(text: str) -> str:
    """Return a text with ASCII in place of wide forms, characters in place of HTML entities, and a decimal point."""
    plain = html.unescape(text if text.isascii() else text.translate(WIDE))
    comma = COMMA_LIMIT.fullmatch(plain) if "," in plain else None
    return plain if comma is None else comma[1] + comma[2].replace(",", ".") + comma[3]


def flagged(text: str) -> float:
    """Return the number of a text with a laboratory's mark (`12.3 H`) or a word for *about* (`ca. 12`); NaN without."""
    if not _is_no_number(text):
        return math.nan
    match = FLAGGED.fullmatch(text.strip()) or ROUGHLY.fullmatch(text.strip())
    return math.nan if match is None else number_of(match[1])


def without_unit(text: str, unit: str) -> str:
    """Return a text without the unit at its end. The Greek letter mu and the micro sign count as the same."""
    return text[: len(text) - len(unit)] if one_micro(text).endswith(one_micro(unit)) else text


def one_micro(text: str) -> str:
    """Return a text with the micro sign in place of the Greek letter mu, which looks the same."""
    return text if text.isascii() else text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")


def _is_no_number(text: str) -> bool:
    """Return False where the text is a number, which is cheaper to see than that it matches no pattern."""
    return math.isnan(number_of(text))


def count_rows(count: int) -> str:
    """Return the count with its unit."""
    return f"{count} row{'s' if count > 1 else ''}"


def notice(fact: str, count: int, outcome: str) -> str:
    """Return a notice about the cells of one column: what they are, in how many rows, and what becomes of them.

    Args:
        fact: what the cells are, as the rest of a sentence about the column.
        count: number of rows.
        outcome: what becomes of the cells.
    """
    return f"{fact} in {count_rows(count)}, {outcome}; {KEEP_TO_YOURSELF}"


def missing_notice(count: int, replacement: str) -> str:
    """Return the notice about missing cells where the schema allows none."""
    return f"is missing in {count_rows(count)} where missing = false, counted as {replacement}; {KEEP_TO_YOURSELF}"
