"""A table that is a folder of Parquet parts, as Spark and Dask write it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from common.errors import DataError
from common.tables.frozen import digest_of
from common.tables.parquet_reader import parquet_parts
from common.tables.parts import Part

SUFFIX = ".parquet"


def parquet_file_or_folder(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`.

    A folder is one table: its files in the order of their names, except those that start with `_` or `.`.

    Args:
        path: a Parquet file, or a folder of them.
        columns: the wanted columns, None for all.
        rows: most rows of a part.

    Raises:
        DataError: the folder holds no part, something else, or parts whose columns differ; or a part is malformed.
    """
    if not path.is_dir():
        yield from parquet_parts(path, columns, rows)
        return
    files = part_files(path)
    names = pq.ParquetFile(files[0]).schema_arrow.names
    for file in files:
        if pq.ParquetFile(file).schema_arrow.names != names:
            raise DataError(f"part '{file.name}' has other columns than '{files[0].name}'; write all parts alike")
    is_empty = True
    for file in files:
        for part in parquet_parts(file, columns, rows):
            if part.rows:
                yield part
                is_empty = False
    if is_empty:
        yield from parquet_parts(files[0], columns, rows)


def part_files(folder: Path) -> list[Path]:
    """Return the parts of a table that is a folder, by name. Raises `DataError` if it holds none, or something else."""
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(("_", "."))]
    for path in entries:
        if not (path.is_file() and path.name.lower().endswith(SUFFIX)):  # a pipe would be waited for
            raise DataError(f"the folder holds '{path.name}', which is not a Parquet file; move it elsewhere")
    if not entries:
        raise DataError("the folder holds no Parquet file; name the folder of a table's parts")
    return entries


def digest_of_table(path: Path) -> str:
    """Return the SHA-256 of a table's file (hex); of a folder, that of names and digests of its parts.

    Raises:
        OSError: a file cannot be read.
        DataError: a folder holds no part, or something else.
    """
    if not (path.is_dir() and path.name.lower().endswith(SUFFIX)):
        return digest_of(path)
    digest = hashlib.sha256()
    for file in part_files(path):
        digest.update(f"{file.name}\0{digest_of(file)}\n".encode())
    return digest.hexdigest()
