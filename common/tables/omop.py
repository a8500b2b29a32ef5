"""Take a study's table from an OMOP database: run the approved SQL of the study cohort and of every feature once.

The file of such a table is the study (TOML) with `[source] kind = "omop"`; `database` in `[read]` names the database,
and `schemas` where its tables are, if the account does not know. The connection only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.columns.cells import text_of
from common.errors import DataError
from common.omop.columns import NO, YES
from common.omop.definitions import Extraction, Feature
from common.omop.domains import DAY, PERSON_ID
from common.omop.sql import queries
from common.study.study import read_study
from common.tables.database import cause_of_query, connected
from common.tables.extras import load
from common.tables.omop_checks import BACKENDS, absent_table, check_database, needed_tables
from common.tables.omop_values import Ask
from common.tables.parts import Part, PlainCells
from common.tables.reading import Reading

CHANGED = (
    "a person or visit is there twice, or the database changed while it was read; correct the records, or import again "
    "when nothing is loaded into it"
)


def omop_parts(path: Path, columns: Sequence[str] | None, rows: int, reading: Reading) -> Iterator[Part]:
    """Yield the table of a study on OMOP databases part by part; see `common.tables.formats.Reader`.

    Args:
        path: the study.
        columns: the wanted columns, None for all.
        rows: most rows of a part.
        reading: names the database.

    Raises:
        StudyError: the study cannot be read, or is not valid.
        DataError: it is no study on OMOP databases; as `read_omop` does.
    """
    part = read_omop(extraction_of(path), reading)
    names = [name for name in part.columns if columns is None or name in columns]
    every = {name: part.columns[name].every() for name in names}
    for start in range(0, max(part.rows, 1), rows):
        end = min(start + rows, part.rows)
        yield Part(end - start, {name: PlainCells(texts[start:end]) for name, texts in every.items()})


def extraction_of(path: Path) -> Extraction:
    """Return what a study takes from OMOP databases.

    Raises:
        StudyError: the study cannot be read, or is not valid.
        DataError: it takes nothing from them.
    """
    extraction = read_study(path).extraction
    if extraction is None:
        raise DataError('it is a study without [source] kind = "omop"; give the hospital\'s table instead')
    return extraction


def read_omop(extraction: Extraction, reading: Reading, *, notices: list[str] | None = None) -> Part:
    """Return the table: column `person_id`, in a study of visits `day`, and every feature; ordered by person and day.

    Args:
        extraction: what is taken.
        reading: names the database.
        notices: gets what the hospital should know about its database, with counts: for this hospital only.

    Raises:
        DataError: the database is not PostgreSQL or DuckDB, does not fit the study (`check_database`), or a query
            fails. The text may count patients: for the hospital only.
    """
    with connected(reading) as connection:
        if connection.dialect.name not in BACKENDS:
            raise DataError(f"OMOP studies read PostgreSQL and DuckDB, not {connection.dialect.name}; use one of these")

        def ask(query: str) -> list[Any]:
            return list(connection.execution_options(no_parameters=True).exec_driver_sql(query).fetchall())

        _check_tables(ask, extraction)
        findings = check_database(ask, extraction)
        part = _joined(([tuple(row) for row in ask(text.sql)] for text in queries(extraction)), extraction)
    if notices is not None:
        notices += findings
    return part


def _check_tables(ask: Ask, extraction: Extraction) -> None:
    """Raise `DataError` for a table or column that the database lacks."""
    sqlalchemy = load("sqlalchemy", "database")
    for table, columns in needed_tables(extraction).items():
        try:
            ask(f"SELECT {', '.join(columns)} FROM {table} WHERE 1 = 0")
        except sqlalchemy.exc.SQLAlchemyError as problem:
            raise absent_table(table, columns, cause_of_query(problem)) from None


def _joined(answers: Iterator[list[tuple[Any, ...]]], extraction: Extraction) -> Part:
    """Return the answers as one table. One answer is held at a time: rows of a database take much memory.

    Args:
        answers: rows of every query, in the order of `queries`.
        extraction: what was asked for.

    Raises:
        DataError: the answers are not about the same persons or visits.
    """
    persons = [person for (person,) in next(answers)]
    owners, visits, columns = persons, list[Any](), dict[str, list[str]]()
    if extraction.visits is None:
        columns[PERSON_ID] = [text_of(person) for person in persons]
    else:
        rows = next(answers)
        visits, owners, days = ([row[column] for row in rows] for column in range(3))
        columns[PERSON_ID] = [text_of(person) for person in owners]
        columns[DAY] = [text_of(day) for day in days]
    for feature, rows in zip(extraction.features, answers, strict=True):
        values, expected = dict(rows), visits if feature.is_of_visit else persons
        if len(rows) != len(expected) or values.keys() != set(expected):
            raise DataError(CHANGED)
        text = _writer(feature)
        try:
            columns[feature.name] = [text(values[key]) for key in (visits if feature.is_of_visit else owners)]
        except (ValueError, TypeError):
            raise DataError(
                f"feature '{feature.name}': the database gives another type than a number where the model has one; "
                "correct the type of the column"
            ) from None
    return Part(len(owners), {name: _cells(cells) for name, cells in columns.items()})


def _cells(texts: list[str]) -> PlainCells:
    return PlainCells(np.array(texts, dtype=object))


def _writer(feature: Feature) -> Callable[[Any], str]:
    """Return the function that writes a value that SQL has returned as a cell."""
    match feature.result:
        case "yes-no":
            return lambda value: YES if int(value) else NO
        case "labels":
            labels = {concept: label for label, concepts in feature.values.items() for concept in concepts}
            return lambda value: "" if value is None else labels.get(int(value), "")
        case _:
            return lambda value: "" if value is None else text_of(float(value))
