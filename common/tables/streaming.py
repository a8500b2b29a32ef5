"""A table read a part at a time, so that memory does not grow with the rows: Parquet row groups, or records of CSV.

Every cell comes out as `read_table(path)` gives it, in the same order; what that refuses is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.study.schema import Schema
from common.tables.table import as_text, explained, is_parquet, read_records, refuse_repeated

ROWS = 2**16
"""Rows of a part."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Consecutive rows of a raw table: per column its distinct cells, and which of them each row has."""

    rows: int
    columns: dict[str, tuple[list[str], npt.NDArray[np.intp]]]

    @classmethod
    def of(cls, raw: pd.DataFrame) -> Part:
        """A whole raw table."""
        columns = {}
        for name in raw.columns:
            places, distinct = pd.factorize(raw[name].to_numpy(dtype=object))
            columns[str(name)] = list(distinct), places
        return cls(len(raw), columns)

    def cells(self, column: str) -> list[str]:
        """The column's cell in every row."""
        distinct, places = self.columns[column]
        return [distinct[place] for place in places]

    def conform(self, schema: Schema) -> pd.DataFrame:
        """As `common.tables.table.conform`; each distinct cell is looked at once."""
        values = {}
        for column in schema.each():
            distinct, places = self.columns.get(column.name, ([""], np.zeros(self.rows, dtype=np.intp)))
            values[column.name] = column.conform(distinct)[places]
        return pd.DataFrame(values, index=pd.RangeIndex(self.rows))


def read_parts(path: Path, columns: Sequence[str], *, rows: int = ROWS) -> Iterator[Part]:
    """Yield the table in a CSV or Parquet file part by part; at least one part, so that its columns are known.

    Args:
        columns: those that are wanted; others are not kept, and one that is not there is not in the parts.
        rows: most rows of a part.

    Raises:
        DataError: as `read_table` does.
    """
    with explained(path):
        yield from _parquet_parts(path, columns, rows) if is_parquet(path) else _csv_parts(path, columns, rows)


def _parquet_parts(path: Path, columns: Sequence[str], rows: int) -> Iterator[Part]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        refuse_repeated(names)
        wanted = [name for name in names if name in columns]
        empty = [pa.RecordBatch.from_pylist([], schema=file.schema_arrow)] if file.metadata.num_rows == 0 else []
        for batch in chain(empty, file.iter_batches(rows, columns=wanted, use_threads=False)):
            yield Part(batch.num_rows, {name: _distinct(batch.column(name)) for name in wanted})


def _distinct(values: pa.Array) -> tuple[list[str], npt.NDArray[np.intp]]:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        encoded = values.dictionary_encode(null_encoding="encode")
    except pa.ArrowNotImplementedError:  # nested cells, which no schema knows
        whole = Part.of(as_text(_frame_of(values)))
        return whole.columns["cell"]
    texts = as_text(_frame_of(encoded.dictionary))["cell"].tolist()
    return texts, encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp)


def _frame_of(values: pa.Array) -> pd.DataFrame:
    # Integers with gaps would else become floats, which cannot hold a long identifier.
    return pa.table({"cell": values}).to_pandas(ignore_metadata=True, integer_object_nulls=True)  # type: ignore[no-any-return]


def _csv_parts(path: Path, columns: Sequence[str], rows: int) -> Iterator[Part]:
    records = read_records(path)
    places = {name: place for place, name in enumerate(next(records)) if name in columns}
    chunk = list(islice(records, rows))
    while True:
        yield Part.of(
            pd.DataFrame({name: [record[place] for record in chunk] for name, place in places.items()}, dtype=object)
            if places
            else pd.DataFrame(index=pd.RangeIndex(len(chunk)))
        )
        chunk = list(islice(records, rows))
        if not chunk:
            return


def check_readable(path: Path) -> None:
    """Read the whole file once and keep nothing, so that a malformed one is refused before a run needs it.

    Raises:
        DataError: as `read_table` does, in the same words.
    """
    with explained(path):
        if is_parquet(path):
            with pq.ParquetFile(path) as file:
                refuse_repeated(file.schema_arrow.names)
                for _ in file.iter_batches(ROWS, use_threads=False):
                    pass
        else:
            for _ in read_records(path):
                pass
