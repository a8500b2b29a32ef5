"""Visits: which rows of a raw table are kept of each patient, in which order, and the columns derived from them.

No function here lets one patient's rows affect those of another, and no cell makes one fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.cells import count_rows, each, is_missing, number_of
from common.columns.date import Dated
from common.columns.numeric import Numeric
from common.errors import DataError
from common.study.schema import FIRST_VISIT, SINCE_LAST_VISIT, VISIT, VISITS, Schema
from common.study.study import Study
from common.tables.checking import check_table
from common.tables.patients import first_rows
from common.tables.raw import refuse_empty

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """The visits of every patient in order: each array has one entry for each visit, a patient's side by side.

    Attributes:
        rows: row of the raw table.
        patients: number of the patient, from 0.
        visit: which of the patient's visits it is, from 0.
        visits: how many the patient has.
        moments: the number by which visits are ordered.
    """

    rows: Integers
    patients: Integers
    visit: Integers
    visits: Integers
    moments: Floats

    def chosen(self, is_chosen: Booleans) -> Histories:
        """Return the chosen visits, counted again."""
        return _histories(self.rows[is_chosen], self.patients[is_chosen], self.moments[is_chosen])


def visit_rows(raw: pd.DataFrame, declared: Schema) -> pd.DataFrame:
    """Return the kept visits as rows of the modeled table, patient after patient and in the order of their times.

    Rows without a patient or a readable time belong to no history. Among equal times, the file's order decides.

    Args:
        raw: a raw table, one row per visit.
        declared: the declared columns, with those of patient and time.

    Returns:
        Raw cells of the patient column and of every column of `declared.modeled_table`.

    Raises:
        DataError: the patient or time column is not in the table.
    """
    kept = _kept(histories(raw, declared), declared)
    frame = raw.iloc[kept.rows].reset_index(drop=True)
    starts = np.flatnonzero(kept.visit == 0)
    last = kept.visits[starts] - 1 if declared.varying == "last" else 0
    owner = np.cumsum(kept.visit == 0) - 1
    for column in declared.columns:
        if column.per == "patient" and column.name in frame.columns:
            frame[column.name] = frame[column.name].to_numpy()[starts + last][owner]
    frame[VISITS] = kept.visits.astype(str)
    frame[VISIT] = (kept.visit + 1).astype(str)
    if (time := declared.time_column) is not None:
        cells = frame[time.name]
        frame[FIRST_VISIT] = cells.to_numpy()[starts][owner]
        if declared.interval is None:
            between = _since_last(cells, time)
            frame[SINCE_LAST_VISIT] = np.where(kept.visit == 0, "", between.astype(str)).astype(object)
    return frame


def patient_rows(raw: pd.DataFrame, study: Study, patient_column: str | None) -> pd.DataFrame:
    """Return the rows that stand for the patients of a table: their kept visits, or the first row of each.

    Args:
        raw: a raw table.
        study: says whether rows are visits.
        patient_column: column that identifies the patient where rows are no visits; None where every row is a patient.

    Raises:
        DataError: the patient or time column is not in the table.
    """
    return visit_rows(raw, study.declared) if study.has_visits else first_rows(raw, patient_column)


def patients_in(raw: pd.DataFrame, study: Study, patient_column: str | None) -> int:
    """Return the number of patients of a table, of those with a visit whose time can be read where rows are visits.

    The arguments are those of `patient_rows`.
    """
    if not study.has_visits:
        return len(first_rows(raw, patient_column))
    return int((histories(raw, study.declared).visit == 0).sum())


def check_records(
    raw: pd.DataFrame, study: Study, *, name: str, patient_column: str | None = None, target: str | None = None
) -> list[str]:
    """Return what the owner of a table should know, as `check_table` and, for visits, `check_visits` do.

    Args:
        raw: a raw table.
        study: the study, with its columns.
        name: name of the hospital or file, for messages.
        patient_column: column that identifies the patient where rows are no visits; None where every row is a patient.
        target: a column that must not be constant; None where another hospital may hold the other classes.

    Raises:
        DataError: the table cannot be used.
    """
    if not study.has_visits:
        return check_table(raw, study.table, name=name, patient_column=patient_column, target=target)
    declared = study.declared
    notices = check_visits(raw, declared, name=name)
    checked = declared.checked_table
    known = {declared.patient, declared.time, FIRST_VISIT, SINCE_LAST_VISIT}.difference(checked.names)
    rows = visit_rows(raw, declared).drop(columns=list(known), errors="ignore")
    return [*notices, *check_table(rows, checked, name=name, target=target)]


def histories(raw: pd.DataFrame, declared: Schema) -> Histories:
    """Return all visits with a patient and a readable time.

    Args:
        raw: a raw table, one row per visit.
        declared: the declared columns, with those of patient and time.

    Raises:
        DataError: the patient or time column is not in the table.
    """
    assert declared.patient is not None, "a table of visits"
    assert declared.time is not None, "a table of visits"
    for what, name in (("patient", declared.patient), ("time", declared.time)):
        if name not in raw.columns:
            raise DataError(f"{what} column '{name}' is not in the table; add it, or name another column")
    patients = [cell.strip() for cell in raw[declared.patient]]
    moments = _moments(raw[declared.time].tolist(), declared)
    is_known = ~np.isnan(moments) & ~np.array([is_missing(patient) for patient in patients], dtype=np.bool_)
    numbers: dict[str, int] = {}
    owners = np.array([numbers.setdefault(patient, len(numbers)) for patient in patients], dtype=np.int64)
    order = np.lexsort((moments, owners))  # stable: equal times stay in the file's order
    order = order[is_known[order]]
    return _histories(order, owners[order], moments[order])


def check_visits(raw: pd.DataFrame, declared: Schema, *, name: str) -> list[str]:
    """Return what the owner of a table of visits should know about its patients and times; counts are exact.

    Args:
        raw: a raw table, one row per visit.
        declared: the declared columns, with those of patient and time.
        name: name of the hospital or file, for messages.

    Raises:
        DataError: the table has no rows, no patient or time column, visits without a patient, or no visit with a
            readable time; or a column of the patient varies and `varying` is "refuse".
    """
    refuse_empty(raw, name)
    try:
        every = histories(raw, declared)
    except DataError as problem:
        raise DataError(f"{name}: {problem}") from None
    blank = sum(map(is_missing, raw[declared.patient]))
    if blank:
        raise DataError(
            f"{name}: patient column '{declared.patient}' is blank in {count_rows(blank)}; fill in or drop these rows"
        )
    if not len(every.rows):
        is_declared = declared.time in {column.name for column in declared.columns}
        remedy = "write numbers or dates such as 2024-02-15, or declare the column with its date_format"
        if is_declared:
            remedy = "write its cells in the form that the study declares (of dates, `date_format`)"
        raise DataError(f"{name}: no cell of time column '{declared.time}' can be read; {remedy}")
    notices = _varying(raw, declared, every, name)
    if unreadable := len(raw) - len(every.rows):
        notices.append(f"time column '{declared.time}' cannot be read in {count_rows(unreadable)}, which are left out")
    if tied := int(((every.visit > 0) & (np.diff(every.moments, prepend=math.nan) == 0)).sum()):
        notices.append(f"{count_rows(tied)} at the same time as the patient's row before, kept in the file's order")
    if every.visits.max() == 1:
        notices.append("no patient has two visits, so there are no steps from visit to visit to learn")
    kept = _kept(every, declared)
    if surplus := len(every.rows) - len(kept.rows):
        notices.append(f"{count_rows(surplus)} left out: at most {declared.most_visits} visits of a patient are kept")
    if off := _off_the_clock(raw, declared, kept):
        notices.append(
            f"{count_rows(off)} off the regular clock, not {declared.interval:g} after the visit before (interval); "
            "each counts as if it were on it"
        )
    return [f"{name}: {notice}" for notice in notices]


def _off_the_clock(raw: pd.DataFrame, declared: Schema, kept: Histories) -> int:
    """Return how many kept visits do not follow the regular clock of the study; 0 without one."""
    time = declared.time_column
    if declared.interval is None or time is None:
        return 0
    between = _since_last(raw[time.name].iloc[kept.rows], time)
    return int(((kept.visit > 0) & (between != declared.interval)).sum())


def _since_last(cells: pd.Series, time: Dated | Numeric) -> Floats:
    """Return the time from every row to the row before, with the decimals of the time column; NaN for the first row."""
    moments = np.asarray(time.conform(cells.tolist()), dtype=np.float64)
    return np.round(np.diff(moments, prepend=math.nan), time.grid.decimals)


def _varying(raw: pd.DataFrame, declared: Schema, every: Histories, name: str) -> list[str]:
    """Return notices about columns of the patient that vary within one, or raise `DataError` where they may not.

    Args:
        raw: a raw table.
        declared: the declared columns.
        every: the visits of the table.
        name: name of the hospital or file, for messages.
    """
    notices = []
    follows = np.flatnonzero(every.visit > 0)
    for column in declared.columns:
        if column.per != "patient" or column.name not in raw.columns:
            continue
        cells = raw[column.name].to_numpy()[every.rows]
        varying = len(set(every.patients[follows[cells[follows] != cells[follows - 1]]].tolist()))
        if not varying:
            continue
        text = f"column '{column.name}' is of the patient and varies within {varying} of them"
        if declared.varying == "refuse":
            raise DataError(f'{name}: {text}; correct it, set varying to first or last, or declare per = "visit"')
        notices.append(f"{text}: the {declared.varying or 'first'} kept visit counts")
    return notices


def _histories(rows: Integers, patients: Integers, moments: Floats) -> Histories:
    """Return the histories of visits that are in order already.

    Args:
        rows, patients, moments: as of `Histories`.
    """
    is_first = np.diff(patients, prepend=-1) != 0
    starts = np.flatnonzero(is_first)
    owner = np.cumsum(is_first) - 1
    visits = np.diff(starts, append=len(rows))
    return Histories(rows, patients, np.arange(len(rows)) - starts[owner], visits[owner], moments)


def _kept(every: Histories, declared: Schema) -> Histories:
    """Return at most `most_visits` visits of each patient, by a rule that looks at this patient alone."""
    most = declared.most_visits
    assert most is not None, "a table of visits"
    match declared.keep_visits:
        case "last":
            return every.chosen(every.visit >= every.visits - most)
        case "thinned":
            return every.chosen(_thinned(every, most))
        case _:
            return every.chosen(every.visit < most)


def _thinned(every: Histories, most: int) -> Booleans:
    """Return which visits are nearest to `most` evenly spaced ones, the first and the last among them."""
    chosen = every.visits <= most
    for number in range(most):
        nearest = np.floor(number * (every.visits - 1) / (most - 1) + 0.5)
        chosen |= every.visit == nearest
    return chosen


def _moments(cells: list[str], declared: Schema) -> Floats:
    """Return a number for every time, by which visits are ordered; NaN for one that cannot be read."""
    column = declared.time_column
    if column is None:
        return np.array(each(cells, moment), dtype=np.float64)
    readable = column.model_copy(update={"missing": True})  # missing stays apart from the lower bound
    return np.asarray(readable.conform(cells), dtype=np.float64)


def moment(cell: str) -> float:
    """Return the number or the ISO 8601 date that a cell writes, as a number; NaN for another text."""
    number = number_of(cell)
    if not math.isnan(number):
        return number
    try:
        moment = datetime.fromisoformat(cell.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan
