"""One column of a table, cell by cell: text to number or category, conformed, checked, written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.schema import MISSING_WORDS, Categorical, Column, Numeric

T = TypeVar("T")

UNLISTED = -1
"""The code of a label that its column does not list."""


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
    """A raw column as values that the schema allows, float64 or object; see `common.tables.conform`."""
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


def check_column(cells: list[str], column: Column) -> tuple[list[str], list[str]]:
    """What is wrong with a column, each with limit and remedy; and what a reader should know. Never a cell's text."""
    return _check_numbers(cells, column) if isinstance(column, Numeric) else _check_labels(cells, column)


def _check_numbers(cells: list[str], column: Numeric) -> tuple[list[str], list[str]]:
    numbers = np.array(each(cells, number_of), dtype=np.float64)
    missing = np.array(each(cells, is_missing), dtype=bool)
    problems = _check_missing(int(missing.sum()), column)
    if text := int((np.isnan(numbers) & ~missing).sum()):
        problems.append(
            f"holds text that is no number in {count_rows(text)}; correct it or declare the column categorical"
        )
    if outside := int(((numbers < column.lower) | (numbers > column.upper)).sum()):
        limits = f"[{column.lower:.15g}, {column.upper:.15g}]" + (f" {column.unit}" if column.unit else "")
        problems.append(
            f"is outside {limits} in {count_rows(outside)}; widen the bounds in the study or correct the rows"
        )
    present = numbers[~np.isnan(numbers)]
    excess = np.abs(np.round(present, column.decimals) - present) > 1e-9 * np.maximum(1.0, np.abs(present))
    finer = int(excess.sum())
    return problems, [f"is rounded to {column.decimals} decimals in {count_rows(finer)}"] if finer else []


def _check_labels(cells: list[str], column: Categorical) -> tuple[list[str], list[str]]:
    codes = each(cells, coder(column))
    problems = _check_missing(codes.count(len(column.categories)), column)
    unlisted = codes.count(UNLISTED)
    if not unlisted:
        return problems, []
    if column.fallback is not None:
        return problems, [f"holds unlisted labels in {count_rows(unlisted)}, which become '{column.fallback}'"]
    listed = f"the study lists {len(column.categories)}"
    problems.append(f"holds unlisted labels in {count_rows(unlisted)} ({listed}); list them or declare a fallback")
    return problems, []


def _check_missing(count: int, column: Column) -> list[str]:
    if column.missing or not count:
        return []
    return [f"is missing in {count_rows(count)} where missing = false; drop those rows or declare missing = true"]


def count_rows(count: int) -> str:
    """The count with its unit."""
    return f"{count} row{'s' if count > 1 else ''}"
