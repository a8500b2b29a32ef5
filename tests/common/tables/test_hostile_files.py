"""Files that no program should send: each is refused in little time and memory, without a cell, or read by a rule."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import DataError
from common.tables import csv_reader, excel, parquet_reader
from common.tables.formats import described, has_decimal_comma, read_parts, read_table
from tests.testbeds.command_line import fedsynth, output_of

CANARY = "canary-7777123"
TEXT = "patient,age\n" + "".join(f"p{row},{row}\n" for row in range(20))


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def plain(file: io.BytesIO) -> None:
    book = openpyxl.Workbook()
    for row in (["patient", "age"], [CANARY, 7]):
        book.active.append(row)
    book.save(file)


def titled(file: io.BytesIO) -> None:
    book = openpyxl.Workbook()
    for row in (["Patients of 2024"], ["patient", "age"], [CANARY, 7]):
        book.active.append(row)
    book.active.merge_cells("A1:B1")
    book.save(file)


def changed_sheet(change: Callable[[bytes], bytes]) -> bytes:
    """Return a workbook with other bytes in its sheet."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(bytes_of(plain))) as book,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in book.infolist():
            content = book.read(part)
            new.writestr(part.filename, change(content) if "sheet1" in part.filename else content)
    return packed.getvalue()


def long_cell(characters: int) -> bytes:
    cell = b'<row r="9"><c r="A9" t="inlineStr"><is><t>' + b"A" * characters + b"</t></is></c></row></sheetData>"
    return changed_sheet(lambda sheet: sheet.replace(b"</sheetData>", cell))


def row_at(number: int) -> bytes:
    row = f'<row r="{number}"><c r="A9" t="inlineStr"><is><t>{CANARY}</t></is></c></row></sheetData>'
    return changed_sheet(lambda sheet: sheet.replace(b"</sheetData>", row.encode()))


def wide_row_before_damage() -> bytes:
    wide = b'<row r="4"><c r="XFD4"><v>1</v></c></row>' + b" " * 2**20 + b"<damaged </sheetData>"
    return changed_sheet(lambda sheet: sheet.replace(b"</sheetData>", wide))


def two_rows_of_one_number() -> bytes:
    cells = "".join(f'<row r="3"><c r="A3"><v>{value}</v></c></row>' for value in (1, 2))
    return changed_sheet(lambda sheet: sheet.replace(b"</sheetData>", f"{cells}</sheetData>".encode()))


def cells_of_row_3(*columns: str) -> bytes:
    cells = "".join(f'<c r="{column}3"><v>1</v></c>' if column else "<c><v>1</v></c>" for column in columns)
    return changed_sheet(lambda sheet: sheet.replace(b"</sheetData>", f'<row r="3">{cells}</row></sheetData>'.encode()))


def parquet_of(column: pa.Array) -> bytes:
    table = pa.table({"patient": column})
    return bytes_of(lambda file: pq.write_table(table, file, compression="zstd", max_rows_per_page=len(column)))


def one_text_in_every_row() -> bytes:
    return parquet_of(pa.DictionaryArray.from_arrays(np.zeros(300, np.int32), [CANARY + "A" * 2**12]))


def many_entities() -> bytes:
    entities = b"".join(b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10) for level in range(1, 10))
    document = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + entities + b"]>"
    return changed_sheet(lambda sheet: document + sheet.replace(b"<v>7</v>", b"<v>&a9;</v>"))


def damaged_zip() -> bytes:
    content = bytearray(bytes_of(lambda file: zipfile.ZipFile(file, "w").writestr("a.csv", TEXT)))
    content[80] ^= 1
    return bytes(content)


FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "unpaired quotation mark": (
        "t.csv",
        lambda: (TEXT + f'{CANARY},"1\n' + TEXT * 50).encode(),
        "record that starts in line 22 has more than 4096 characters; shorten it, or check that its quotation marks",
    ),
    "endless line": ("t.csv", lambda: TEXT.encode() + b"A" * 10**6, "record that starts in line 22 has more than 4096"),
    "gzip bomb": ("t.csv.gz", lambda: gzip.compress(TEXT.encode() + bytes(2**24)), "line 22 has more than 4096"),
    "gzip cut off": ("t.csv.gz", lambda: gzip.compress(TEXT.encode())[:-20], "the archive is damaged or incomplete"),
    "damaged zip": ("t.zip", damaged_zip, "the archive is damaged or incomplete, or it is not an archive"),
    "columns without a name": ("t.csv", lambda: b"patient,,\n1,2,3\n", "columns 2 and 3 have no name in the header"),
    "workbook named CSV": ("t.csv", lambda: bytes_of(titled), "not a CSV file but an Excel workbook or a zip"),
    "Parquet named CSV": (
        "t.tsv",
        lambda: bytes_of(lambda file: pd.DataFrame({"a": [CANARY]}).to_parquet(file)),
        "not a CSV file but Parquet; export it as CSV, or correct the end of its name",
    ),
    "web page named CSV": ("t.csv", lambda: b"<html><table><tr><td>1</td></tr></table></html>", "but a web page"),
    "cell that Excel cannot write": ("t.xlsx", lambda: long_cell(40_000), "row 9 has a cell of more than 32767"),
    "workbook bomb": ("t.xlsx", lambda: long_cell(2**24), "a part of the workbook has more than 16777216 bytes"),
    "workbook of billions of rows": ("t.xlsx", lambda: row_at(10**12), "a row has a number above 4096, the most of a"),
    "workbook with one wide row": ("t.xlsx", wide_row_before_damage, "row 4 has cells beyond the 2 columns"),
    "workbook of two rows 3": ("t.xlsx", two_rows_of_one_number, "row 3 comes after row 3; check the rows there"),
    "workbook of rows out of order": ("t.xlsx", lambda: row_at(1), "row 1 comes after row 2; check the rows there"),
    "workbook of two cells A3": ("t.xlsx", lambda: cells_of_row_3("A", "A"), "row 3 has two cells in column A; check"),
    "workbook of a second cell a3": ("t.xlsx", lambda: cells_of_row_3("A", "a"), "row 3 has two cells in column A"),
    "workbook of a cell before one without a name": (
        "t.xlsx",
        lambda: cells_of_row_3("", "", "A"),
        "row 3 has its cell in column A after later ones; check",
    ),
    "workbook of cells out of order": (
        "t.xlsx",
        lambda: cells_of_row_3("AA", "B"),
        "row 3 has its cell in column B after later ones; check",
    ),
    "Parquet bomb of gaps": (
        "t.parquet",
        lambda: parquet_of(pa.nulls(2**18 + 1, pa.int8())),
        "it unpacks to more than 262144 cells or bytes, and more than 100 times the size of the file; export",
    ),
    "Parquet bomb of zeros": (
        "t.parquet",
        lambda: parquet_of(pa.array([CANARY + "A" * 2**18])),
        "it unpacks to more than 262144 cells or bytes",
    ),
    "Parquet bomb of one text": ("t.parquet", one_text_in_every_row, "it unpacks to more than 262144 cells or bytes"),
    "workbook of entities": ("t.xlsx", many_entities, r"not a workbook as Excel writes it \(ParseError\); save"),
    "title above the header": ("t.xlsx", lambda: bytes_of(titled), "remove the rows above the header"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_strange_file_is_refused_without_a_cell(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "MOST_CHARACTERS", 4096)
    monkeypatch.setattr(excel, "MOST_ROWS", 4096)
    for limit in ("MOST_CELLS", "MOST_AT_ONCE"):
        monkeypatch.setattr(parquet_reader, limit, 2**18)
    monkeypatch.setattr(parquet_reader, "MOST_RATIO", 100)
    file, content, message = FILES[name]
    (tmp_path / file).write_bytes(content())
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / file)
    assert str(tmp_path / file) in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_long_record_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "MOST_CHARACTERS", 4096)
    (tmp_path / "t.csv").write_text(TEXT + 'p9,"' + "A" * 4091 + '"')  # 4 + 4091 + 1 characters
    assert read_table(tmp_path / "t.csv")["age"].iloc[-1] == "A" * 4091


def test_a_part_ends_after_long_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "MOST_CHARACTERS", 4096)
    (tmp_path / "t.csv").write_text("note\n" + ("A" * 999 + "\n") * 12)
    assert [part.rows for part in read_parts(tmp_path / "t.csv")] == [5, 5, 2]


def test_a_column_may_have_a_name_that_begins_another_format(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("PAR1,PAR2\n1,2\n")
    assert list(read_table(tmp_path / "t.csv").columns) == ["PAR1", "PAR2"]


def test_many_columns_take_little_time(tmp_path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(50_000))  # 1.25e9 comparisons, if each name met all others
    (tmp_path / "t.csv").write_text(names + "\n" + "1," * 49_999 + "1\n")
    assert [list(part.columns) for part in read_parts(tmp_path / "t.csv", ["c7"])] == [["c7"]]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    for read in (read_table, described, has_decimal_comma):
        with pytest.raises(DataError, match="it is a device or a pipe"):
            read(tmp_path / "t.csv")
    (tmp_path / "t.parquet").mkdir()
    os.mkfifo(tmp_path / "t.parquet" / "part-0.parquet")
    with pytest.raises(DataError, match=r"the folder holds 'part-0\.parquet', which is not a Parquet file"):
        read_table(tmp_path / "t.parquet")


def test_a_loop_of_links_is_not_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").symlink_to(tmp_path / "t.csv")
    settings: list[Any] = ["--name", "north", "--declared-rows", 100, "--max-epsilon", 5]
    created = fedsynth("site", "init", tmp_path / "site", "--data", tmp_path / "t.csv", *settings)
    assert (created.exit_code, "there is no file" in output_of(created)) == (0, True)
    result = fedsynth("site", "import", "--site", tmp_path / "site")
    assert result.exit_code == 5
    assert "cannot use table" in output_of(result)
