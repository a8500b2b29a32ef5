"""Tables of visits, ordered: all visits of a patient together, the earliest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.value_grid import ValueGrid
from common.errors import DataError
from common.evaluation.statistics.resampling import sampled_rows
from common.evaluation.statistics.values import numbers

DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, slots=True)
class VisitLayout:
    """The columns of a table of visits.

    Attributes:
        patient: column that says whose visit a row is.
        time: column that orders the visits of a patient: dates, or numbers such as days.
        static: columns that belong to the patient; the first visit's value counts.
        visit: columns that belong to the visit.
        target: visit column to predict for the next visit; None for none.
        grids: how the page shows numbers of the visit, by column; a column without is shown as plain numbers.
        time_unit: what times count, such as days; None where it is unknown.
    """

    patient: str
    time: str
    static: tuple[str, ...]
    visit: tuple[str, ...]
    target: str | None = None
    grids: Mapping[str, ValueGrid] = field(default_factory=dict, hash=False)
    time_unit: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that are compared, static columns first."""
        return (*self.static, *self.visit)


@dataclass(frozen=True, eq=False)
class OrderedVisits:
    """Visits by patient and then by time; equal times keep the order of the table.

    Attributes:
        table: the compared columns, one row per visit.
        times: time of every visit, in days or in the unit of the time column, shape (visits,).
        starts: index of the first visit of every patient, and the number of visits, shape (patients + 1,).
    """

    table: pd.DataFrame
    times: Floats
    starts: Integers

    @classmethod
    def of(cls, table: pd.DataFrame, layout: VisitLayout, role: str) -> OrderedVisits:
        """Order a table of visits.

        Args:
            table: one row per visit, in any order.
            layout: names of its columns.
            role: name of the table in messages, such as "synthetic".

        Raises:
            DataError: a column is absent, the table has no rows, or a visit has no patient or no time.
        """
        for name in (layout.patient, layout.time, *layout.columns):
            if name not in table.columns:
                raise DataError(f"the {role} visits lack column '{name}'; evaluate tables of one study")
        if table.empty:
            raise DataError(f"the {role} table has no visits; there is nothing to compare")
        patients, _ = pd.factorize(table[layout.patient], sort=False)
        if (patients < 0).any():
            raise DataError(
                f"column '{layout.patient}': {(patients < 0).sum()} {role} visits have no patient; drop them first"
            )
        times = times_of(table[layout.time], role)
        order = np.lexsort((times, patients))  # stable
        starts = np.concatenate([[0], np.cumsum(np.bincount(patients))])
        kept = table[list(layout.columns)].iloc[order].reset_index(drop=True)
        return cls(kept, times[order], starts.astype(np.int64))

    @property
    def patients(self) -> int:
        """Return the number of patients."""
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> Integers:
        """Return the number of visits of every patient, shape (patients,)."""
        return np.diff(self.starts)

    @cached_property
    def patient_of_visit(self) -> Integers:
        """Return the index of every visit's patient, shape (visits,)."""
        return np.repeat(np.arange(self.patients), self.lengths)

    @cached_property
    def with_next(self) -> Integers:
        """Return the index of every visit that has a next one of the same patient, shape (transitions,)."""
        return np.flatnonzero(self.patient_of_visit[:-1] == self.patient_of_visit[1:])

    def drawn(self, patients: Integers) -> OrderedVisits:
        """Return the histories of these patients, in this order; one that is listed twice counts as two patients."""
        lengths = self.lengths[patients]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.starts[patients] - starts[:-1], lengths) + np.arange(starts[-1])
        return OrderedVisits(self.table.iloc[rows].reset_index(drop=True), self.times[rows], starts)

    def sampled(self, patients: int, *names: str) -> OrderedVisits:
        """Return these histories, or those of a fixed random sample of `patients` of their patients."""
        if self.patients <= patients:
            return self
        return self.drawn(sampled_rows(self.patients, patients, *names))

    def first_of_each(self) -> pd.DataFrame:
        """Return the first visit of every patient."""
        return self.table.iloc[self.starts[:-1]].reset_index(drop=True)


def bootstrap_of(histories: OrderedVisits, patients: int, seed: int = 0) -> OrderedVisits:
    """Return as many patients, drawn with replacement: what a second sample of real patients would look like.

    Args:
        histories: real patients.
        patients: how many to draw.
        seed: seed of the draw.
    """
    return histories.drawn(np.random.default_rng(seed).integers(histories.patients, size=patients))


def times_of(column: pd.Series[Any], role: str) -> Floats:
    """Return times as numbers: days of dates, or the numbers themselves, shape (visits,).

    Args:
        column: dates or numbers.
        role: name of the table in messages.

    Raises:
        DataError: a cell holds neither.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        times = np.asarray((column - pd.Timestamp(0, tz=column.dt.tz)) / DAY, dtype=np.float64)
    else:
        times = numbers(column)
        if np.isnan(times).all():
            days = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
            times = np.asarray((days - pd.Timestamp(0, tz="UTC")) / DAY, dtype=np.float64)
    if absent := int(np.isnan(times).sum()):
        raise DataError(
            f"column '{column.name}': {absent} {role} visits have no time that can be read; write numbers or dates "
            "such as 2024-03-31"
        )
    return times
