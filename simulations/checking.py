"""What is checked of a study before anybody runs it: its warnings, and tables against its schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.study.study import Study
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


def check_study(
    study: Study, data: Path | None, reading: Reading, patient_column: str | None, *, one_row_per_patient: bool = False
) -> StudyCheck:
    """Return what a person should know about a study and its tables.

    Args:
        study: the study.
        data: one table, or a folder with one table per hospital; None checks the study alone.
        reading: what is declared about the files.
        patient_column: column that identifies the patient; None where every row is a patient.
        one_row_per_patient: a person declares that every row is another patient.

    Raises:
        DataError: a table cannot be read, or does not fit the schema: one line per problem of all tables.
        StudyError: nothing says which rows are of the same patient, and the study is about patients.
    """
    tables: Tables = {}
    notices: list[str] = []
    if data is not None:
        patient_column = patient_column_of(study, patient_column)
        check_rows_are_patients(study, patient_column, one_row_per_patient=one_row_per_patient)
        tables, notices = check_tables(study, data, reading, patient_column)
    warnings = [f"{name}: {text}" for name, raw in tables.items() for text in study_warnings(study.declared, raw)]
    warnings += [] if tables else study_warnings(study.declared)
    return StudyCheck(tuple(tables), tuple(notices), (*study.warnings, *warnings))
