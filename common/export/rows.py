"""The synthetic table that is exported, read in chunks of whole patients: flat rows, or visits with their patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.columns.base import Texts
from common.errors import DataError
from common.study.schema import VISIT, VISITS, Schema
from common.tables.formats import read_parts
from common.tables.parts import Part
from common.tables.raw import refuse_repeated
from common.tables.reading import Reading

FLAT, OF_VISITS, OF_PATIENTS = "synthetic.csv", "visits.csv", "patients.csv"
"""Names of the tables of a run."""

CHUNK_ROWS = 2**13
"""Most rows of a chunk, which bounds the memory of an export: a row becomes many facts."""

AS_FEDSYNTH_WRITES = Reading(separator=",", quote='"', decimal=".", encoding="utf-8")
"""How a table of a run is read: nothing is detected, so that every cell stays as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of whole patients. A row is a visit; a patient of a flat table has one.

    Attributes:
        persons: number of each row's patient, from 1 over the whole table.
        names: text that names the patient in the table; its number in a flat one.
        visits: number of the visit among the patient's, from 1.
        cells: the declared columns, by name; those of a patient are empty after the first visit.
    """

    persons: Integers
    names: Texts
    visits: Integers
    cells: dict[str, Texts]

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def firsts(self) -> Integers:
        """The row of each person's first visit."""
        return np.flatnonzero(self.visits == 1)


def flat_rows(path: Path, declared: Schema, part_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
    """Yield a table in which every row is a patient.

    Args:
        path: CSV file.
        declared: the study's columns, all of which the table has.
        part_rows: most rows of a chunk.

    Raises:
        DataError: the table cannot be read, or lacks a column or has another.
    """
    before = 0
    for part in _parts(path, [column.name for column in declared.columns], part_rows):
        persons = np.arange(before + 1, before + part.rows + 1)
        names = np.array([str(number) for number in persons], dtype=object)
        before += part.rows
        cells = {column.name: part.columns[column.name].every() for column in declared.columns}
        yield Rows(persons, names, np.ones(part.rows, dtype=np.int64), cells)


def visit_rows(visits: Path, patients: Path, declared: Schema, part_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
    """Yield a table of visits with the columns of its patients, whose order is the same in both files.

    Args:
        visits: CSV file of visits, those of a patient side by side and in order.
        patients: CSV file of patients.
        declared: the columns of a study of visits.
        part_rows: about the most rows of a chunk.

    Raises:
        DataError: a file cannot be read or lacks a column, or the two do not fit.
    """
    assert declared.patient is not None, "a study of visits"
    of_patient = [column.name for column in declared.columns if column.per == "patient"]
    of_visit = [column.name for column in declared.columns if column.per != "patient"]
    facts = _patients(patients, declared.patient, of_patient, part_rows)
    before = 0
    for frame in _whole_patients(visits, declared.patient, of_visit, part_rows):
        names, starts, owners = _visits_of(frame, visits, declared.patient)
        cells = {name: frame[name].to_numpy(dtype=object) for name in of_visit}
        cells |= _of_first_visits(facts, patients, of_patient, (names, starts, np.diff([*starts, len(names)])))
        yield Rows(before + owners + 1, names, np.arange(len(names)) - starts[owners] + 1, cells)
        before += len(starts)
    if next(facts, None) is not None:
        raise DataError(f"{patients.name}: has more patients than {visits.name}; restore both as the run left them")


def long_rows(path: Path, declared: Schema, part_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
    """Yield visits with the columns of their patients in one table, as `fedsynth sample` writes it.

    Args:
        path: CSV file, the visits of a patient side by side and in order.
        declared: the columns of a study of visits.
        part_rows: about the most rows of a chunk.

    Raises:
        DataError: the file cannot be read or lacks a column, or a column of the patient varies.
    """
    assert declared.patient is not None, "a study of visits"
    before = 0
    for frame in _whole_patients(path, declared.patient, list(declared.written_names), part_rows):
        names, starts, owners = _visits_of(frame, path, declared.patient)
        numbers = np.arange(len(names)) - starts[owners] + 1
        cells = {name: frame[name].to_numpy(dtype=object) for name in declared.written_names}
        for name in (column.name for column in declared.columns if column.per == "patient"):
            if (cells[name] != cells[name][starts][owners]).any():
                raise DataError(f"{path.name}: column '{name}' is of the patient and varies; correct the table")
            cells[name] = np.where(numbers == 1, cells[name], "").astype(object)
        yield Rows(before + owners + 1, names, numbers, cells)
        before += len(starts)


def _visits_of(frame: pd.DataFrame, path: Path, patient: str) -> tuple[Texts, Integers, Integers]:
    """Return the name of each row's patient, the first row of each patient, and each row's patient from 0.

    Raises:
        DataError: the visits of a patient are not numbered from 1.
    """
    names = frame[patient].to_numpy(dtype=object)
    is_first = np.concatenate([[True], names[1:] != names[:-1]])
    starts, owners = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    if [str(number) for number in np.arange(len(names)) - starts[owners] + 1] != frame[VISIT].tolist():
        raise DataError(f"{path.name}: the visits of a patient are not numbered from 1 side by side; sort them")
    return names, starts, owners


def _of_first_visits(
    facts: Iterator[tuple[str, ...]], path: Path, columns: list[str], chunk: tuple[Texts, Integers, Integers]
) -> dict[str, Texts]:
    """Return the columns of the patients, each cell at the patient's first visit.

    Args:
        facts: the patients that were not read yet: name, number of visits, cells.
        path: their file, for messages.
        columns: names of their columns.
        chunk: names of each row's patient, first row of each patient, and each patient's number of visits.
    """
    names, starts, lengths = chunk
    cells = {name: np.full(len(names), "", dtype=object) for name in columns}
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        patient, visits, *texts = next(facts, ("", ""))
        if patient != names[start] or visits != str(length):
            raise DataError(f"{path.name}: its patients are not those of the visits; restore both as the run left them")
        for name, text in zip(columns, texts, strict=True):
            cells[name][start] = text
    return cells


def _patients(path: Path, patient: str, columns: list[str], part_rows: int) -> Iterator[tuple[str, ...]]:
    for part in _parts(path, [patient, VISITS, *columns], part_rows):
        yield from zip(*(part.cells(name) for name in (patient, VISITS, *columns)), strict=True)


def _whole_patients(path: Path, patient: str, columns: list[str], part_rows: int) -> Iterator[pd.DataFrame]:
    """Yield the visits in parts that hold all visits of each patient."""
    wanted, held = [patient, VISIT, *columns], pd.DataFrame()
    for part in _parts(path, wanted, part_rows):
        frame = pd.DataFrame({name: part.columns[name].every() for name in wanted}, dtype=object)
        held = pd.concat([held, frame], ignore_index=True) if len(held) else frame
        names = held[patient].to_numpy(dtype=object)
        starts = np.flatnonzero(names[1:] != names[:-1]) + 1
        if len(starts):
            yield held.iloc[: starts[-1]]
            held = held.iloc[starts[-1] :].reset_index(drop=True)
    if len(held):
        yield held


def _parts(path: Path, columns: list[str], part_rows: int) -> Iterator[Part]:
    for part in read_parts(path, rows=part_rows, reading=AS_FEDSYNTH_WRITES):
        refuse_repeated(list(part.columns))
        for name in columns:
            if name not in part.columns:
                raise DataError(f"{path.name}: column '{name}' is missing; export a table that fedsynth wrote")
        if other := [name for name in part.columns if name not in columns]:
            raise DataError(f"{path.name}: column '{other[0]}' is not in the study and would be lost; remove it")
        yield part
