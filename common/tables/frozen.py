"""Frozen tables: records in canonical form in one file that is never changed, known by its SHA-256.

A frozen table is written once, at import. Reading it parses nothing: every cell is text already, no cell is null, and
no cell can make reading fail.

The file holds 32 random bytes. Its digest becomes part of a hash-chained ledger, and hashes of ledger entries leave the
hospital. Without the random bytes, a coordinator that knows all patients but one could compute the digest of the table
with and without that patient, and compare.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from common.tables.parquet_reader import parquet_parts
from common.tables.parts import PART_ROWS, Part

SALT, SALT_BYTES = b"fedsynth.salt", 32
"""Name and length of the random bytes in the file's metadata."""

BLOCK = 2**20
"""Bytes that are hashed at once."""


class ChangedError(Exception):
    """A frozen table is not the one that was written."""


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_frozen` wrote: number of rows, and SHA-256 of the file (hex)."""

    rows: int
    sha256: str


def write_frozen(parts: Iterable[Part], path: Path, *, mode: int = 0o600) -> Written:
    """Write a frozen table and sync it. Equal tables give equal files, apart from the random bytes and their digest.

    Args:
        parts: parts of the table, at least one; all have the same columns.
        path: file to write; it does not exist yet.
        mode: permissions of the file.

    Raises:
        OSError: the file exists, or cannot be written.
    """
    rows, writer = 0, None
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode), "w+b") as file:
        for table in _row_groups(map(_arrow, parts)):
            if writer is None:
                salted = table.schema.with_metadata({SALT: os.urandom(SALT_BYTES)})
                writer = pq.ParquetWriter(file, salted, compression="zstd", write_statistics=False)
            writer.write_table(table.cast(salted))
            rows += table.num_rows
        assert writer is not None, "at least one part"
        writer.close()
        file.flush()
        os.fsync(file.fileno())
        return Written(rows, _digest(file))


def read_frozen(path: Path, sha256: str, columns: Sequence[str] | None = None) -> Iterator[Part]:
    """Yield a frozen table part by part, after its digest was compared; at least one part.

    Args:
        path: the file.
        sha256: the digest that it must have.
        columns: names of the wanted columns, None for all; columns that are not in the file are left out.

    Raises:
        ChangedError: the file has another digest.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:  # hashed and read through one handle: a file put in its place is not read
        if _digest(file) != sha256:
            raise ChangedError
        file.seek(0)
        yield from parquet_parts(file, columns, PART_ROWS)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file (hex). Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _arrow(part: Part) -> pa.Table:
    """Return the part with text in every cell and no null."""
    fields = [pa.field(name, pa.large_string(), nullable=False) for name in part.columns]
    cells = [pa.array(part.columns[name].every(), type=pa.large_string()) for name in part.columns]
    return pa.Table.from_arrays(cells, schema=pa.schema(fields)) if fields else pa.table({})


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of all tables in tables of `PART_ROWS`, the last shorter; at least one."""
    waiting: list[pa.Table] = []
    is_first = True
    for table in tables:
        waiting.append(table)
        while sum(part.num_rows for part in waiting) >= PART_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, PART_ROWS)
            waiting, is_first = [joined.slice(PART_ROWS)], False
    joined = pa.concat_tables(waiting)
    if is_first or joined.num_rows:
        yield joined
