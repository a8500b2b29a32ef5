"""Whether the rows of a reader's table are patients: a study with unit "patient" needs a declaration."""

from __future__ import annotations

from common.errors import StudyError
from common.omop.domains import PERSON_ID
from common.study.study import Study


def check_rows_are_patients(study: Study, patient_column: str | None, *, one_row_per_patient: bool) -> None:
    """Refuse a guarantee for patients where nothing declares which rows of the table belong to one patient.

    A hospital declares the same in its site.toml.

    Args:
        study: its unit is what the guarantee is about.
        patient_column: column that identifies the patient.
        one_row_per_patient: whether a person declares that every row is another patient.

    Raises:
        StudyError: the unit is the patient and neither is given, or both are.
    """
    if patient_column is not None and one_row_per_patient:
        raise StudyError(
            "--patient-column and --one-row-per-patient exclude each other: with the column, the first row of each "
            "patient is used; leave one of the two out"
        )
    if study.privacy.unit == "patient" and patient_column is None and not one_row_per_patient:
        raise StudyError(
            'the study has unit = "patient", and nothing says which rows of the table are of the same patient; add '
            "--patient-column NAME, which keeps the first row of each, or --one-row-per-patient if you know that "
            "every row is another patient"
        )


def patient_column_of(study: Study, patient_column: str | None) -> str | None:
    """Return the column that identifies the patient: that of the study's visits or database, or the given one.

    Raises:
        StudyError: the study names another column.
    """
    own = PERSON_ID if study.extraction is not None else study.declared.patient
    if own is not None and patient_column not in (None, own):
        raise StudyError(
            f"--patient-column {patient_column} differs from '{own}', which the study names; leave the option out"
        )
    return own or patient_column
