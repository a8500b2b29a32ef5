"""The hospitals' tables of a simulation: as they come, or one table split by a column or by patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.errors import DataError, StudyError
from common.harmonization.source import open_source
from common.study.study import Study
from common.tables.formats import AS_WRITTEN, described, is_table, read_table
from common.tables.image_files import read_images
from common.tables.parts import join
from common.tables.reading import Reading
from common.tables.visits import check_records
from simulations.federation.hospitals import (
    Tables,
    hospitals_from_column,
    hospitals_from_directory,
    mapping_of,
    table_files,
    tables_of_built_in,
)
from simulations.federation.omop import omop_table
from simulations.federation.partition import HashSplit, hospitals_by_hash
from simulations.federation.patient_unit import check_rows_are_patients, patient_column_of
from simulations.federation.prepare import SmallHospitals

DEFAULT_HOSPITALS = 4
"""Default number of hospitals into which a single table is split."""


@dataclass(frozen=True, slots=True)
class TableSplit:
    """How one table becomes the tables of several hospitals.

    Attributes:
        site_column: column that names each row's hospital; it is not synthesized.
        hospitals: number of random hospitals; 1 is the centralized case. None keeps the tables as they come.
        skew: Dirichlet concentration with which random hospitals share the target's classes; None shares evenly.
        patient_column: column that identifies the patient; all rows of a patient go to one hospital.
        reading: what is declared about the files of the tables; the rest is detected.
        small_hospitals: what becomes of hospitals below the minimum of patients; None refuses them.
        one_row_per_patient: a person declares that every row is another patient.

    Raises:
        StudyError: two ways to split at once, or a skew without a number of hospitals.
    """

    site_column: str | None = None
    hospitals: int | None = None
    skew: float | None = None
    patient_column: str | None = None
    reading: Reading = AS_WRITTEN
    small_hospitals: SmallHospitals | None = None
    one_row_per_patient: bool = False

    def __post_init__(self) -> None:
        if self.skew is not None and self.hospitals is None:
            raise StudyError("--skew shapes a split into --hospitals; give both")
        if self.site_column is not None and self.hospitals is not None:
            raise StudyError("--site-column and --hospitals are two ways to split a table; give one of them")

    def notices(self, data: Path | None) -> list[str]:
        """Return what a reader should know about this way to read and split `data`, one text per notice.

        Raises:
            DataError: a table cannot be read.
        """
        files = [] if data is None else _files(data)
        notices = [text for path in files for text in described(path, self.reading)]
        if data is not None and _is_folder(data):
            mappings = [(path, mapping) for path in files if (mapping := mapping_of(path)) is not None]
            notices += [f"{path.name} is harmonized by {mapping.name}" for path, mapping in mappings]
        if self.hospitals is None or (data is not None and not _is_folder(data)):
            return notices
        source = "the built-in hospitals' tables" if data is None else f"the tables of '{data}'"
        return [
            *notices,
            f"--hospitals {self.hospitals} puts {source} together and splits them at random; leave it out to keep each "
            "table as one hospital",
        ]

    def open(self, study: Study, data: Path | None, *, notices: list[str] | None = None) -> tuple[Tables, bool]:
        """Read the tables and split them.

        Args:
            study: its schema is checked against a single table; its seed decides who goes where.
            data: one table, or a folder with one table per hospital; None opens the declared database of a study on
                OMOP databases, else the built-in tables, whose rows are one patient each.
            notices: gets what the hospitals' mappings could not read, with cells and counts.

        Returns:
            raw tables by hospital, and whether these hospitals replace those that the study lists.

        Raises:
            DataError: a table cannot be read or does not fit the schema.
            StudyError: there is no single table to split by `site_column`, the study synthesizes that column, one
                hospital would share its noise, or nothing says whether the rows are patients.
        """
        patient_column = patient_column_of(study, self.patient_column)
        one_each = self.one_row_per_patient or (data is None and patient_column is None)
        check_rows_are_patients(study, patient_column, one_row_per_patient=one_each)
        tables, is_new = self._read(study, data, notices)
        if study.privacy.noise == "distributed" and len(tables) == 1:
            raise StudyError("one hospital has no other to share its noise with; add --noise local")
        return tables, is_new

    def _read(self, study: Study, data: Path | None, notices: list[str] | None) -> tuple[Tables, bool]:
        hospitals = self.hospitals
        if self.site_column is not None:
            if data is None or _is_folder(data):
                raise StudyError("--site-column splits one table; give that table as --data")
            if self.site_column in study.read_names:
                raise StudyError(
                    f"column '{self.site_column}' names the site and is also in the study; draft the study again with "
                    f"--site-column {self.site_column}, or delete the column from it"
                )
        if data is None and study.extraction is not None:
            tables = {study.name: omop_table(study, self.reading, notices=notices)}
            hospitals = hospitals or DEFAULT_HOSPITALS
        elif data is None:
            tables = tables_of_built_in(study)
        elif _is_folder(data):
            tables = hospitals_from_directory(data, self.reading, notices=notices)
            tables = {name: read_images(raw, study.images, data, name) for name, raw in tables.items()}
        else:
            raw = read_images(read_table(data, self.reading), study.images, data.parent, data.name)
            target = study.evaluation.target
            check_records(raw, study, name=data.name, patient_column=self.patient_column, target=target)
            if self.site_column is not None:
                return hospitals_from_column(raw, self.site_column), False
            tables, hospitals = {data.stem: raw}, hospitals or DEFAULT_HOSPITALS
        if hospitals is None:
            return tables, False
        whole = pd.concat(tables.values(), ignore_index=True).fillna("")
        column = patient_column_of(study, self.patient_column)
        split = HashSplit(study.table, study.evaluation.target, study.seed, self.skew, column)
        return hospitals_by_hash(whole, hospitals, split), True


def check_tables(
    study: Study, data: Path, reading: Reading, patient_column: str | None, *, mapping_file: Path | None = None
) -> tuple[Tables, list[str]]:
    """Return the checked tables, and notices about all of them, with exact counts: for their owners' eyes only.

    Args:
        study: the study.
        data: one table, or a folder with one table per hospital, each perhaps with a mapping.
        reading: what is declared about the files.
        patient_column: column that identifies the patient; None where every row is a patient.
        mapping_file: mapping of one table; None for none.

    Raises:
        DataError: a table cannot be read, or does not fit the schema: one line per problem of all tables.
        StudyError: a mapping is given for a folder, where each table has its own.
    """
    if mapping_file is not None and _is_folder(data):
        raise StudyError(f"--mapping is of one table; in folder '{data}', name each mapping as its table: north.toml")
    notices = [text for path in _files(data) for text in described(path, reading)]
    if _is_folder(data):
        tables = hospitals_from_directory(data, reading, notices=notices)
    else:
        source = open_source(data, mapping_file, reading=reading)
        tables = {data.name: join(list(source.parts()))}
        notices += source.found + source.notices()
    folder = data if _is_folder(data) else data.parent
    tables = {name: read_images(raw, study.images, folder, name) for name, raw in tables.items()}
    target = study.evaluation.target if len(tables) == 1 else None  # another hospital may hold the other classes
    problems = []
    for name, raw in tables.items():
        try:
            notices += check_records(raw, study, name=name, patient_column=patient_column, target=target)
        except DataError as problem:
            problems.append(str(problem))
    if problems:
        raise DataError("\n".join(problems))
    return tables, notices


def _files(data: Path) -> list[Path]:
    return list(table_files(data).values()) if _is_folder(data) else [data]


def _is_folder(path: Path) -> bool:
    """Return whether the path is a folder of hospitals; a folder of Parquet parts is one table."""
    return path.is_dir() and not is_table(path)
