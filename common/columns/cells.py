"""One column of a table, cell by cell: text to number or category, conformed, checked, written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.study.schema import MISSING_WORDS, Categorical, Column, Numeric

T = TypeVar("T")

UNLISTED = -1
"""The code of a label that its column does not list."""

KEEP_TO_YOURSELF = "this number is a fact about your patients: do not pass it on"
"""Ends every notice whose count could tempt somebody to fit the public schema to the records."""


def each(cells: Iterable[Any], function: Callable[[Any], T]) -> list[T]:
    """The function of every cell, computed once per distinct cell."""
    listed = list(cells)
    known = {cell: function(cell) for cell in set(listed)}
    return [known[cell] for cell in listed]


def text_of(value: object) -> str:
    """A typed value as text: "63" for 63.0, "True" for True, "" for missing, the shortest exact decimals otherwise."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        # Adding zero turns -0.0 into 0.0.
        return "" if math.isnan(value) else np.format_float_positional(value + 0.0, trim="-")
    return str(value)


def is_missing(text: str) -> bool:
    """Whether the cell means "missing" in a column that does not list its text as a category."""
    return text.strip() in MISSING_WORDS


def number_of(text: str) -> float:
    """The finite number that the text writes, else NaN."""
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def coder(column: Categorical) -> Callable[[str], int]:
    """A function from a cell to its category's place; to `len(categories)` if missing; to `UNLISTED` if neither.

    The exact text is tried first, then without surrounding blanks, then as a number: "1.0" is the category "1".
    """
    places = {label: code for code, label in enumerate(column.categories)}
    numbers = {number_of(label): code for label, code in reversed(places.items()) if not math.isnan(number_of(label))}

    def code_of(text: str) -> int:
        for form in (text, text.strip()):
            if form in places:
                return places[form]
        if is_missing(text):
            return len(places)
        return numbers.get(number_of(text), UNLISTED)

    return code_of


def conform_column(cells: list[str], column: Column) -> npt.NDArray[Any]:
    """A raw column as values that the schema allows, float64 or object; see `common.tables.table.conform`."""
    if isinstance(column, Numeric):
        numbers = np.clip(np.array(each(cells, number_of), dtype=np.float64), column.lower, column.upper)
        # Adding zero turns -0.0 into 0.0.
        numbers = np.round(numbers, column.decimals) + 0.0
        return numbers if column.missing else np.where(np.isnan(numbers), column.lower, numbers)
    codes = np.array(each(cells, coder(column)), dtype=np.int64)
    lost = codes == UNLISTED if column.missing else (codes == UNLISTED) | (codes == len(column.categories))
    labels = np.array([*column.categories, None], dtype=object)
    return labels[np.where(lost, column.fallback_code, codes)]


def format_column(values: pd.Series[Any], column: Column) -> npt.NDArray[np.object_]:
    """A conformed column as text with the declared decimals, "" for missing."""
    if isinstance(column, Categorical):
        return np.where(values.notna(), values, "").astype(object)
    distinct, places = np.unique(values.to_numpy(dtype=np.float64), return_inverse=True)
    texts = ["" if np.isnan(value) else f"{value + 0.0:.{column.decimals}f}" for value in distinct]
    return np.array(texts, dtype=object)[places]


def check_column(cells: list[str], column: Column) -> list[str]:
    """Return what the table's owner should know about the cells that the schema changes, and what they become.

    No cell is an error: bounds, categories and missing flags are public and come from the data dictionary, so no record
    may decide them. What happens to each cell is what `conform_column` does. The texts count rows exactly, for the
    owner's eyes, and never hold a cell's text.
    """
    return _check_numbers(cells, column) if isinstance(column, Numeric) else _check_labels(cells, column)


def _check_numbers(cells: list[str], column: Numeric) -> list[str]:
    numbers = np.array(each(cells, number_of), dtype=np.float64)
    missing = np.array(each(cells, is_missing), dtype=bool)
    replacement = f"the lower bound, {column.lower:.15g}"
    notices = _check_missing(int(missing.sum()), column, replacement)
    if text := int((np.isnan(numbers) & ~missing).sum()):
        fate = "missing" if column.missing else replacement
        notices.append(f"holds text that is no number in {count_rows(text)}, counted as {fate}; {KEEP_TO_YOURSELF}")
    if outside := int(((numbers < column.lower) | (numbers > column.upper)).sum()):
        limits = f"[{column.lower:.15g}, {column.upper:.15g}]" + (f" {column.unit}" if column.unit else "")
        notices.append(f"is outside {limits} in {count_rows(outside)}, clamped to the bounds; {KEEP_TO_YOURSELF}")
    present = numbers[~np.isnan(numbers)]
    excess = np.abs(np.round(present, column.decimals) - present) > 1e-9 * np.maximum(1.0, np.abs(present))
    if finer := int(excess.sum()):
        notices.append(f"is rounded to {column.decimals} decimals in {count_rows(finer)}")
    return notices


def _check_labels(cells: list[str], column: Categorical) -> list[str]:
    codes = each(cells, coder(column))
    label = column.fallback if column.fallback is not None else column.categories[-1]
    replacement = f"the {'fallback' if column.fallback is not None else 'last category'}, '{label}'"
    notices = _check_missing(codes.count(len(column.categories)), column, replacement)
    if unlisted := codes.count(UNLISTED):
        is_lost = column.fallback_code == len(column.categories)
        fate = "missing" if is_lost else replacement
        notices.append(f"holds unlisted labels in {count_rows(unlisted)}, counted as {fate}; {KEEP_TO_YOURSELF}")
    return notices


def _check_missing(count: int, column: Column, replacement: str) -> list[str]:
    if column.missing or not count:
        return []
    return [f"is missing in {count_rows(count)} where missing = false, counted as {replacement}; {KEEP_TO_YOURSELF}"]


def count_rows(count: int) -> str:
    """The count with its unit."""
    return f"{count} row{'s' if count > 1 else ''}"
