"""Reading CSV files: comma, UTF-8, a header, records of RFC 4180; optionally gzipped. Strict: nothing is repaired."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from common.errors import DataError
from common.tables.parts import Part, PlainCells, chosen
from common.tables.raw import refuse_repeated

csv.field_size_limit(2**31 - 1)
"""Most characters of a cell. With Python's limit, 131,072, one patient's long note would make a file unreadable."""

OpenFile = Callable[[], BinaryIO]
"""Opens a file of plain text from its beginning."""


def csv_parts(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`."""
    yield from _parts(lambda: path.open("rb"), columns, rows)


def gzipped_csv_parts(path: Path, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`."""

    def open_gzipped() -> BinaryIO:
        return cast("BinaryIO", gzip.open(path, "rb"))

    yield from _parts(open_gzipped, columns, rows)


def _parts(open_file: OpenFile, columns: Sequence[str] | None, rows: int) -> Iterator[Part]:
    """Yield the parts of a CSV file.

    Records are those of RFC 4180: a line break, comma or doubled quotation mark inside a quoted cell belongs to that
    cell. Empty lines are skipped. Anything else that is malformed is refused, never repaired line by line.

    Why a refusal is safe when one patient is added or removed: a correct CSV writer gives every patient exactly one
    record, whatever the cells hold, so one patient more or fewer is one record more or fewer and the file stays well
    formed. Quotation marks that do not pair, a record with missing fields and bytes that are not UTF-8 come from the
    program that wrote the file, not from a patient's values. To repair such a file line by line would do harm: one
    patient's cell could then pass for the records of many.

    Args:
        open_file: opens the file.
        columns: the wanted columns, None for all.
        rows: most rows of a part.

    Raises:
        DataError: a record is malformed, not UTF-8, or without the header's number of fields; or the header repeats a
            name. The text names the line where the record starts, the limit and the remedy.
    """
    try:
        with io.TextIOWrapper(open_file(), encoding="utf-8-sig", newline="") as text:
            records = csv.reader(text, strict=True)
            header = next(filter(None, records), [])
            refuse_repeated(header)
            indices = {name: header.index(name) for name in chosen(header, columns)}
            is_empty = True
            while chunk := list(islice(records, rows)):
                yield _part(chunk, len(header), indices)
                is_empty = False
            if is_empty:
                yield _part([], len(header), indices)
    except (csv.Error, UnicodeDecodeError):
        _refuse_malformed(open_file)
        raise


def _part(records: list[list[str]], fields: int, indices: Mapping[str, int]) -> Part:
    """Return the wanted columns of some records; raise `csv.Error` if a record lacks the header's number of fields."""
    records = list(filter(None, records))
    if set(map(len, records)) - {fields}:
        raise csv.Error
    cells = np.array(records, dtype=object).reshape(len(records), fields)
    return Part(len(records), {name: PlainCells(cells[:, index]) for name, index in indices.items()})


def _refuse_malformed(open_file: OpenFile) -> None:
    """Raise the `DataError` about the first record that is malformed, reading record by record to know its line."""
    try:
        with io.TextIOWrapper(open_file(), encoding="utf-8-sig", newline="") as text:
            records = csv.reader(text, strict=True)
            fields = 0
            while True:
                line = records.line_num + 1  # where the next record starts
                try:
                    record = next(records, None)
                except csv.Error:
                    raise DataError(
                        f"quotation marks do not pair up in the record that starts in line {line}; put cells that "
                        "hold a quotation mark in quotation marks and double those inside"
                    ) from None
                if record is None:
                    return
                fields = fields or len(record)
                if record and len(record) != fields:
                    raise DataError(
                        f"line {line} has {len(record)} fields where the header has {fields}; "
                        "quote fields that hold a comma or a line break, or complete the line"
                    )
    except UnicodeDecodeError:
        line = _first_undecodable_line(open_file)
        raise DataError(f"it is not UTF-8 text in line {line}; save it as UTF-8") from None


def _first_undecodable_line(open_file: OpenFile) -> int:
    """Return the number of the first line that is not UTF-8, from 1; of the last line where all are."""
    lines = 0
    with open_file() as file:
        for line in file:
            lines += 1
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
    return lines
