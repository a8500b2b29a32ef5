"""A hospital's table: read as text, checked against the schema, reduced to patients, conformed, written.

A raw table is a DataFrame whose every cell is a `str`; a missing cell is "". A conformed table has the schema's columns
in its order: float64 with NaN for missing, or category labels with None for missing.

Nothing here lets one patient's rows change what becomes of another's.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hmac
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.columns import check_column, conform_column, count_rows, each, format_column, is_missing, text_of
from common.errors import DataError
from common.schema import Schema

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_table(path: Path, *, is_total: bool = False) -> pd.DataFrame:
    """The raw table in a CSV (comma, UTF-8, optionally gzipped) or Parquet file.

    Args:
        is_total: as a hospital reads while it answers, where a refusal would tell something about a record: every line
            of a CSV file is looked at by itself, one that does not have the header's fields is left out, and a table
            may have no rows.

    Raises:
        DataError: the file cannot be read, is empty, has ragged rows or repeats a column name.
    """
    with explained(path):
        if is_parquet(path):
            # Integers with gaps would else become floats, which cannot hold a long identifier.
            table = as_text(pq.read_table(path).to_pandas(ignore_metadata=True, integer_object_nulls=True))
        else:
            table = _read_lines(path) if is_total else _read_csv(path)
    if table.empty and not is_total:
        raise DataError(f"cannot use table '{path}': it has no rows; give a table with a header and rows")
    return table


def is_parquet(path: Path) -> bool:
    """Else it is a CSV file. Raises `DataError` for any other name."""
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"its name does not end in {', '.join(SUFFIXES)}; save it as one of these")
    return path.name.lower().endswith(".parquet")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block is the file's fault: a `DataError` with the cause and the remedy."""
    try:
        yield
    except DataError as problem:
        raise DataError(f"cannot use table '{path}': {problem}") from None
    except UnicodeDecodeError:
        raise DataError(f"cannot use table '{path}': it is not UTF-8 text; save it as UTF-8") from None
    except csv.Error:
        cause = "its quotation marks do not pair up, or a cell is too long"
        raise DataError(f"cannot use table '{path}': {cause}; mend the file") from None
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as problem:
        cause = type(problem).__name__
        raise DataError(f"cannot use table '{path}': it cannot be read ({cause}); check path and format") from None


def _read_csv(path: Path) -> pd.DataFrame:
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        lines = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
        header = next((line for line in lines if line), [])
        refuse_repeated(header)
        rows = []
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"line {lines.line_num} has {len(row)} fields where the header has {len(header)}; "
                    "quote fields that hold a comma, or complete the line"
                )
            rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(header, dtype=object), dtype=object)


def _read_lines(path: Path) -> pd.DataFrame:
    """As `_read_csv`, but what one line holds decides about that line alone."""
    lines = read_lines(path)
    header = next(lines)
    return pd.DataFrame(list(lines), columns=pd.Index(header, dtype=object), dtype=object)


def read_lines(path: Path) -> Iterator[list[str]]:
    """The header of a CSV file, then its rows one by one; a line without the header's number of fields is left out."""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        parsed = (_fields(line) for line in lines)
        header = next((fields for fields in parsed if fields), [])
        refuse_repeated(header)
        yield header
        yield from (fields for fields in parsed if len(fields) == len(header))


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The raw form of a typed table: 63.0 becomes "63", True "True", missing "", other floats keep every digit.

    Raises:
        DataError: two columns have the same name.
    """
    names = [str(name) for name in frame.columns]
    refuse_repeated(names)
    texts: dict[str, list[str]] = {}
    for name, (_, column) in zip(names, frame.items(), strict=True):
        if column.dtype == object:
            texts[name] = [text_of(value) for value in column]
        else:
            # `tolist` would widen float32, and with it 0.1 to 0.10000000149011612.
            texts[name] = each(column.to_numpy() if column.dtype.kind == "f" else column.tolist(), text_of)
    return pd.DataFrame(texts, index=frame.index, columns=pd.Index(names, dtype=object), dtype=object)


def refuse_repeated(names: Sequence[str]) -> None:
    """Raise `DataError` where two columns have one name."""
    for place, name in enumerate(names):
        if name in names[:place]:  # without a header the name would be a cell: it is not told
            raise DataError(
                f"columns {names.index(name) + 1} and {place + 1} have one name in the header; rename or remove one, "
                "or add the header where there is none"
            )


def check_table(
    raw: pd.DataFrame, schema: Schema, *, name: str, patient_column: str | None = None, target: str | None = None
) -> list[str]:
    """What a reader should know about a table that fits the schema: ignored columns, dropped rows, rounding.

    Args:
        raw: a raw table, possibly with several rows per patient; the first of each is checked.
        name: of the hospital or file, for messages. Counts in messages are exact: they are for the data's owner.
        target: a column that must not be constant; None where another hospital may hold the other classes.

    Raises:
        DataError: one line per problem, each with the column, the limit and the remedy.
    """
    problems: list[str] = []
    notices: list[str] = []
    rows = raw
    if patient_column is not None and patient_column not in raw.columns:
        problems.append(f"patient column '{patient_column}' is not in the table; {_hint(patient_column, raw, schema)}")
    elif patient_column is not None:
        rows = first_rows(raw, patient_column)
        blank = sum(map(is_missing, raw[patient_column]))
        if blank:
            problems.append(f"patient column '{patient_column}' is blank in {count_rows(blank)}; fill in or drop them")
        if surplus := len(raw) - blank - len(rows):
            notices.append(f"{count_rows(surplus)} dropped: only the first of each patient is used")
    ignored = [column for column in raw.columns if column not in schema.names and column != patient_column]
    if ignored:
        notices.append("columns not in the schema are ignored: " + ", ".join(f"'{column}'" for column in ignored))
    if raw.empty:
        problems.append("the table has no rows; give at least one")
    for column in schema.each():
        if column.name not in raw.columns:
            problems.append(f"column '{column.name}' is not in the table; {_hint(column.name, raw, schema)}")
            continue
        cells = rows[column.name].tolist()
        found, noted = check_column(cells, column)
        problems += [f"column '{column.name}' {text}" for text in found]
        notices += [f"column '{column.name}' {text}" for text in noted]
        if column.name == target and len(rows) and pd.Series(conform_column(cells, column)).nunique() < 2:
            problems.append(f"target '{target}' has fewer than 2 distinct values; choose another or add rows")
    if problems:
        raise DataError("\n".join(f"{name}: {problem}" for problem in problems))
    return [f"{name}: {notice}" for notice in notices]


def _hint(name: str, raw: pd.DataFrame, schema: Schema) -> str:
    """What to do about a column that is not there."""
    if 2 * len(set(schema.names) & set(raw.columns)) < len(schema.names):  # perhaps no header: names would be cells
        return "add it; is the first line the header?"
    near = difflib.get_close_matches(name, list(raw.columns), n=1)
    return f"did you mean '{near[0]}'?" if near else "add it, or name one that is"


def first_rows(raw: pd.DataFrame, patient_column: str | None) -> pd.DataFrame:
    """The first row of each patient in file order; a row without an identifier is nobody's and is dropped.

    Without a patient column every row is a patient.

    Raises:
        DataError: the patient column is not in the table.
    """
    if patient_column is None:
        return raw
    first: dict[str, int] = {}
    for place, patient in enumerate(_identifiers(raw, patient_column)):
        if not is_missing(patient):
            first.setdefault(patient, place)
    return raw.iloc[list(first.values())].reset_index(drop=True)


def patient_keys(raw: pd.DataFrame, schema: Schema, patient_column: str | None) -> list[str]:
    """Who each row is: its identifier, or else its conformed content, so that identical rows share a fate.

    Raises:
        DataError: the patient column is not in the table.
    """
    if patient_column is not None:
        return _identifiers(raw, patient_column)
    return row_keys(format_table(conform(raw, schema), schema), schema)


def row_keys(content: pd.DataFrame, schema: Schema) -> list[str]:
    """Each row of a formatted table as one text."""
    return [repr(row) for row in zip(*(content[name] for name in schema.names), strict=True)]


def _identifiers(raw: pd.DataFrame, patient_column: str) -> list[str]:
    if patient_column not in raw.columns:
        raise DataError(f"patient column '{patient_column}' is not in the table; add it, or name one that is")
    return [cell.strip() for cell in raw[patient_column]]


def keyed_fraction(key: bytes, identities: Iterable[str]) -> npt.NDArray[np.float64]:
    """A number in [0, 1) per identity, which nobody without the key can predict: HMAC-SHA256's first 53 bits."""
    return fraction_of(keyed_digests(key, identities))


def keyed_digests(key: bytes, identities: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The first 128 bits of an HMAC-SHA256 per identity: shape (identities, 2). No two identities share one."""
    digests = (hmac.digest(key, identity.encode("utf-8", "surrogatepass"), "sha256")[:16] for identity in identities)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def fraction_of(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """A number in [0, 1) per digest: its first 53 bits."""
    # A double holds 53 bits; all 64 could round up to 1.
    return np.asarray((digests[:, 0] >> np.uint64(11)) / 2.0**53, dtype=np.float64)


def split_holdout(
    raw: pd.DataFrame, schema: Schema, *, key: bytes, fraction: float, patient_column: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to train on and rows held out; a patient's place depends on the key and on that patient alone."""
    held_out = keyed_fraction(key, patient_keys(raw, schema, patient_column)) < fraction
    return raw[~held_out].reset_index(drop=True), raw[held_out].reset_index(drop=True)


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table that training sees: the schema's columns, every value one the schema allows. No cell makes it fail.

    Numbers are clamped to the bounds and rounded; text that is no number is missing. An unlisted label goes where
    `Categorical.fallback_code` says. Where missing is not allowed it becomes the lower bound or the fallback. A column
    that is not there is missing throughout.
    """
    cells = {name: raw[name].tolist() if name in raw.columns else [""] * len(raw) for name in schema.names}
    return pd.DataFrame(
        {column.name: conform_column(cells[column.name], column) for column in schema.each()}, raw.index
    )


def format_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The raw form of a conformed table, with the declared decimals; `conform` turns it back."""
    return pd.DataFrame(
        {column.name: format_column(frame[column.name], column) for column in schema.each()}, dtype=object
    )
