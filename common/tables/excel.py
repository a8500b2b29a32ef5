"""Reading and writing Excel workbooks with openpyxl (extra `files`)."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO
from xml.etree.ElementTree import XMLParser

import pandas as pd

from common.columns.cells import text_of
from common.errors import DataError
from common.tables.extras import load
from common.tables.parts import Part, PlainCells, chunks, indices_of
from common.tables.raw import refuse_repeated
from common.tables.reading import Reading
from common.tables.strict_workbook import is_strict, load_strict

MOST_ROWS = 2**20
"""Most rows of a sheet, the header among them."""

MOST_CHARACTERS = 32_767
"""Most characters of a cell; Excel writes no more."""

MOST_UNPACKED = 2**24
"""Bytes of a part of a workbook above which `MOST_RATIO` holds."""

MOST_RATIO = 200
"""Largest ratio of such a part's size to its packed size."""


_IN_ORDER = "check the rows there in the program that wrote the workbook, and save it again"

ROW, CELL = (f"{{http://schemas.openxmlformats.org/spreadsheetml/2006/main}}{tag}" for tag in ("row", "c"))
"""Names of a row and of a cell in a sheet's XML."""


def excel_parts(path: Path, columns: Sequence[str] | None, rows: int, reading: Reading) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`.

    The first row is the header. Of a formula, the value is read that Excel stored. Empty rows are skipped.

    Args:
        path: the workbook.
        columns: the wanted columns, None for all.
        rows: most rows of a part.
        reading: names the sheet; needed where several hold cells.

    Raises:
        DataError: openpyxl is not installed; the file is no workbook; there is no such sheet, or several; a column has
            no name, or a name twice; a row has cells beyond the header, or does not come after the one before.
    """
    openpyxl = load("openpyxl", "files")
    with path.open("rb") as file:  # openpyxl leaves a file open that it cannot read
        try:
            _refuse_bombs(file)
            yield from _workbook_parts(openpyxl, file, columns, rows, reading)
        except (DataError, OSError, MemoryError):
            raise
        except Exception as problem:  # openpyxl lets errors of XML, keys and types pass; their texts may hold cells
            raise DataError(
                f"it is not a workbook as Excel writes it ({type(problem).__name__}); save it again in Excel, as .xlsx"
            ) from None


def _refuse_bombs(file: BinaryIO) -> None:
    """Raise `DataError` if a part of a workbook is far longer than its packed size; other files than archives pass."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        for part in archive.infolist():
            if part.file_size > MOST_UNPACKED and part.file_size > MOST_RATIO * part.compress_size:
                raise DataError(
                    f"a part of the workbook has more than {MOST_UNPACKED} bytes, {MOST_RATIO} times its packed "
                    "size; save the table as CSV"
                )


def _workbook_parts(
    openpyxl: Any, file: BinaryIO, columns: Sequence[str] | None, rows: int, reading: Reading
) -> Iterator[Part]:
    try:
        if is_strict(file):
            workbook = load_strict(openpyxl, file)
        else:
            workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, openpyxl.utils.exceptions.InvalidFileException):
        raise DataError("it is not an Excel workbook (.xlsx); save it as one, without a password") from None
    try:
        sheet = _sheet(workbook, reading.sheet)
        sheet.reset_dimensions()  # some programs write wrong ones
        records = _records(sheet)
        header = next(records, (0, []))[1]
        _check_header(header)
        indices = indices_of(header, columns)
        within = _within(records, len(header))
        for chunk in chunks(lambda: list(islice(within, rows))):
            yield _part(chunk, indices)
    finally:
        workbook.close()


def _sheet(workbook: Any, name: str | None) -> Any:
    """Return the sheet with this name, or the only one that holds cells."""
    sheets = workbook.worksheets
    if name is not None:
        for sheet in sheets:
            if sheet.title == name:
                return sheet
        raise DataError(f"there is no sheet '{name}'; choose from {', '.join(sheet.title for sheet in sheets)}")
    filled = [sheet for sheet in sheets if next(_records(sheet), None) is not None]
    if len(filled) > 1:
        titles = ", ".join(sheet.title for sheet in filled)
        raise DataError(f"{len(filled)} sheets hold cells; declare sheet = one of {titles}")
    return (filled or sheets)[0]


def _records(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of every row that is not empty, without the empty cells at its end."""
    source_of = type(sheet)._get_source
    sheet._get_source = lambda: _SheetInOrder(source_of(sheet))  # openpyxl loses what is not in order
    for line, row in enumerate(sheet.iter_rows(), start=1):  # also yields what lies between two rows
        if line > MOST_ROWS:
            raise DataError(f"a row has a number above {MOST_ROWS}, the most of a sheet; save it again in Excel")
        record = [_text(cell) for cell in row]
        while record and not record[-1]:
            record.pop()
        if any(len(text) > MOST_CHARACTERS for text in record):
            raise DataError(
                f"row {line} has a cell of more than {MOST_CHARACTERS} characters; shorten it, or save the table as CSV"
            )
        if record:
            yield line, record


class _SheetInOrder:
    """The XML of a sheet. Reading raises `DataError` for rows or cells that are not in order."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._parser = source, XMLParser(target=self)  # noqa: S314  expat bounds entities; no tree is built
        self._row = self._column = 0

    def __enter__(self) -> _SheetInOrder:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        content = self._source.read(size)
        self._parser.feed(content)
        return content

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Check an element of the XML; called by the parser."""
        if tag == ROW:
            row = int(float(attributes.get("r", self._row + 1)))
            if row <= self._row:
                raise DataError(f"row {row} comes after row {self._row}; {_IN_ORDER}")
            self._row, self._column = row, 0
        elif tag == CELL:
            letters = attributes.get("r", "").rstrip("0123456789").upper()[:4]  # openpyxl refuses more than 3
            column = _column_number(letters) if letters else self._column + 1
            if column == self._column:
                raise DataError(f"row {self._row} has two cells in column {letters}; {_IN_ORDER}")
            if column < self._column:
                raise DataError(f"row {self._row} has its cell in column {letters} after later ones; {_IN_ORDER}")
            self._column = column


def _column_number(letters: str) -> int:
    """Return 1 for column A, 27 for AA."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _within(records: Iterator[tuple[int, list[str]]], fields: int) -> Iterator[list[str]]:
    """Yield the cells of every row. Raises `DataError` for one with more cells than the header has fields."""
    for line, record in records:
        if len(record) > fields:
            remedy = "remove them" if fields > 1 else "remove the rows above the header"
            raise DataError(f"row {line} has cells beyond the {fields} columns of the header; {remedy}")
        yield record


def _text(cell: Any) -> str:
    """Return a cell as text; a date whose format shows no time has none."""
    value = cell.value
    if isinstance(value, dt.datetime) and value.time() == dt.time() and "h" not in str(cell.number_format).lower():
        return value.date().isoformat()
    return text_of(value)


def _check_header(header: list[str]) -> None:
    """Raise `DataError` for a column without a name or with one that another has."""
    for index, name in enumerate(header, start=1):
        if not name:
            raise DataError(f"column {index} has no name in the first row; give it one, or remove the rows above")
    refuse_repeated(header)


def _part(records: Sequence[list[str]], indices: dict[str, int]) -> Part:
    def column(index: int) -> PlainCells:
        return PlainCells.of([record[index] if index < len(record) else "" for record in records])

    return Part(len(records), {name: column(index) for name, index in indices.items()})


def write_excel(frame: pd.DataFrame, file: BinaryIO) -> None:
    """Write a typed table as a workbook with one sheet. Text stays text, even where it starts with `=`.

    Raises:
        DataError: openpyxl is not installed, or the table has more rows than a sheet.
    """
    openpyxl = load("openpyxl", "files")
    if len(frame) >= MOST_ROWS:
        raise DataError(f"an Excel sheet holds at most {MOST_ROWS - 1} rows; write CSV or Parquet")
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("synthetic")
    cell_of = openpyxl.cell.WriteOnlyCell

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return None if pd.isna(value) else value
        written = cell_of(sheet, value)
        written.data_type = "s"
        return written

    sheet.append([cell(str(name)) for name in frame.columns])
    for row in zip(*(frame[name].astype(object) for name in frame.columns), strict=True):
        sheet.append([cell(value) for value in row])
    workbook.save(file)
