"""Columns of dates and of dates with a time of day, counted in whole months, days, hours, minutes or seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.arrays import Floats, Integers
from common.columns.base import Column, TableColumn, Texts
from common.columns.binning import Binning
from common.columns.calendar import Calendar
from common.columns.cells import OFFSET, date_of, each, is_missing, missing_notice, notice, read_date, standard_date
from common.columns.compact import Compact, is_present, pack
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_dates import draft_datetime, draft_day, draft_month
from common.columns.grid_code import GridCode, GridHistogram, points_of
from common.columns.rounding import RoundValues
from common.columns.value_grid import ValueGrid, strata_of
from common.settings import Readable

EPOCH = datetime(1970, 1, 1)
"""Conformed dates count from here, so that all date columns of a study compare."""

EXAMPLE = datetime(2001, 12, 28, 23, 58, 59)
"""A moment that a format has to write and read back, to the resolution."""

SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
"""Seconds of a unit of the resolution; a month has no fixed number of them."""

FIRST_DAY, LAST_DAY = datetime.min, datetime.max
"""The calendar: no date before or after can be written."""


class Dated(Column):
    """A date between two declared ones, in a declared `date_format` (of `strftime`).

    With `since`, the name of another date column, it is modeled as the time from that date in the same row, from
    `least` to `most` in units of the resolution: a discharge is never before its admission.
    """

    lower: Readable | None = None
    upper: Readable | None = None
    date_format: Readable = "%Y-%m-%d"
    since: Readable | None = None
    least: int | None = Field(default=None, ge=-(10**9), le=10**9)
    most: int | None = Field(default=None, ge=-(10**9), le=10**9)

    @property
    def unit(self) -> str:
        """The unit in which conformed values count: months, days, hours, minutes or seconds."""
        return "days"

    @model_validator(mode="after")
    def _check(self) -> Self:
        where = f"column '{self.name}':"
        try:
            again = read_date(EXAMPLE.strftime(self.date_format), self.date_format)
        except ValueError:
            again = None
        if again is None or self._count(again) != self._count(EXAMPLE):
            raise ValueError(f"{where} date_format cannot be read back; {self._remedy(again)}")
        if self.since is not None:
            if self.least is None or self.most is None or not self.least < self.most:
                raise ValueError(
                    f"{where} since needs least and most, the bounds of the time between, least below most"
                )
            if self.lower is not None or self.upper is not None:
                raise ValueError(f"{where} has since and bounds of its own; remove lower and upper")
            return self
        if self.least is not None or self.most is not None:
            raise ValueError(f"{where} least and most need since, the column from which the time counts; add it")
        edges = [None if edge is None else read_date(edge, self.date_format) for edge in (self.lower, self.upper)]
        if edges[0] is None or edges[1] is None:
            raise ValueError(
                f"{where} lower and upper are dates in its date_format, '{self.date_format}'; correct them"
            )
        if not self._count(edges[0]) < self._count(edges[1]):
            raise ValueError(f"{where} lower must be before upper; swap or widen the bounds")
        return self

    def _remedy(self, again: datetime | None) -> str:
        """Return what to do about a format that reads `again` from the example that it writes."""
        if "%z" in self.date_format or "%Z" in self.date_format:
            return (
                "leave the offset out, as cells are read with and without one, or write that of all times, as in "
                "'%Y-%m-%dT%H:%M:%S+01:00'"
            )
        if again is not None and (again.year, again.month) == (EXAMPLE.year, EXAMPLE.month) and self.kind == "date":
            return 'it has no day: write one, or declare resolution = "months"'
        return "write one such as '%d.%m.%Y'"

    def _count(self, moment: datetime | None) -> float:
        """Return the moment in units since the epoch, cut to a whole unit; NaN for None."""
        if moment is None:
            return math.nan
        if self.unit == "months":
            return float(12 * (moment.year - EPOCH.year) + moment.month - EPOCH.month)
        return float((moment - EPOCH) // timedelta(seconds=SECONDS[self.unit]))

    def _count_of(self, cell: str) -> float:
        return self._count(date_of(cell, self.date_format))

    @property
    def needs(self) -> tuple[str, ...]:
        return () if self.since is None else (self.since,)

    def problem(self, others: Mapping[str, TableColumn]) -> str | None:
        if self.since is None:
            return None
        other = others[self.since]
        if not isinstance(other, Dated) or other.since is not None or other.unit != self.unit:
            return f"has since = '{self.since}', which is not a date of the same resolution with bounds; correct it"
        if other.missing and not self.missing:
            return f"counts from '{self.since}', which may be missing; set missing = true for both or neither"
        first, last = other.grid.lower + self.grid.lower, other.grid.upper + self.grid.upper
        if first < self._count(FIRST_DAY) or last > self._count(LAST_DAY):
            return (
                f"with least and most reaches beyond the years 1 to 9999 from the bounds of '{self.since}'; narrow "
                f"least and most, or the bounds of '{self.since}'"
            )
        return None

    @property
    def grid(self) -> ValueGrid:
        if self.since is not None:
            assert self.least is not None, "checked"
            assert self.most is not None, "checked"
            return ValueGrid(float(self.least), float(self.most), 0, f"{self.unit} since {self.since}")
        lower, upper = (self._count_of(edge or "") for edge in (self.lower, self.upper))
        return ValueGrid(lower, upper, 0, f"{self.unit} since 1970-01-01", calendar=Calendar(self.unit))

    @property
    def scale(self) -> str | None:
        return self.grid.unit

    @property
    def outlying_cell(self) -> str:
        return self.upper if self.upper is not None else datetime(2100, 1, 1).strftime(self.date_format)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return units since the epoch, clamped to the bounds, NaN for missing and for text that is not a date.

        Where missing is not allowed it becomes the lower bound. With `since`, `relate` clamps.
        """
        counts = np.array(each(cells, self._count_of), dtype=np.float64)
        return counts if self.since is not None else self._bounded(counts)

    def _bounded(self, counts: Floats) -> Floats:
        """Return counts clamped to the bounds, and the lower one for missing where that is not allowed."""
        numbers = self.grid.clamp(counts)
        return numbers if self.missing else np.where(np.isnan(numbers), self.grid.lower, numbers)

    def relate(self, values: dict[str, npt.NDArray[Any]]) -> None:
        if self.since is not None:
            values[self.name] = self._bounded(values[self.name] - values[self.since])

    def check(self, cells: list[str]) -> list[str]:
        counts = np.array(each(cells, self._count_of), dtype=np.float64)
        missing = np.array(each(cells, is_missing), dtype=bool)
        replacement = f"the lower bound, {self.lower}" if self.since is None else f"{self.least} {self.unit}"
        notices = []
        if not self.missing and missing.any():
            notices.append(missing_notice(int(missing.sum()), replacement))
        if text := int((np.isnan(counts) & ~missing).sum()):
            outcome = "missing" if self.missing else replacement
            notices.append(notice(f"holds text that is not a date '{self.date_format}'", text, f"counted as {outcome}"))
        if self.since is None and (outside := int(((counts < self.grid.lower) | (counts > self.grid.upper)).sum())):
            notices.append(notice(f"is outside [{self.lower}, {self.upper}]", outside, "clamped to the bounds"))
        if OFFSET.search(self.date_format) is None:
            moments = each(cells, standard_date)
            if shifted := sum(moment is not None and moment.tzinfo is not None for moment in moments):
                where = "holds times with an offset from UTC"
                notices.append(notice(where, shifted, "counted as the clock showed there"))
        return notices

    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        """Return dates of units since the epoch; "" for missing."""
        return self._texts(values.to_numpy(dtype=np.float64))

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        counts = frame[self.name].to_numpy(dtype=np.float64)
        return self._texts(counts if self.since is None else counts + frame[self.since].to_numpy(dtype=np.float64))

    def _texts(self, counts: Floats) -> Texts:
        within = np.clip(counts, self._count(FIRST_DAY), self._count(LAST_DAY))  # never fails (`TableColumn.write`)
        distinct, indices = np.unique(within, return_inverse=True)
        texts = ["" if np.isnan(count) else self._moment(int(count)).strftime(self.date_format) for count in distinct]
        return np.array(texts, dtype=object)[indices]

    def _moment(self, count: int) -> datetime:
        """Return the first moment of a unit, by its number since the epoch."""
        if self.unit == "months":
            return datetime(EPOCH.year + count // 12, 1 + count % 12, 1)
        return EPOCH + count * timedelta(seconds=SECONDS[self.unit])

    def compact(self, values: pd.Series) -> Compact:
        present = is_present(values)
        points = np.zeros(len(values), dtype=np.int64)
        points[present] = points_of(values, self.grid)
        return pack(points, present, self.grid.size)

    def max_codes(self, bins: int) -> int:
        return min(bins, self.grid.size) + self.missing

    def code(self, noisy: Integers, binning: Binning) -> GridCode:
        return GridCode.of(self.histogram(binning.cells), noisy, binning)

    def histogram(self, cells: int) -> GridHistogram:
        return GridHistogram.of(self.grid, RoundValues(), cells, missing=self.missing)

    def strata(self, values: pd.Series) -> list[str]:
        return strata_of(values, self.grid.lower, self.grid.upper)

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return self.grid.values(rng.integers(0, self.grid.size, rows))


class Date(Dated):
    """A day, or a month where the `resolution` says so."""

    kind: Literal["date"] = "date"
    resolution: Literal["months", "days"] = Field(default="days", exclude_if=lambda unit: unit == "days")

    @property
    def unit(self) -> str:
        return self.resolution

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_day(evidence) or draft_month(evidence)


class Datetime(Dated):
    """A day with a time, cut to whole units of the `resolution`."""

    kind: Literal["datetime"] = "datetime"
    date_format: Readable = "%Y-%m-%d %H:%M"
    resolution: Literal["hours", "minutes", "seconds"] = "minutes"

    @property
    def unit(self) -> str:
        return self.resolution

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_datetime(evidence)
