"""Checks of a raw table under a schema: notices for its owner, and errors that make it unusable."""

from __future__ import annotations

import difflib

import pandas as pd

from common.columns.cells import count_rows, is_missing
from common.errors import DataError
from common.study.schema import Schema
from common.tables.patients import first_rows
from common.tables.raw import refuse_empty


def check_table(
    raw: pd.DataFrame, schema: Schema, *, name: str, patient_column: str | None = None, target: str | None = None
) -> list[str]:
    """Return what the owner of a table should know: ignored columns, dropped rows, cells that the schema changes.

    What single records hold is never an error (see `Column.check`): the schema is agreed before a table is looked at,
    and must not change because of one patient. `conform` says what such cells become.

    Args:
        raw: a raw table, possibly with several rows per patient; the first of each is checked.
        schema: the agreed columns.
        name: name of the hospital or file, for messages. Counts in messages are exact: only the data's owner sees them.
        patient_column: column that identifies the patient; None where every row is a patient.
        target: a column that must not be constant; None where another hospital may hold the other classes.

    Returns:
        One text per notice.

    Raises:
        DataError: the table has no rows or lacks a column, the patient column is missing or blank, or the target is
            constant: one line per problem, each with the column, the limit and the remedy.
    """
    refuse_empty(raw, name)
    rows, problems, notices = _check_patients(raw, schema, patient_column)
    ignored = [column for column in raw.columns if column not in schema.written_names and column != patient_column]
    if ignored:
        notices.append("columns not in the schema are ignored: " + ", ".join(f"'{column}'" for column in ignored))
    for column in schema.columns:
        if not column.modeled:
            continue
        if column.name not in raw.columns:
            problems.append(f"column '{column.name}' is not in the table; {_hint(column.name, raw, schema)}")
            continue
        cells = rows[column.name].tolist()
        notices += [f"column '{column.name}' {text}" for text in column.check(cells)]
        if column.name == target and len(rows) and pd.Series(column.read(cells)[target]).nunique() < 2:
            problems.append(f"target '{target}' has fewer than 2 distinct values; choose another or add rows")
    if problems:
        raise DataError("\n".join(f"{name}: {problem}" for problem in problems))
    return [f"{name}: {notice}" for notice in notices]


def _check_patients(
    raw: pd.DataFrame, schema: Schema, patient_column: str | None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the first row of each patient, and the problems and notices about the patient column.

    Args:
        raw: a raw table.
        schema: the agreed columns.
        patient_column: column that identifies the patient; None where every row is a patient.
    """
    if patient_column is None:
        return raw, [], []
    if patient_column not in raw.columns:
        return raw, [f"patient column '{patient_column}' is not in the table; {_hint(patient_column, raw, schema)}"], []
    rows = first_rows(raw, patient_column)
    blank = sum(map(is_missing, raw[patient_column]))
    surplus = len(raw) - blank - len(rows)
    where = f"patient column '{patient_column}' is blank in {count_rows(blank)}"
    problems = [f"{where}; fill in or drop these rows"] if blank else []
    notices = [f"{count_rows(surplus)} dropped: only the first of each patient is used"] if surplus else []
    return rows, problems, notices


def _hint(name: str, raw: pd.DataFrame, schema: Schema) -> str:
    """Return a remedy for an absent column."""
    folded = {column.strip().casefold(): column for column in raw.columns}
    known = sum(declared.casefold() in folded for declared in schema.read_names)
    if 2 * known < len(schema.read_names):  # perhaps no header: names would be cells
        return "add it; is the first line the header?"
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean '{folded[near[0]]}'?" if near else "add it, or name another column"
