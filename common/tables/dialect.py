"""How a CSV file is written: separator, decimal mark, encoding. Detected from the header and the first lines.

The separator is taken from the header, which holds no record. Encoding and decimal mark may need the first records.
They are properties of the program that wrote the file; the words of `Dialect.words` tell a person what was detected,
and `Reading` declares what should not be detected. A hospital that answers detects nothing: it reads its frozen table.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from common.errors import DataError
from common.tables.reading import WORDS, Reading

HEAD_BYTES = 2**16
"""Bytes at the start of a file from which its dialect is detected."""

HEAD_RECORDS = 200
"""Most records from which separator and decimal mark are detected."""

SEPARATORS = ",;\t|"
"""Separators that are detected, the usual one first."""

BLANKS = {0xA0: " ", 0x202F: " ", 0x2019: "'"}
"""Marks between thousands that programs write for a blank or an apostrophe."""

UTF_8 = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""

SEPARATOR_LINE = re.compile(r"sep=([^\w\r\n\"'])\r?(?:\n|\Z)", re.IGNORECASE)
"""Line above the header that names the separator for Excel, and holds no cell. `sep=x` is a header."""

_START, _END = r"\s*(?:(?:[<>≤≥]=?|=)\s*)?[+-]?", r"(?:[eE][+-]?\d+)?\s*"
"""What may stand before and behind the digits of a number. Blanks are read in one way only: many take no time."""

_COMMA_NUMBER = re.compile(rf"{_START}(?:\d+|\d{{1,3}}(?:\.\d{{3}})+),\d+{_END}")
_POINT_NUMBER = re.compile(rf"{_START}\d+\.\d+{_END}")


OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of before 2007",
    b"PAR1\x15": "Parquet",  # a first column may be named PAR1
    b"\x1f\x8b": "gzip",
    b"SQLite format 3": "an SQLite database",
    b"$FL2": "SPSS",
    b"<stata_dta>": "Stata",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"%PDF": "PDF",
}
"""Formats other than CSV, by the first bytes of a file."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written; the attributes are those of `Reading`."""

    separator: str = ","
    quote: str = '"'
    decimal: str = "."
    thousands: str = ""
    encoding: str = UTF_8
    comment: str = ""
    footer: int = 0

    def words(self) -> str:
        """Return what differs from a comma-separated file in UTF-8, for people; empty where nothing does."""
        parts = [
            f"{WORDS.get(self.separator, repr(self.separator))}-separated" if self.separator != "," else "",
            f"quoted with {self.quote}" if self.quote != '"' else "",
            "decimal comma" if self.decimal == "," else "",
            f"thousands {WORDS[self.thousands]}" if self.thousands else "",
            self.encoding if self.encoding not in (UTF_8, "utf-8") else "",
            f"comment lines start with {self.comment}" if self.comment else "",
            f"footer of {self.footer} records" if self.footer else "",
        ]
        return ", ".join(filter(None, parts))

    def number_reader(self) -> Callable[[str], str] | None:
        """Return the function that writes the numbers among cells with a decimal point; None where all have one.

        A cell that is no number of the dialect stays as it is.
        """
        if self.decimal == "." and not self.thousands:
            return None
        mark, group = re.escape(self.decimal), re.escape(self.thousands)
        # Where a decimal comma follows, points between groups of three digits are unambiguous without a declaration.
        grouped = rf"\d{{1,3}}(?:{group or r'[.]'}\d{{3}})+"
        whole = rf"|{_START}{grouped}\s*" if self.thousands else ""
        number = re.compile(rf"{_START}(?:\d+|{grouped}){mark}\d+{_END}{whole}")
        dropped = self.thousands or "."

        def read(cell: str) -> str:
            plain = cell if cell.isascii() else cell.translate(BLANKS)
            if number.fullmatch(plain) is None:
                return cell
            before, comma, after = plain.partition(self.decimal)
            return before.replace(dropped, "") + ("." + after if comma else "")

        return read


def detect(head: bytes, reading: Reading) -> Dialect:
    """Return the dialect of a file.

    Args:
        head: its first `HEAD_BYTES` bytes.
        reading: what a person declared, which is never detected.

    Raises:
        DataError: the file is of another format.
    """
    for start, name in OTHER_FORMATS.items():
        if head.startswith(start):
            raise DataError(f"it is not a CSV file but {name}; export it as CSV, or correct the end of its name")
    encoding = reading.encoding or _encoding(head)
    if encoding == "utf-8":
        encoding = UTF_8
    quote, comment = reading.quote or '"', reading.comment or ""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    lines = text.splitlines(keepends=True)
    if len(head) >= HEAD_BYTES:
        lines = lines[:-1]
    while lines and (not lines[0].strip() or (comment and lines[0].startswith(comment))):
        lines.pop(0)
    named = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if named is not None:
        lines = lines[1:]
    separator = reading.separator or (named and named[1]) or _separator("".join(lines), quote)
    decimal = reading.decimal or _decimal("".join(lines), separator, quote)
    return Dialect(separator, quote, decimal, reading.thousands or "", encoding, comment, reading.footer)


def _encoding(head: bytes) -> str:
    """Return the encoding that a byte order mark names, else UTF-8; cp1252 where no byte but ASCII is of UTF-8."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[1:2] == b"\0" == head[3:4]:
        return "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return UTF_8 if not head.decode("utf-8", errors="ignore").isascii() else "cp1252"
    return UTF_8


def _separator(text: str, quote: str) -> str:
    """Return the separator of the header; where it may be several, the first that splits all records alike.

    A first line without any is no header where one separator splits all other lines alike: then it is that one, and
    reading tells the first line apart.
    """
    fields = {mark: [len(record) for record in _records(text, mark, quote)] for mark in SEPARATORS}
    possible = [mark for mark in SEPARATORS if fields[mark] and fields[mark][0] > 1]
    if not possible:
        alike = [mark for mark in SEPARATORS if len(set(fields[mark][1:])) == 1 and fields[mark][1] > 1]
        return alike[0] if alike else ","
    alike = [mark for mark in possible if len(set(fields[mark])) == 1]
    return alike[0] if alike else max(possible, key=lambda mark: fields[mark][0])


def _decimal(text: str, separator: str, quote: str) -> str:
    """Return the decimal mark of most numbers with one; a comma needs another separator."""
    if separator == ",":
        return "."
    cells = [cell for record in _records(text, separator, quote)[1:] for cell in record]
    commas, points = (sum(map(bool, map(mark.fullmatch, cells))) for mark in (_COMMA_NUMBER, _POINT_NUMBER))
    return "," if commas > points else "."


def _records(text: str, separator: str, quote: str) -> list[list[str]]:
    """Return the first records, without empty ones; those before a malformed one."""
    records: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quotechar=quote, strict=True)
        for record in islice(filter(None, reader), HEAD_RECORDS):
            records.append(record)
    except csv.Error:
        pass
    return records
