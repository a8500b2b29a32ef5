"""The table of file formats, and the functions with which all parts of the system read a table.

A site's import, simulation, draft, benchmark and evaluation read through `READERS`, and nothing else parses a table. A
hospital that answers reads its frozen table (`common.tables.frozen`). A new format is one entry: the end of its files'
names, and a function that yields the table part by part.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from common.errors import DataError, cause_of
from common.tables.csv_reader import csv_parts, gzipped_csv_parts
from common.tables.parquet_reader import parquet_parts
from common.tables.parts import PART_ROWS, Part, join


@dataclass(frozen=True, slots=True)
class Reader:
    """Reader of one file format.

    Attributes:
        name: name of the format, for people.
        parts: yields the raw table in a file part by part, given the path, the wanted columns (None for all) and the
            most rows of a part. Columns that are absent are left out; the others keep the order of the file. Yields
            at least one part, so that the columns are known. Raises `DataError` for a malformed file, never repairs it.
    """

    name: str
    parts: Callable[[Path, Sequence[str] | None, int], Iterator[Part]]


READERS: dict[str, Reader] = {
    ".csv": Reader("CSV", csv_parts),
    ".csv.gz": Reader("gzipped CSV", gzipped_csv_parts),
    ".parquet": Reader("Parquet", parquet_parts),
}
"""The formats by the end of a file's name, in lower case."""


def known_suffixes() -> str:
    """Return the ends of file names that can be read, for messages."""
    return ", ".join(READERS)


def suffix_of(path: Path) -> str | None:
    """Return the end of the file's name that tells its format; None where no reader knows it."""
    name = path.name.lower()
    return max((suffix for suffix in READERS if name.endswith(suffix)), key=len, default=None)


def read_parts(path: Path, columns: Sequence[str] | None = None, *, rows: int = PART_ROWS) -> Iterator[Part]:
    """Yield the raw table in a file part by part; at least one part, so that its columns are known.

    Args:
        path: the file.
        columns: names of the wanted columns, None for all; columns that are not in the file are left out.
        rows: most rows of a part.

    Raises:
        DataError: the format is unknown; the file cannot be read, is malformed or repeats a column name.
    """
    with _explained(path):
        suffix = suffix_of(path)
        if suffix is None:
            raise DataError(f"its name does not end in {known_suffixes()}; save it as one of these")
        yield from READERS[suffix].parts(path, columns, rows)


def read_table(path: Path) -> pd.DataFrame:
    """Return the whole raw table in a file; it may have no rows. Raises `DataError` as `read_parts` does."""
    return join(list(read_parts(path)))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn any error of the block into a `DataError` with the file's name, the cause and the remedy."""
    try:
        yield
    except DataError as problem:
        raise DataError(f"cannot use table '{path}': {problem}") from None
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as problem:
        cause = cause_of(problem)
        raise DataError(f"cannot use table '{path}': it cannot be read ({cause}); check path and format") from None
