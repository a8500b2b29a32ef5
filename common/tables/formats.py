"""The table of file formats, and the functions with which all parts of the system read a table.

A site's import, simulation, draft and evaluation read through `READERS`; only the benchmark's own public tables are
read by pandas. A hospital that answers reads its frozen table (`common.tables.frozen`). A new format is one entry: the
end of its files' names, and a function that yields the table part by part.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from common.errors import DataError, cause_of
from common.tables.csv_reader import csv_parts, dialect_of, opener
from common.tables.database import query_parts
from common.tables.excel import excel_parts
from common.tables.omop import omop_parts
from common.tables.parquet_folder import parquet_file_or_folder
from common.tables.parts import PART_ROWS, Part, join
from common.tables.reading import Reading
from common.tables.statistics_files import statistics_parts

AS_WRITTEN = Reading()
"""Nothing is declared about a file."""

DIALECT = frozenset({"separator", "quote", "decimal", "thousands", "encoding", "comment", "footer"})
"""Keys of `Reading` that are about CSV files."""


DATABASE = frozenset({"database", "schemas", "timeout"})
"""Keys of `Reading` that are about databases."""

OMOP = ".toml"
"""End of the name of a study on OMOP databases, which stands for the table that it takes from the declared one."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reader of one file format.

    Attributes:
        name: name of the format, for people.
        parts: yields the raw table in a file part by part, given the path, the wanted columns (None for all), the
            most rows of a part, and the `Reading` where `keys` names some. Columns that are absent are left out; the
            others keep the order of the file. Yields at least one part, so that the columns are known. Raises
            `DataError` for a malformed file, never repairs it.
        keys: what a person can declare about a file of this format, by keys of `Reading`.
        is_folder: a table may also be a folder with such a name.
        is_study: the file is the study itself, which says what to take from a database.
    """

    name: str
    parts: Callable[..., Iterator[Part]]
    keys: frozenset[str] = frozenset()
    is_folder: bool = False
    is_study: bool = False


_CSV = Reader("CSV", csv_parts, DIALECT)
_EXCEL = Reader("Excel", excel_parts, frozenset({"sheet"}))

READERS: dict[str, Reader] = {
    ".csv": _CSV,
    ".csv.gz": Reader("gzipped CSV", csv_parts, DIALECT),
    ".parquet": Reader("Parquet", parquet_file_or_folder, is_folder=True),
    ".tsv": _CSV,
    ".tsv.gz": Reader("gzipped CSV", csv_parts, DIALECT),
    ".zip": Reader("zipped CSV", csv_parts, DIALECT),
    ".xlsx": _EXCEL,
    ".xlsm": _EXCEL,
    ".sas7bdat": Reader("SAS", statistics_parts),
    ".xpt": Reader("SAS transport", statistics_parts),
    ".sav": Reader("SPSS", statistics_parts),
    ".zsav": Reader("SPSS", statistics_parts),
    ".por": Reader("SPSS portable", statistics_parts),
    ".dta": Reader("Stata", statistics_parts),
    ".sql": Reader("SQL query", query_parts, DATABASE),
    OMOP: Reader("OMOP study", omop_parts, DATABASE, is_study=True),
}
"""The formats by the end of a file's name, in lower case."""


DATABASES = frozenset({".sqlite", ".sqlite3", ".db", ".duckdb"})
"""Ends of names of files that are databases, which are read by a query."""


def known_suffixes() -> str:
    """Return the ends of file names that can be read, for messages."""
    return ", ".join(suffix for suffix, reader in READERS.items() if not reader.is_study)


def suffix_of(path: Path) -> str | None:
    """Return the end of the file's name that tells its format; None where no reader knows it."""
    name = path.name.lower()
    return max((suffix for suffix in READERS if name.endswith(suffix)), key=len, default=None)


def is_study(path: Path) -> bool:
    """Return whether the file is, by its name, a study on OMOP databases, which stands for a table."""
    suffix = suffix_of(path)
    return suffix is not None and READERS[suffix].is_study


def is_table(path: Path) -> bool:
    """Return whether the path is one table by its name: a file, or a folder of parts."""
    suffix = suffix_of(path)
    return suffix is not None and (READERS[suffix].is_folder or not path.is_dir())


def read_parts(
    path: Path, columns: Sequence[str] | None = None, *, rows: int = PART_ROWS, reading: Reading = AS_WRITTEN
) -> Iterator[Part]:
    """Yield the raw table in a file part by part; at least one part, so that its columns are known.

    Args:
        path: the file.
        columns: names of the wanted columns, None for all; columns that are not in the file are left out.
        rows: most rows of a part.
        reading: what is declared about the file; the rest is detected.

    Raises:
        DataError: the format is unknown; the file cannot be read, is malformed or repeats a column name; or what is
            declared is not about its format.
    """
    with _explained(path):
        reader = _reader(path)
        for key in reading.model_fields_set - reader.keys:
            raise DataError(f"'{key}' is declared, which a {reader.name} file does not have; remove it")
        yield from reader.parts(path, columns, rows, *([reading] if reader.keys else []))


def read_table(path: Path, reading: Reading = AS_WRITTEN) -> pd.DataFrame:
    """Return the whole raw table in a file; it may have no rows. Raises `DataError` as `read_parts` does."""
    return join(list(read_parts(path, reading=reading)))


def described(path: Path, reading: Reading = AS_WRITTEN) -> list[str]:
    """Return how a CSV file is read, as one text, where it is no comma-separated file in UTF-8; else nothing.

    Args:
        path: the file.
        reading: what is declared about it.

    Raises:
        DataError: the file cannot be read.
    """
    with _explained(path):
        if _reader(path).keys != DIALECT:
            return []
        words = dialect_of(opener(path), reading).words()
        return [f"{path.name} is read as {words}"] if words else []


def has_decimal_comma(path: Path, reading: Reading = AS_WRITTEN) -> bool:
    """Return whether the numbers of a CSV file have a decimal comma, which reading turns into a point.

    Args:
        path: the file.
        reading: what is declared about it.

    Raises:
        DataError: the file cannot be read.
    """
    with _explained(path):
        return _reader(path).keys == DIALECT and dialect_of(opener(path), reading).decimal == ","


def _reader(path: Path) -> Reader:
    """Return the reader of a file. Raises `DataError` for an unknown name, a device or a pipe."""
    suffix = suffix_of(path)
    if suffix is None:
        remedy = "save it as one of these"
        if path.suffix.lower() in DATABASES:
            remedy = "write a query into a file that ends in .sql, and name the database with --read (docs/inputs.md)"
        raise DataError(f"its name does not end in {known_suffixes()}; {remedy}")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError("it is a device or a pipe, which can be read only once; save the table as a file")
    return READERS[suffix]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn any error of the block into a `DataError` with the file's name, the cause and the remedy."""
    try:
        yield
    except DataError as problem:
        raise DataError(f"cannot use table '{path}': {problem}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise DataError(
            f"cannot use table '{path}': the archive is damaged or incomplete, or it is not an archive; copy or pack "
            "it again"
        ) from None
    except (OSError, ValueError, pa.ArrowException) as problem:
        cause = cause_of(problem)
        raise DataError(f"cannot use table '{path}': it cannot be read ({cause}); check path and format") from None
