"""Reading CSV files of any dialect: a header, records of RFC 4180, maybe compressed. Strict: nothing is repaired."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO, cast

import numpy as np

from common.columns.cells import each
from common.errors import DataError
from common.tables.dialect import HEAD_BYTES, SEPARATOR_LINE, Dialect, detect
from common.tables.parts import Part, PlainCells, chunks, indices_of
from common.tables.raw import refuse_repeated
from common.tables.reading import Reading

MOST_CHARACTERS = 2**26
"""Most characters of a record, and of the records of a part but its last one. This bounds the memory that an unpaired
quotation mark, an archive of zeros or very many columns take."""

csv.field_size_limit(MOST_CHARACTERS + 1)
"""With Python's limit of a cell, 131,072 characters, one patient's long note would make a file unreadable."""

COMMENT_MARKS = "#%;!*/"
"""Characters that may start a comment line above the header."""

OpenFile = Callable[[], BinaryIO]
"""Opens a file of plain text from its beginning."""


def csv_parts(path: Path, columns: Sequence[str] | None, rows: int, reading: Reading) -> Iterator[Part]:
    """Yield the table part by part, at least one part; see `common.tables.formats.Reader`.

    Records are those of RFC 4180: a line break, separator or doubled quotation mark inside a quoted cell belongs to
    that cell. Empty lines are skipped. Anything else that is malformed is refused, never repaired line by line.

    Why a refusal is safe when one patient is added or removed: a correct CSV writer gives every patient exactly one
    record, whatever the cells hold, so one patient more or fewer is one record more or fewer and the file stays well
    formed. Quotation marks that do not pair, a record with missing fields and bytes of another encoding come from the
    program that wrote the file, not from a patient's values. To repair such a file line by line would do harm: one
    patient's cell could then pass for the records of many.

    Args:
        path: the file: plain, gzipped (`.gz`), or the only file of an archive (`.zip`).
        columns: the wanted columns, None for all.
        rows: most rows of a part.
        reading: what is declared about the file; the rest is detected.

    Raises:
        DataError: a record is malformed, of another encoding, or without the header's number of fields; or the header
            repeats a name. The text names the line where the record starts, the limit and the remedy.
    """
    open_file = opener(path)
    dialect = dialect_of(open_file, reading)
    number = dialect.number_reader()
    try:
        with io.TextIOWrapper(open_file(), encoding=dialect.encoding, newline="") as text:
            reader = CsvRecords(text, dialect)
            records = iter(reader)
            header = next(records, [])
            refuse_repeated(header)
            indices = indices_of(header, columns)
            for chunk in chunks(lambda: _some(reader, records, rows)):
                yield _part(chunk, len(header), indices, number)
    except (csv.Error, UnicodeError):
        _refuse_malformed(open_file, dialect)


def dialect_of(open_file: OpenFile, reading: Reading) -> Dialect:
    """Return the dialect of a file, detected where it is not declared."""
    with open_file() as file:
        return detect(file.read(HEAD_BYTES), reading)


def opener(path: Path) -> OpenFile:
    """Return what opens the text of a file that may be compressed."""
    if path.suffix.lower() == ".gz":
        return lambda: cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix.lower() == ".zip":
        return lambda: _only_member(path)
    return lambda: path.open("rb")


def _only_member(path: Path) -> BinaryIO:
    """Open the only file of an archive. Raises `DataError` if it holds another number of files, or a password."""
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
        if len(files) != 1:
            raise DataError(f"the archive holds {len(files)} files; put one CSV file into it")
        if not files[0].filename.lower().endswith((".csv", ".tsv")):
            raise DataError("the file in the archive does not end in .csv or .tsv; unpack it, or pack a CSV file")
        if files[0].flag_bits & 1:
            raise DataError("the archive has a password; unpack it first")
        return cast("BinaryIO", archive.open(files[0]))


class CsvRecords:
    """The records of a CSV file, the header first, without empty ones, comments and the footer.

    Attributes:
        line: number of the line where the latest record starts, from 1; where a footer is skipped, of one after it.
        length: characters of that record.
    """

    def __init__(self, text: TextIO, dialect: Dialect) -> None:
        self._dialect, self._before, self.line, self.length = dialect, 0, 1, 0
        self._reader = csv.reader(self._lines(text), delimiter=dialect.separator, quotechar=dialect.quote, strict=True)

    def _lines(self, text: TextIO) -> Iterator[str]:
        """Yield the lines from the header on, without comments and the line `sep=;` of Excel before it."""
        lines, comment, is_before = lines_of(text), self._dialect.comment, True
        for line in lines:
            is_separator = is_before and SEPARATOR_LINE.fullmatch(line) is not None
            if is_separator or (is_before and comment and line.startswith(comment)):
                is_before = not is_separator
                self._before += 1
                continue
            is_before = is_before and not line.strip()
            self.length += len(line)
            if self.length > MOST_CHARACTERS:
                raise DataError(
                    f"the record that starts in line {self.line} has more than {MOST_CHARACTERS} characters; shorten "
                    "it, or check that its quotation marks come in pairs"
                )
            yield line

    def __iter__(self) -> Iterator[list[str]]:
        records = self._records()
        return _without_last(records, self._dialect.footer) if self._dialect.footer else records

    def _records(self) -> Iterator[list[str]]:
        comment = self._dialect.comment
        while True:
            self.line, self.length = self._before + self._reader.line_num + 1, 0
            record = next(self._reader, None)
            if record is None:
                return
            if record and not (comment and record[0].startswith(comment)):
                yield record


def lines_of(text: TextIO) -> Iterator[str]:
    """Yield the lines of a text; of one that is longer than a record may be, pieces."""
    return iter(lambda: text.readline(MOST_CHARACTERS + 1), "")


def _without_last(records: Iterator[list[str]], footer: int) -> Iterator[list[str]]:
    """Yield all records but the last ones, this many."""
    held: deque[list[str]] = deque(islice(records, footer))
    for record in records:
        held.append(record)
        yield held.popleft()


def _some(reader: CsvRecords, records: Iterator[list[str]], rows: int) -> list[list[str]]:
    """Return the next records: at most this many, and no further one after `MOST_CHARACTERS`.

    Args:
        reader: what reads them.
        records: its records.
        rows: most records.
    """
    chunk, characters = list[list[str]](), 0
    for record in islice(records, rows):
        chunk.append(record)
        characters += reader.length
        if characters > MOST_CHARACTERS:
            break
    return chunk


def _part(
    records: Sequence[list[str]], fields: int, indices: Mapping[str, int], number: Callable[[str], str] | None
) -> Part:
    """Return the wanted columns of some records.

    Args:
        records: records without empty ones.
        fields: number of fields of the header.
        indices: index of every wanted column.
        number: writes a number of the dialect with a decimal point; None where all have one.

    Raises:
        csv.Error: a record lacks the header's number of fields.
    """
    if set(map(len, records)) - {fields}:
        raise csv.Error
    cells = np.array(records, dtype=object).reshape(len(records), fields)

    def column(index: int) -> PlainCells:
        texts = cells[:, index]
        return PlainCells(texts) if number is None else PlainCells.of(each(texts, number))

    return Part(len(records), {name: column(index) for name, index in indices.items()})


def _refuse_malformed(open_file: OpenFile, dialect: Dialect) -> NoReturn:
    """Raise the `DataError` about the first record that is malformed, reading record by record to know its line."""
    try:
        with io.TextIOWrapper(open_file(), encoding=dialect.encoding, newline="") as text:
            reader = CsvRecords(text, dialect)
            records = iter(reader)
            header: list[str] = []
            while True:
                try:
                    record = next(records, None)
                except csv.Error:
                    raise DataError(
                        f"quotation marks do not pair up in the record that starts in line {reader.line}; put cells "
                        "that hold a quotation mark in quotation marks and double those inside"
                    ) from None
                if record is None:
                    raise DataError("it changed while it was read; read it again when nothing writes into it")
                header = header or record
                if len(record) != len(header):
                    line = reader.line
                    is_last = len(record) < len(header) and next(records, None) is None
                    raise DataError(_wrong_fields(line, record, header, is_last))
    except UnicodeError:
        line = _first_undecodable_line(open_file, dialect.encoding)
        name = "UTF-8" if dialect.encoding.startswith("utf-8") else dialect.encoding
        raise DataError(
            f"it is not {name} text in line {line}; save it as UTF-8, or declare encoding = cp1252 or another"
        ) from None


def _wrong_fields(line: int, record: list[str], header: list[str], is_last: bool) -> str:
    """Return what is wrong with a record of another number of fields than the header, and what to do.

    Args:
        line: where the record starts.
        record: its cells, which no message quotes.
        header: the cells of the header.
        is_last: nothing follows the record, and it has fewer fields than the header.
    """
    fact = f"line {line} has {len(record)} fields where the header has {len(header)}"
    if len(header) == 1:
        mark = header[0][:1] if header[0][:1] in COMMENT_MARKS else ""
        declare = f"declare comment = {mark}" if mark else "declare the separator"
        return f"{fact}; the first line does not look like a header: remove the lines above the header, or {declare}"
    if is_last:
        return f"{fact}; it is the last line: complete the line, or if it is a footer, remove it or declare footer = 1"
    return f"{fact}; quote fields that hold a separator or a line break, or complete the line"


def _first_undecodable_line(open_file: OpenFile, encoding: str) -> int:
    """Return the number of the first line that is not of the encoding, from 1; of the last line where all are."""
    lines = 0
    with io.TextIOWrapper(open_file(), encoding=encoding, newline="", errors="surrogateescape") as text:
        try:
            for line in lines_of(text):
                lines += 1
                if any("\ud800" <= mark <= "\udfff" for mark in line):
                    break
        except UnicodeError:
            lines += 1
    return lines
