"""Reading Parquet files, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.tables.parts import Cells, IndexedCells, Part, PlainCells, chosen
from common.tables.raw import as_text, refuse_repeated


def parquet_parts(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        refuse_repeated(names)
        wanted = chosen(names, columns)
        empty = [pa.RecordBatch.from_pylist([], schema=file.schema_arrow)] if file.metadata.num_rows == 0 else []
        for batch in chain(empty, file.iter_batches(rows, columns=wanted, use_threads=False)):
            yield Part(batch.num_rows, {name: _cells(batch.column(name)) for name in wanted})


def _cells(values: pa.Array) -> Cells:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        encoded = values.dictionary_encode(null_encoding="encode")
    except pa.ArrowNotImplementedError:  # nested cells, which no schema can declare
        return PlainCells(_texts(values).to_numpy(dtype=object))
    indices = encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp)
    return IndexedCells(_texts(encoded.dictionary).tolist(), indices)


def _texts(values: pa.Array) -> pd.Series:
    # Integers with gaps would else become floats, which cannot hold a long identifier.
    return as_text(pa.table({"cell": values}).to_pandas(ignore_metadata=True, integer_object_nulls=True))["cell"]
