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
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.columns.cells import count_rows, each, is_missing, text_of
from common.errors import DataError
from common.study.schema import Schema

SUFFIXES = (".csv", ".csv.gz", ".parquet")


csv.field_size_limit(2**31 - 1)
"""Most characters of a cell. With Python's limit, 131,072, one patient's long note would make a file unreadable."""


def read_table(path: Path) -> pd.DataFrame:
    """Return the raw table in a CSV (comma, UTF-8, optionally gzipped) or Parquet file; it may have no rows.

    Raises:
        DataError: the file cannot be read, is malformed or repeats a column name.
    """
    with explained(path):
        if is_parquet(path):
            # Integers with gaps would else become floats, which cannot hold a long identifier.
            return as_text(pq.read_table(path).to_pandas(ignore_metadata=True, integer_object_nulls=True))
        records = read_records(path)
        header = next(records)
        return pd.DataFrame(list(records), columns=pd.Index(header, dtype=object), dtype=object)


def read_records(path: Path) -> Iterator[list[str]]:
    """Yield the header of a CSV file, then its records one by one; the header of an empty file is an empty list.

    Check, simulation and agent all read CSV through this function. Records are those of RFC 4180: a line break, comma
    or doubled quotation mark inside a quoted cell belongs to that cell. Empty lines are skipped. Whatever else does not
    fit is refused and never repaired line by line.

    Why a refusal is safe when one patient is added or removed: a correct CSV writer gives every patient exactly one
    record, whatever the cells hold, so one patient more or fewer is one record more or fewer and the file stays well
    formed. Quotation marks that do not pair, a record with missing fields and bytes that are not UTF-8 come from the
    program that wrote the file, not from a patient's values. To repair such a file line by line would do harm: one
    patient's cell could then pass for the records of many.

    Raises:
        DataError: a record is malformed, not UTF-8, or without the header's number of fields; or the header repeats a
            name. The text names the line where the record starts, the limit and the remedy.
    """
    try:
        with io.TextIOWrapper(_open_csv(path), encoding="utf-8-sig", newline="") as text:
            yield from _parse_records(text)
    except UnicodeDecodeError:
        line = _first_undecodable_line(path)
        raise DataError(f"it is not UTF-8 text in line {line}; save it as UTF-8") from None


def _parse_records(text: Iterable[str]) -> Iterator[list[str]]:
    records = csv.reader(text, strict=True)
    header: list[str] | None = None
    while True:
        line = records.line_num + 1  # where the next record starts
        try:
            record = next(records, None)
        except csv.Error:
            raise DataError(
                f"quotation marks do not pair up in the record that starts in line {line}; put cells that hold a "
                "quotation mark in quotation marks and double those inside"
            ) from None
        if record is None:
            break
        if not record:
            continue
        if header is None:
            refuse_repeated(record)
            header = record
        elif len(record) != len(header):
            raise DataError(
                f"line {line} has {len(record)} fields where the header has {len(header)}; "
                "quote fields that hold a comma or a line break, or complete the line"
            )
        yield record
    if header is None:
        yield []


def _open_csv(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb"))


def _first_undecodable_line(path: Path) -> int:
    """Return the number of the first line that is not UTF-8, from 1; of the last line where all are."""
    lines = 0
    with _open_csv(path) as file:
        for line in file:
            lines += 1
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
    return lines


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
    except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as problem:
        cause = type(problem).__name__
        raise DataError(f"cannot use table '{path}': it cannot be read ({cause}); check path and format") from None


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


def refuse_empty(raw: pd.DataFrame, name: str) -> None:
    """Raise `DataError` where a table has no rows.

    Only checks, simulations and drafts refuse such a table. A hospital that answers does not: whether its last patient
    is in the table must not decide whether it answers.
    """
    if raw.empty:
        raise DataError(f"{name}: the table has no rows; give a table with a header and rows")


def check_table(
    raw: pd.DataFrame, schema: Schema, *, name: str, patient_column: str | None = None, target: str | None = None
) -> list[str]:
    """Return what the owner of a table should know: ignored columns, dropped rows, cells that the schema changes.

    What single records hold is never an error (see `Column.check`): the schema is agreed before a table is looked at,
    and nobody should have to change it because of one patient. `conform` says what such cells become.

    Args:
        raw: a raw table, possibly with several rows per patient; the first of each is checked.
        schema: the agreed columns.
        name: of the hospital or file, for messages. Counts in messages are exact: they are for the data's owner.
        patient_column: the column that tells patients apart; None where every row is a patient.
        target: a column that must not be constant; None where another hospital may hold the other classes.

    Returns:
        One text per notice.

    Raises:
        DataError: the table has no rows or lacks a column, the patient column is missing or blank, or the target is
            constant: one line per problem, each with the column, the limit and the remedy.
    """
    refuse_empty(raw, name)
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
    for column in schema.each():
        if column.name not in raw.columns:
            problems.append(f"column '{column.name}' is not in the table; {_hint(column.name, raw, schema)}")
            continue
        cells = rows[column.name].tolist()
        notices += [f"column '{column.name}' {text}" for text in column.check(cells)]
        if column.name == target and len(rows) and pd.Series(column.conform(cells)).nunique() < 2:
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
    return pd.DataFrame({column.name: column.conform(cells[column.name]) for column in schema.each()}, raw.index)


def format_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The raw form of a conformed table, with the declared decimals; `conform` turns it back."""
    return pd.DataFrame({column.name: column.format(frame[column.name]) for column in schema.each()}, dtype=object)
