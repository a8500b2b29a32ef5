"""Cells of a raw table: text of typed values, missing cells, numbers and dates in text, and counts of rows in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")

MISSING_WORDS = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "null", "NULL", "None", "?"})
"""Cell texts that mean "missing", unless a categorical column lists the text as a category of its own."""

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
        return math.nan
    return number if math.isfinite(number) else math.nan


def read_date(text: str, form: str) -> datetime | None:
    """Return the date that a cell writes in this format, without its time zone; None for any other text."""
    try:
        return datetime.strptime(text.strip(), form).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


CENSORED = re.compile(r"\s*(?:(<=?|≤)|(>=?|≥))\s*(\S+)\s*|\s*(\S+)\s*\+\s*")
"""A number of which only one side is known: "<0.1", "> 89", "90+"."""


def censored(text: str) -> tuple[int, float] | None:
    """Return the side and the number of a censored value: -1 for below, 1 for above; None for any other text."""
    match = CENSORED.fullmatch(text)
    if match is None:
        return None
    below, _, signed, plus = match.groups()
    number = number_of(signed if plus is None else plus)
    return None if math.isnan(number) else (-1 if below else 1, number)


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
