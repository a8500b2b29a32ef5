"""Synthetic histories as tables: one row per visit, and one per patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.columns.numeric import Numeric
from common.errors import DataError
from common.study.courses import times_of
from common.study.schema import VISIT, VISITS, Schema
from common.tables.conforming import format_table
from common.tables.formats import read_table

MOST_PATIENTS = 10**9
"""Patients of a synthetic table are numbered from 1 up to this number at most."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitTables:
    """A raw table of visits and one of patients, which the patient's number joins.

    Attributes:
        visits: patient, number of the visit, and the columns of the visit with the time, if it is declared.
        patients: patient, number of visits, and the columns of the patient.
    """

    visits: pd.DataFrame
    patients: pd.DataFrame


def long_table(frame: pd.DataFrame, declared: Schema) -> pd.DataFrame:
    """Return synthetic visits as one raw table: patient, number of the visit, and the declared columns.

    Args:
        frame: conformed visits, those of a patient side by side and in order.
        declared: the declared columns of a table of visits.
    """
    texts = format_table(frame, declared.modeled_table)
    is_first = (frame[VISIT] == "1").to_numpy()
    starts, owners = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    for column in declared.columns:
        if column.per == "patient" and not column.modeled:  # written row by row, and of the patient
            texts[column.name] = texts[column.name].to_numpy()[starts][owners]
    if declared.time_column is not None:
        texts[declared.time_column.name] = _times(frame, declared)
    texts[declared.patient] = (owners + 1).astype(str)
    return texts[[declared.patient, VISIT, *declared.written_names]]


def visit_tables(frame: pd.DataFrame, declared: Schema) -> VisitTables:
    """Return synthetic visits as two tables; the arguments are those of `long_table`."""
    rows = long_table(frame, declared)
    of_patient = [column.name for column in declared.columns if column.per == "patient"]
    patients = rows[(rows[VISIT] == "1")].copy()
    patients[VISITS] = frame[VISITS].to_numpy()[rows[VISIT] == "1"]
    return VisitTables(
        rows.drop(columns=of_patient),
        patients[[declared.patient, VISITS, *of_patient]].reset_index(drop=True),
    )


def joined_visits(folder: Path, declared: Schema) -> pd.DataFrame:
    """Return the synthetic visits of a run's folder as raw rows, one per visit, with the columns of the patient.

    The number of a visit stands in the time column where the time is not declared, and so not synthesized.

    Args:
        folder: holds `visits.csv` and `patients.csv`.
        declared: the declared columns, with those of patient and time.

    Raises:
        DataError: a file cannot be read.
    """
    visits, patients = (read_table(folder / name) for name in ("visits.csv", "patients.csv"))
    for name, table in (("visits.csv", visits), ("patients.csv", patients)):
        if declared.patient not in table.columns:
            raise DataError(f"'{folder / name}' has no patient column '{declared.patient}'; give tables of one study")
    rows = visits.merge(patients.drop(columns=VISITS, errors="ignore"), on=declared.patient, how="left").fillna("")
    return _timed(rows, declared)


def read_visits(path: Path, declared: Schema) -> pd.DataFrame:
    """Return visits as raw rows: of one long table, or of a folder with `visits.csv` and `patients.csv`.

    Args:
        path: file or folder, real or synthetic, such as a simulation writes or `fedsynth sample`.
        declared: the declared columns, with those of patient and time.

    Raises:
        DataError: a file cannot be read.
    """
    if (path / "visits.csv").is_file():
        return joined_visits(path, declared)
    return _timed(read_table(path), declared)


def _timed(rows: pd.DataFrame, declared: Schema) -> pd.DataFrame:
    """Return the rows with a time: the number of the visit where times are not synthesized."""
    if declared.time_column is None and declared.time not in rows.columns and VISIT in rows.columns:
        rows = rows.assign(**{str(declared.time): rows[VISIT]})
    return rows.drop(columns=VISIT, errors="ignore")


def long_schema(declared: Schema) -> Schema:
    """Return the columns of `long_table`, for writers that need types."""
    assert declared.patient is not None, "a table of visits"
    numbers = [Numeric(name=name, lower=1, upper=MOST_PATIENTS) for name in (declared.patient, VISIT)]
    columns = [column.model_copy(update={"per": None}) for column in declared.columns]
    return Schema(columns=(*numbers, *columns))


def _times(frame: pd.DataFrame, declared: Schema) -> np.ndarray:
    """Return the written time of every visit. A history that runs over the upper bound of the column ends there.

    Args:
        frame: conformed visits.
        declared: the declared columns, with a time.
    """
    column = declared.time_column
    assert column is not None, "checked by the caller"
    moments = times_of(frame, declared).to_numpy(dtype=np.float64)
    bounded = np.round(np.minimum(moments, column.grid.upper), column.grid.decimals)
    return column.format(pd.Series(bounded))
