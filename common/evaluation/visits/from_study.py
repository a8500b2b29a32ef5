"""The visits of a study as measures read them."""

from __future__ import annotations

import pandas as pd

from common.evaluation.visits.histories import VisitLayout
from common.study.courses import times_of
from common.study.schema import DERIVED, VISIT
from common.study.study import Study
from common.tables.conforming import conform

PATIENT, TIME = "patient of the visit", "time of the visit"
"""Columns that say whose visit a row is, and when it was: in the unit of the declared time, else the visit's number."""


def layout_of(study: Study) -> VisitLayout:
    """Return the modeled columns of a study of visits; the target where it is of the visit.

    Number and dates of the visits are left out: they have measures of their own.
    """
    static, visit = list[str](), list[str]()
    for column in study.table.columns:
        if column.name not in DERIVED:
            (static if column.per == "patient" else visit).extend(part.name for part in column.modeled)
    target = study.evaluation.target
    time = study.declared.time_column
    return VisitLayout(
        PATIENT,
        TIME,
        tuple(static),
        tuple(visit),
        target if target in visit else None,
        {column.name: column.grid for column in study.table.each() if column.name in visit and column.grid is not None},
        None if time is None else time.unit,
    )


def measured_visits(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return kept visits as the schema sees them, with the columns of `layout_of`.

    Args:
        rows: raw cells as `common.tables.visits.visit_rows` returns them, patient after patient.
        study: a study of visits.
    """
    return with_patient_and_time(conform(rows, study.table), study)


def with_patient_and_time(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return conformed visits, patient after patient and each in order, with the columns `PATIENT` and `TIME`.

    Args:
        frame: conformed visits of any number of hospitals; visit 1 begins a patient.
        study: a study of visits.
    """
    patients = (frame[VISIT] == "1").cumsum().to_numpy()
    has_times = study.declared.time_column is not None
    times = times_of(frame, study.declared) if has_times else frame[VISIT].astype(float)
    owned = frame.copy()
    owned[PATIENT], owned[TIME] = patients, times
    return owned
