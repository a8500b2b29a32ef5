"""When a visit was, how long a person is observed, and the year of birth: from mapped columns, in chunks of rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from common.columns.base import Texts
from common.columns.cells import each, number_of, read_date
from common.columns.date import Dated
from common.columns.numeric import Numeric
from common.errors import DataError
from common.export.entries import MappedColumn
from common.export.mapping import DAYS, ExportMapping
from common.export.rows import Rows
from common.study.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """When the visits of some rows were.

    Attributes:
        starts, ends: first and last moment of each visit; a `date` where the table has no time of day.
        birth_years: year of birth of each row's patient, by the patient's first visit; None where unknown.
        birth_dates: date of birth of each row's patient; None where only the year is known, or nothing.
    """

    starts: list[date]
    ends: list[date]
    birth_years: list[int | None]
    birth_dates: list[date | None]


def moments_of(rows: Rows, declared: Schema, mapping: ExportMapping) -> Moments:
    """Return when the visits of a chunk were.

    A row without a date is on the index date, each later visit of a patient one day after the one before. A visit ends
    when it starts, unless a column says so, and says no earlier day.

    Args:
        rows: whole patients.
        declared: the study's columns.
        mapping: which columns are dates, age and birth.

    Raises:
        DataError: the visits of a patient are not in order, or a time is beyond the calendar.
    """
    starts = _starts(rows, declared, mapping)
    ended = _dates(rows, declared, mapping.going_to("visit_end"))
    ends = [
        _like(end, start) if end is not None and _day(end) >= _day(start) and _like(end, start) >= start else start
        for start, end in zip(starts, ended, strict=True)
    ]
    for index in np.flatnonzero(rows.visits[1:] > 1).tolist():
        if starts[index + 1] < starts[index]:
            raise DataError("the visits of a patient are not in the order of their time; sort them")
    born = _dates(rows, declared, mapping.going_to("birth_date"))
    ages = _ages(rows, declared, mapping.going_to("age"))
    years: list[int | None] = []
    days: list[date | None] = []
    for visit, start, birth, age in zip(rows.visits.tolist(), starts, born, ages, strict=True):
        if visit > 1:
            years.append(years[-1])
            days.append(days[-1])
        else:
            year = birth.year if birth is not None else None if age is None else max(start.year - int(age), 1)
            years.append(year)
            days.append(None if birth is None else _day(birth))
    return Moments(starts, ends, years, days)


def _starts(rows: Rows, declared: Schema, mapping: ExportMapping) -> list[date]:
    name = mapping.starts_of(declared)
    column = next((column for column in declared.columns if column.name == name), None)
    first = date.fromisoformat(mapping.index_date)
    if isinstance(column, Numeric):
        return _counted(rows.cells[column.name], first, DAYS[mapping.time_unit])
    dates = _dates(rows, declared, name if isinstance(column, Dated) else None)
    later = [first + timedelta(days=int(visit) - 1) for visit in rows.visits]
    return [other if moment is None else moment for moment, other in zip(dates, later, strict=True)]


def _counted(cells: Texts, first: date, days: float) -> list[date]:
    """Return the days that numbers count from the index date."""

    def day_of(cell: str) -> date:
        number = number_of(cell.replace(",", "."))
        try:
            return first + timedelta(days=0 if np.isnan(number) else int(np.floor(number * days)))
        except OverflowError:
            raise DataError("a time lies beyond the years 1 to 9999; correct index_date or time_unit") from None

    return each(cells, day_of)


def _dates(rows: Rows, declared: Schema, name: str | None) -> list[date | None]:
    """Return the dates of a column, `date` where it has no time of day; None where it is missing, or there is none."""
    column = next((column for column in declared.columns if column.name == name), None)
    if not isinstance(column, Dated):
        return [None] * len(rows)
    is_day, form = column.kind == "date", column.date_format

    def moment_of(cell: str) -> date | None:
        moment = read_date(cell, form)
        return moment if moment is None or not is_day else moment.date()

    return each(rows.cells[column.name], moment_of)


def _ages(rows: Rows, declared: Schema, name: str | None) -> list[float | None]:
    column = next((column for column in declared.columns if column.name == name), None)
    if column is None:
        return [None] * len(rows)
    mapped = MappedColumn(column, ExportMapping().of(column.name))

    def age_of(cell: str) -> float | None:
        entries = mapped.entries(cell)
        return entries[0].number if entries else None

    return each(rows.cells[column.name], age_of)


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _like(moment: date, other: date) -> date:
    """Return a moment as precise as another, so that the two compare."""
    if not isinstance(other, datetime):
        return _day(moment)
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)


def day_of(moment: date) -> str:
    """Return the day of a moment in ISO 8601."""
    return moment.isoformat()[:10]
