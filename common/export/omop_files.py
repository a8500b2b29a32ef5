"""Writing and reading OMOP tables chunk by chunk: CSV files, Parquet files, or one DuckDB file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from common.errors import DataError
from common.export.omop_tables import TABLES, Kind
from common.tables.extras import load

ARROW: dict[Kind, pa.DataType] = {
    "integer": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "moment": pa.timestamp("s"),
}
SQL: dict[Kind, str] = {
    "integer": "BIGINT",
    "float": "DOUBLE",
    "text": "VARCHAR",
    "date": "DATE",
    "moment": "TIMESTAMP",
}
"""Types of Arrow and DuckDB for those of OMOP."""

DATABASE = "omop.duckdb"
"""Name of the one file of an export to DuckDB."""

ALONE = {"enable_external_access": "false"}
"""Settings with which an export's database is read: a view in it reads no other file of the machine."""

Record = dict[str, Any]


class Sink(Protocol):
    """Takes the rows of all tables, in chunks."""

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table."""
        ...

    def close(self) -> None:
        """Finish all files."""
        ...


def arrow_table(table: str, frame: pd.DataFrame) -> pa.Table:
    """Return rows with all columns of a table of OMOP, in its order; those that the frame lacks are empty."""
    columns, fields = [], []
    for column in TABLES[table]:
        kind = ARROW[column.kind]
        fields.append(pa.field(column.name, kind, nullable=not column.required))
        if column.name in frame.columns:
            columns.append(pa.Array.from_pandas(frame[column.name], type=kind))
        else:
            columns.append(pa.nulls(len(frame), kind))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


class CsvSink:
    """One CSV file per table; an empty cell is NULL."""

    def __init__(self, folder: Path) -> None:
        self._writers: dict[str, pa_csv.CSVWriter] = {}
        self._folder = folder
        for table in TABLES:
            self.append(table, arrow_table(table, pd.DataFrame()))

    def append(self, table: str, rows: pa.Table) -> None:
        if table not in self._writers:
            options = pa_csv.WriteOptions(quoting_style="needed")
            self._writers[table] = pa_csv.CSVWriter(self._folder / f"{table}.csv", rows.schema, write_options=options)
        self._writers[table].write_table(rows)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class ParquetSink:
    """One Parquet file per table, a row group per chunk."""

    def __init__(self, folder: Path) -> None:
        schemas = {table: arrow_table(table, pd.DataFrame()).schema for table in TABLES}
        self._writers = {table: pq.ParquetWriter(folder / f"{table}.parquet", schemas[table]) for table in TABLES}

    def append(self, table: str, rows: pa.Table) -> None:
        self._writers[table].write_table(rows)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class DuckdbSink:
    """One DuckDB file with all tables. Needs the extra `database`."""

    def __init__(self, folder: Path) -> None:
        self._connection = load("duckdb", "database").connect(str(folder / DATABASE))
        for table, columns in TABLES.items():
            parts = [f"{column.name} {SQL[column.kind]}{' NOT NULL' * column.required}" for column in columns]
            self._connection.execute(f"CREATE TABLE {table} ({', '.join(parts)})")

    def append(self, table: str, rows: pa.Table) -> None:
        self._connection.register("chunk", rows)
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM chunk")  # noqa: S608 - a name of TABLES
        self._connection.unregister("chunk")

    def close(self) -> None:
        self._connection.close()


SINKS: dict[str, Callable[[Path], Sink]] = {"csv": CsvSink, "parquet": ParquetSink, "duckdb": DuckdbSink}
"""The formats of an export to OMOP."""


def read_rows(folder: Path, form: str, table: str, columns: list[str]) -> Iterator[Record]:
    """Yield the rows of a table of an export in the order of its keys; every value as text, None where it is NULL.

    Args:
        folder: of the export.
        form: one of `SINKS`.
        table: name of the table.
        columns: names of the wanted columns.
    """
    match form:
        case "csv":
            with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
                for record in csv.DictReader(file):
                    yield {name: record[name] or None for name in columns}
        case "parquet":
            for batch in pq.ParquetFile(folder / f"{table}.parquet").iter_batches(columns=columns):
                yield from map(_as_text, batch.to_pylist())
        case _:
            yield from _database_rows(folder / DATABASE, table, columns)


def _database_rows(path: Path, table: str, columns: list[str]) -> Iterator[Record]:
    """Yield rows of a table in a DuckDB file. Raises `DataError` where it cannot be read."""
    duckdb = load("duckdb", "database")
    query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {TABLES[table][0].name}"  # noqa: S608 - names of TABLES
    try:
        with duckdb.connect(str(path), read_only=True, config=ALONE) as connection:
            cursor = connection.execute(query)
            while rows := cursor.fetchmany(10_000):
                for row in rows:
                    yield _as_text(dict(zip(columns, row, strict=True)))
    except duckdb.Error:
        raise DataError(f"'{path}' is damaged, or is not there; restore the export") from None


def _as_text(record: Record) -> Record:
    return {name: None if value is None else str(value) for name, value in record.items()}
