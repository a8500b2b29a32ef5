"""Reading Parquet files, row group by row group. Strict: a cell that cannot be written as text is refused.

Text is read as a dictionary and its rows' indices: a file may hold one long text once and name it in every row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import DataError
from common.tables.parts import Cells, IndexedCells, Part, PlainCells, chosen
from common.tables.raw import as_text, refuse_repeated

FIRST_YEAR, LAST_YEAR = 1, 9999
"""Years that a date may have; text of other years cannot be read back as a date."""

MOST_CELLS, MOST_AT_ONCE, MOST_IN_ALL, MOST_RATIO = 2**28, 2**28, 2**32, 1000
"""Most cells of a file; most bytes of a row group, or characters of a part; most bytes or characters of a file.

A limit holds where it is more than `MOST_RATIO` times the bytes of the file: an honest table of little entropy, such as
a million rows of rare findings, has few bytes however many cells it has. The second bounds the memory of a reader that
takes part by part, the third its time. A command that joins the parts to one table holds 8 bytes for each cell.
"""

PART_CELLS = 2**24
"""Most cells of a part, which has fewer rows where there are many columns: each takes 8 bytes. Also most items of lists
in a row group: a cell may hold a list of any length, and missing items take no bytes of the file."""


def parquet_parts(source: Path | BinaryIO, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`.

    Args:
        source: the file, or its path.
        columns: the wanted columns, None for all.
        rows: most rows of a part.

    Raises:
        DataError: a cell is not UTF-8, or a date has no year from 1 to 9999; the text names column, row and remedy. Or
            the file unpacks to far more than its own bytes.
    """
    footer = pq.read_metadata(source)
    schema = footer.schema.to_arrow_schema()
    texts = [field.name for field in schema if _is_text(field.type) or _is_binary(field.type)]
    packed = _size(source)
    with pq.ParquetFile(source, metadata=footer, read_dictionary=texts) as file:
        refuse_repeated(schema.names)
        _refuse_declared_bomb(file.metadata, packed)
        wanted = chosen(schema.names, columns)
        empty = [pa.RecordBatch.from_pylist([], schema=file.schema_arrow)] if file.metadata.num_rows == 0 else []
        before = unpacked = 0
        rows = min(rows, max(1, PART_CELLS // max(1, len(wanted))))
        for batch in chain(empty, file.iter_batches(rows, columns=wanted, use_threads=False)):
            part = Part(batch.num_rows, {name: _column(name, batch.column(name), before) for name in wanted})
            characters = sum(_characters(cells) for cells in part.columns.values())
            unpacked += characters
            _refuse_bomb(characters, MOST_AT_ONCE, packed)
            _refuse_bomb(unpacked, MOST_IN_ALL, packed)
            yield part
            before += batch.num_rows


def _size(source: Path | BinaryIO) -> int:
    """Return the bytes of a file."""
    return source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)


def _refuse_declared_bomb(metadata: pq.FileMetaData, packed: int) -> None:
    """Raise `DataError` for a file whose footer names too many cells for its bytes, or too many bytes.

    Args:
        metadata: the footer of the file.
        packed: bytes of the file.
    """
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    sizes = [group.total_byte_size for group in groups]
    lists = [index for index in range(metadata.num_columns) if metadata.schema.column(index).max_repetition_level]
    items = [sum(group.column(index).num_values for index in lists) for group in groups]
    _refuse_bomb(metadata.num_rows * metadata.num_columns + sum(items), MOST_CELLS, packed)
    _refuse_bomb(max(items, default=0), PART_CELLS, packed)
    _refuse_bomb(max(sizes, default=0), MOST_AT_ONCE, packed)
    _refuse_bomb(sum(sizes), MOST_IN_ALL, packed)


def _characters(cells: Cells) -> int:
    """Return how many characters all cells together have where each distinct one is held once, else 0."""
    if not isinstance(cells, IndexedCells):
        return 0
    counts = np.bincount(cells.indices, minlength=len(cells.texts))
    return int(counts @ np.fromiter(map(len, cells.texts), np.int64, len(cells.texts)))


def _refuse_bomb(unpacked: int, most: int, packed: int) -> None:
    """Raise `DataError` for a file that unpacks to more than a limit and far more than its own bytes.

    Args:
        unpacked: cells, bytes or characters.
        most: the limit, which holds where it is more than `MOST_RATIO` times the bytes of the file.
        packed: bytes of the file.
    """
    if unpacked > max(most, MOST_RATIO * packed):
        raise DataError(
            f"it unpacks to more than {most} cells or bytes, and more than {MOST_RATIO} times the size of the file; "
            "export the table again, or as CSV"
        )


def _column(name: str, values: pa.Array, before: int) -> Cells:
    """Return the cells of one column.

    Args:
        name: name of the column.
        values: its cells in one batch.
        before: number of rows before the batch.
    """
    try:
        return _cells(values)
    except (pa.ArrowException, ValueError, OverflowError):
        unreadable = (row for row in range(len(values)) if not _is_readable(values.slice(row, 1)))
        row = before + next(unreadable, 0) + 1
    raise DataError(f"column '{name}', row {row}: {_remedy(values.type)}") from None


def _is_readable(values: pa.Array) -> bool:
    try:
        _cells(values)
    except (pa.ArrowException, ValueError, OverflowError):
        return False
    return True


def _remedy(kind: pa.DataType) -> str:
    """Return what is wrong with a cell of this type, and what to do."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return f"the date is outside the years {FIRST_YEAR} to {LAST_YEAR}; correct it or leave it empty"
    if _is_text(kind) or _is_binary(kind):
        return "it is not UTF-8 text; write the file again in UTF-8"
    return "the value cannot be written as text; correct it, or leave the column out"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _cells(values: pa.Array) -> Cells:
    """Return the cells as text. Raise `ValueError` or an error of Arrow where one cannot be."""
    if pa.types.is_dictionary(values.type):
        used = values.indices.dictionary_encode(null_encoding="encode")
        distinct, again = _cells(values.dictionary.take(used.dictionary)).distinct()  # some may be alike
        return IndexedCells(distinct, again[used.indices.to_numpy(zero_copy_only=False)])
    if pa.types.is_fixed_size_binary(values.type):
        values = values.cast(pa.binary())
    if _is_binary(values.type):
        values = values.cast(pa.large_string())  # checks that it is UTF-8
    elif _is_text(values.type):
        values.validate(full=True)
    elif pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        years = pc.min_max(pc.year(values))
        if years["min"].is_valid and not FIRST_YEAR <= years["min"].as_py() <= years["max"].as_py() <= LAST_YEAR:
            raise ValueError
    try:
        encoded = values.dictionary_encode(null_encoding="encode")
    except pa.ArrowNotImplementedError:  # nested cells, which no schema can declare
        return PlainCells(_texts(values).to_numpy(dtype=object))
    indices = encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp)
    return IndexedCells(_texts(encoded.dictionary).tolist(), indices)


def _texts(values: pa.Array) -> pd.Series:
    # Integers with gaps would else become floats, which cannot hold a long identifier.
    return as_text(pa.table({"cell": values}).to_pandas(ignore_metadata=True, integer_object_nulls=True))["cell"]
