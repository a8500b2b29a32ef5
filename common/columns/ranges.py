"""Ranges of a column's values, as a person writes them: `60..80`, `..18`, `2020-01..2020-06`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from common.columns.base import TableColumn
from common.columns.cells import each, number_of, read_date
from common.columns.date import EPOCH, Dated
from common.columns.numeric import Numeric
from common.errors import StudyError

PARTIAL = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m", "%Y")
"""Formats of dates in ranges, besides the column's own; a month or year means all of it."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range of the values of a column of numbers or dates; both ends belong to it.

    Attributes:
        low, high: the ends, in numbers or seconds since 1970; infinite where a side is open.
        value_of: the number that a written cell stands for, NaN where it is none; one step beyond the bound where it
            is the declared text of all values beyond it.
    """

    low: float
    high: float
    value_of: Callable[[str], float]

    def holds(self, cells: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return which of the written cells are in the range; a missing one is not."""
        return np.array(each(cells, lambda cell: self.low <= self.value_of(cell) <= self.high), dtype=np.bool_)


def parse_range(column: TableColumn, text: str) -> Range:
    """Return the range LOW..HIGH of a column; one of the two may be empty.

    A declared text of a column of numbers (a missing code, `below` or `above`) is the range of the cells that hold it.

    Raises:
        StudyError: the text is no range, low is above high, or all of it is outside the declared bounds.
    """
    if isinstance(column, Numeric) and text in (*column.missing_codes, column.below, column.above):
        return Range(0.0, 0.0, partial(_zero_if, text))
    first, dots, last = text.partition("..")
    is_date = isinstance(column, Dated)
    example = "2020-01..2020-06" if is_date else "60..80"
    kind = "holds dates" if is_date else "is numeric"
    if not dots or not (first or last):
        raise StudyError(f"column '{column.name}' {kind}; give a range such as {column.name}={example}")
    if isinstance(column, Dated):
        form = column.date_format
        low, high = _moment(first, form, is_end=False), _moment(last, form, is_end=True)
        value_of: Callable[[str], float] = partial(_seconds_of, form)
    else:
        low = number_of(first) if first else -math.inf
        high = number_of(last) if last else math.inf
        value_of = partial(_number_of, column) if isinstance(column, Numeric) else number_of
    if math.isnan(low) or math.isnan(high) or low > high:
        raise StudyError(
            f"column '{column.name}' {kind}: its range is malformed or has low above high; write {example}"
        )
    if isinstance(column, Numeric):
        _refuse_outside(column, low, high)
    return Range(low, high, value_of)


def _zero_if(word: str, cell: str) -> float:
    """Return 0 for a cell that holds the word, else NaN."""
    return 0.0 if cell == word else math.nan


def _number_of(column: Numeric, cell: str) -> float:
    """Return the number of a written cell: one step beyond the bound for the text of all values beyond it."""
    beyond = {column.below: column.grid.lower, column.above: column.grid.upper}
    return math.nan if cell in column.missing_codes else beyond.get(cell, number_of(cell))


def _refuse_outside(column: Numeric, low: float, high: float) -> None:
    """Raise `StudyError` for a range that no value of the column is in, by its declared bounds."""
    least, most = column.grid.lower, column.grid.upper
    if high < least or low > most:
        raise StudyError(
            f"column '{column.name}' has the declared bounds {column.lower:.15g} to {column.upper:.15g}, and no value "
            f"of it is in the range; choose one within {column.lower:.15g}..{column.upper:.15g}"
        )


def _moment(text: str, form: str, *, is_end: bool) -> float:
    """Return an end of a range in seconds; NaN where it is no date.

    Args:
        text: a date in the column's format or in one of `PARTIAL`; empty for an open side.
        form: the column's format.
        is_end: the last second that the text stands for, not the first.
    """
    if not text:
        return math.inf if is_end else -math.inf
    for known in (form, *PARTIAL):
        moment = read_date(text, known)
        if moment is not None:
            return _seconds(_next(moment, known)) - 1 if is_end else _seconds(moment)
    return math.nan


def _next(moment: datetime, form: str) -> datetime:
    """Return the first moment after what a date of this format stands for."""
    if "%d" not in form and "%j" not in form and "%m" in form:
        return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
    if form == "%Y":
        return moment.replace(year=moment.year + 1)
    step = {"%S": 1, "%M": 60, "%H": 3600}
    return moment + timedelta(seconds=next((step[unit] for unit in step if unit in form), 86_400))


def _seconds_of(form: str, cell: str) -> float:
    return _seconds(read_date(cell, form))


def _seconds(moment: datetime | None) -> float:
    return math.nan if moment is None else (moment - EPOCH).total_seconds()
