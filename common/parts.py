"""A table read a part at a time, so that memory does not grow with the rows: Parquet row groups, or lines of CSV.

Every cell comes out as `read_table(path, is_total=True)` gives it, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.columns import conform_column
from common.schema import Schema
from common.tables import as_text, explained, is_parquet, read_lines, refuse_repeated

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
        """As `common.tables.conform`; each distinct cell is looked at once."""
        values = {}
        for column in schema.each():
            distinct, places = self.columns.get(column.name, ([""], np.zeros(self.rows, dtype=np.intp)))
            values[column.name] = conform_column(distinct, column)[places]
        return pd.DataFrame(values, index=pd.RangeIndex(self.rows))


def read_parts(path: Path, columns: Sequence[str], *, rows: int = ROWS) -> Iterator[Part]:
    """The table in a CSV or Parquet file as a hospital reads it while it answers, part by part.

    Args:
        columns: those that are wanted; others are not read, and one that is not there is not in the parts.

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
        for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
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
    lines = read_lines(path)
    places = {name: place for place, name in enumerate(next(lines)) if name in columns}
    while chunk := list(islice(lines, rows)):
        yield Part.of(
            pd.DataFrame({name: [row[place] for row in chunk] for name, place in places.items()}, dtype=object)
            if places
            else pd.DataFrame(index=pd.RangeIndex(len(chunk)))
        )
