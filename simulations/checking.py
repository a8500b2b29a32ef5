"""What is checked of a study before anybody runs it: its warnings, and tables against its schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.study.study import Study
from common.tables.formats import AS_WRITTEN
from common.tables.reading import Reading
from common.tables.roles import study_warnings
from simulations.federation.hospitals import Tables
from simulations.federation.patient_unit import check_rows_are_patients, patient_column_of
from simulations.federation.tables import check_tables


@dataclass(frozen=True, slots=True)
class StudyCheck:
    """What a check found.

    Attributes:
        tables: names of the tables, which all fit the schema.
        notices: what they hold that the schema changes, with exact counts: for their owners' eyes only.
        warnings: what is allowed and unwise about the study, and columns that identify people.
    """

    tables: tuple[str, ...]
    notices: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TablesToCheck:
    """Tables that a study is checked against.

    Attributes:
        data: one table, or a folder with one table per hospital, each perhaps with a mapping beside it.
        reading: what is declared about the files.
        mapping: mapping of one table's columns to the study; None where they have the study's names.
        patient_column: column that identifies the patient; None where every row is a patient.
        one_row_per_patient: a person declares that every row is another patient.
    """

    data: Path
    reading: Reading = AS_WRITTEN
    mapping: Path | None = None
    patient_column: str | None = None
    one_row_per_patient: bool = False


def check_study(study: Study, source: TablesToCheck | None) -> StudyCheck:
    """Return what a person should know about a study and its tables.

    Args:
        study: the study.
        source: the tables; None checks the study alone.

    Raises:
        DataError: a table cannot be read, or does not fit the schema: one line per problem of all tables.
        SiteError: the mapping cannot be read.
        StudyError: nothing says which rows are of the same patient, and the study is about patients.
    """
    tables: Tables = {}
    notices: list[str] = []
    if source is not None:
        patient_column = patient_column_of(study, source.patient_column)
        check_rows_are_patients(study, patient_column, one_row_per_patient=source.one_row_per_patient)
        tables, notices = check_tables(study, source.data, source.reading, patient_column, mapping_file=source.mapping)
    warnings = [f"{name}: {text}" for name, raw in tables.items() for text in study_warnings(study.declared, raw)]
    warnings += [] if tables else study_warnings(study.declared)
    return StudyCheck(tuple(tables), tuple(notices), (*study.warnings, *warnings))
