"""Writing a synthetic table: the formats, by the end of a file's name, and the types that the schema declares."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from common.columns.base import TableColumn
from common.columns.cells import each, number_of, read_date
from common.columns.date import Date, Dated
from common.columns.questions import plain_numbers
from common.errors import StudyError
from common.study.schema import Schema
from common.tables.excel import write_excel


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


def _excel(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    write_excel(frame, file)
    return file.getvalue()


ENCODERS: dict[str, Callable[[pd.DataFrame], bytes]] = {"csv": _csv, "parquet": _parquet, "xlsx": _excel}


def raw_bytes(raw: pd.DataFrame, chosen: str) -> bytes:
    """Return the bytes of a raw table in a format: every column is text."""
    return ENCODERS[chosen](raw)


WRITERS: dict[str, Callable[[pd.DataFrame, Schema], bytes]] = {
    "csv": lambda raw, schema: _csv(raw),
    "parquet": lambda raw, schema: _parquet(typed(raw, schema)),
    "xlsx": lambda raw, schema: _excel(typed(raw, schema)),
}
"""Bytes of a written table and its schema, by format: the end of the file's name. CSV holds the cells as they are."""


def format_of(path: Path, chosen: str | None) -> str:
    """Return the format in which a file is to be written.

    Args:
        path: the file; the end of its name tells the format.
        chosen: the format that a person chose; None leaves it to the name.

    Raises:
        StudyError: the format is unknown, or the name ends like another one.
    """
    ending = path.suffix.lower().removeprefix(".")
    known = ", ".join(WRITERS)
    if chosen is not None and chosen not in WRITERS:
        raise StudyError(f"--format '{chosen}' is unknown; choose from {known}")
    if chosen is None and ending not in WRITERS:
        raise StudyError(f"'{path.name}' does not end in a known format ({known}); choose another ending")
    if chosen is not None and ending in WRITERS and ending != chosen:
        raise StudyError(f"'{path.name}' ends like {ending}, and --format is {chosen}; make the two agree")
    return chosen or ending


def typed(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return a written table with typed columns: whole numbers, floats, dates, times; text for all others.

    The type depends on the declaration alone, so that two tables of one study have the same types: a numeric column
    with `below`, `above` or `missing_codes` stays text, since such cells are no numbers.
    """
    columns = {column.name: _typed(raw[column.name], column) for column in schema.columns}
    return pd.DataFrame(columns, index=raw.index)


def _typed(cells: pd.Series, column: TableColumn) -> pd.Series:
    if (plain := plain_numbers(column)) is not None:
        point = plain.decimal or "."
        numbers = pd.Series(
            each(cells, lambda cell: number_of(cell.replace(point, "."))),
            index=cells.index,
            dtype="float64",
        )
        return numbers.astype("Int64") if plain.decimals == 0 else numbers
    if isinstance(column, Dated):
        form = column.date_format
        moments = each(cells, lambda cell: read_date(cell, form))
        is_day = isinstance(column, Date)
        days = [moment.date() if moment is not None and is_day else moment for moment in moments]
        return pd.Series(days, index=cells.index, dtype=object)
    return pd.Series([cell or None for cell in cells], index=cells.index, dtype=object)
