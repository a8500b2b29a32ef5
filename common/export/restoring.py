"""An export read back into the table that it was made of, word for word."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.columns.base import TableColumn
from common.errors import DataError, StudyError, cause_of
from common.export.exporting import FORMATS, MANIFEST, STUDY, new_folder
from common.export.restoring_fhir import fhir_visits
from common.export.restoring_omop import omop_visits
from common.export.rows import FLAT, OF_PATIENTS, OF_VISITS
from common.export.visit_texts import VisitTexts, cell_of
from common.release import sha256_of
from common.study.schema import VISIT, VISITS
from common.study.study import Study, read_study
from common.system.files import refuse_existing

DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error, pa.ArrowException)
"""What reading a file raises that somebody changed."""

DATA_SUFFIXES = (".csv", ".duckdb", ".ndjson", ".parquet")
"""Suffixes of the files that an import reads."""


@dataclass(frozen=True, slots=True)
class RestorableExport:
    """An export that was read from its folder.

    Attributes:
        folder: where it is.
        to, form: its target and file format.
        study: with which it was written.
        is_one_table: whether visits and their patients were in one table, as `fedsynth sample` writes it.
    """

    folder: Path
    to: str
    form: str
    study: Study
    is_one_table: bool = False

    def visits(self) -> Iterator[VisitTexts]:
        """Yield what the visits say, in the order of the table. Raises `DataError` where a file is damaged."""
        is_omop = self.to == "omop"
        visits = omop_visits(self.folder, self.form, self.study) if is_omop else fhir_visits(self.folder, self.study)
        try:
            yield from visits
        except DAMAGED as problem:
            raise DataError(f"'{self.folder}' is damaged ({cause_of(problem)}); restore the export") from None


def read_export(folder: Path) -> RestorableExport:
    """Return what the files of an export say about it.

    Raises:
        StudyError: the folder is not an export, or its files do not belong together.
        DataError: a file is missing, or was changed after the export.
    """
    try:
        facts: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        to, form, fingerprint = str(facts["to"]), str(facts["format"]), str(facts["fingerprint"])
        is_one_table, digests = bool(facts["is_one_table"]), {**facts["files"]}
    except DAMAGED as problem:
        raise StudyError(
            f"'{folder}' is not an export of fedsynth: {MANIFEST} cannot be used ({cause_of(problem)}); name the "
            "folder that `fedsynth export` wrote"
        ) from None
    study = read_study(folder / STUDY)
    if study.fingerprint != fingerprint:
        raise StudyError(f"{STUDY} and {MANIFEST} in '{folder}' are of different studies; restore the export")
    if form not in FORMATS.get(to, ()):
        raise StudyError(f"{MANIFEST} in '{folder}' names an unknown format; restore the export")
    _refuse_changed(folder, digests)
    return RestorableExport(folder, to, form, study, is_one_table)


def _refuse_changed(folder: Path, digests: dict[str, object]) -> None:
    """Raise `DataError` where a file is not as the export wrote it, or is not listed in the manifest.

    Whoever changes a file can change its digest as well, so this finds accidents: a cut copy, or a spreadsheet that
    saved a table its own way.

    Args:
        folder: of the export.
        digests: SHA-256 of every file but the manifest, by name.
    """
    for name, digest in digests.items():
        if Path(name).name != name or not name.isprintable():
            raise DataError(
                f"{MANIFEST} in '{folder}' names a file outside of the folder, or one whose name cannot be printed; "
                "restore the export"
            )
        try:
            is_same = sha256_of(folder / name) == digest
        except OSError as problem:
            raise DataError(
                f"'{name}' in '{folder}' cannot be read ({cause_of(problem)}); restore the export"
            ) from None
        if not is_same:
            raise DataError(
                f"'{name}' in '{folder}' was changed after the export: its SHA-256 is not the one in {MANIFEST}; "
                "restore the file, or export again"
            )
    written = {path.name for path in folder.iterdir() if path.suffix in DATA_SUFFIXES}
    if unlisted := {STUDY, *written} - set(digests):
        raise DataError(
            f"{MANIFEST} in '{folder}' does not list {', '.join(map(repr, sorted(unlisted)))}, so changes of them "
            f"cannot be noticed; restore {MANIFEST}, remove files that the export did not write, or export again"
        )


def restore(exported: RestorableExport, out: Path) -> int:
    """Write the table of an export into a new folder, as a run writes it, and return its number of rows.

    Raises:
        StudyError: the folder exists or cannot be written.
        DataError: a file of the export is missing, damaged or incomplete.
    """
    refuse_existing(out)
    declared = exported.study.declared
    with new_folder(out) as folder:
        if declared.time is None:
            return _write(folder / FLAT, declared.columns, exported.visits())
        if exported.is_one_table:
            return _restore_long(exported, folder / FLAT)
        return _restore_visits(exported, folder)


def _write(path: Path, columns: Sequence[TableColumn], visits: Iterable[VisitTexts]) -> int:
    """Write the flat table and return its number of rows."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        for visit in visits:
            writer.writerow([cell_of(column, visit) for column in columns])
            rows += 1
    return rows


def _restore_visits(exported: RestorableExport, folder: Path) -> int:
    """Write the tables of visits and patients, and return the number of visits."""
    declared, rows = exported.study.declared, 0
    of_patient = [column for column in declared.columns if column.per == "patient"]
    of_visit = [column for column in declared.columns if column.per != "patient"]
    with ExitStack() as opened:
        files = [
            opened.enter_context((folder / name).open("w", encoding="utf-8", newline=""))
            for name in (OF_VISITS, OF_PATIENTS)
        ]
        visits, patients = (csv.writer(file, lineterminator="\n") for file in files)
        visits.writerow([declared.patient, VISIT, *(column.name for column in of_visit)])
        patients.writerow([declared.patient, VISITS, *(column.name for column in of_patient)])
        for patient, group in groupby(exported.visits(), key=attrgetter("patient")):
            listed = list(group)
            rows += len(listed)
            for number, visit in enumerate(listed, start=1):
                visits.writerow([patient, number, *(cell_of(column, visit) for column in of_visit)])
            patients.writerow([patient, len(listed), *(cell_of(column, listed[0]) for column in of_patient)])
    return rows


def _restore_long(exported: RestorableExport, path: Path) -> int:
    """Write visits with the columns of their patients as one table, and return the number of visits."""
    declared, rows = exported.study.declared, 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([declared.patient, VISIT, *declared.written_names])
        for patient, group in groupby(exported.visits(), key=attrgetter("patient")):
            listed = list(group)
            for number, visit in enumerate(listed, start=1):
                sources = [listed[0] if column.per == "patient" else visit for column in declared.columns]
                cells = [cell_of(column, source) for column, source in zip(declared.columns, sources, strict=True)]
                writer.writerow([patient, number, *cells])
            rows += len(listed)
    return rows
