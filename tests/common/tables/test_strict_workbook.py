"""Workbooks in strict form are read as the same workbook in the usual form."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from pathlib import Path

import openpyxl
import pytest

from common.errors import DataError
from common.tables import strict_workbook
from common.tables.formats import read_table
from common.tables.strict_workbook import NAMES, STRICT

ROWS = (
    ["patient", "admitted", "crp", "ward"],
    ["p1", dt.date(2024, 5, 1), 1.5, "Süd"],
    ["p2", dt.datetime(2024, 5, 2, 13, 30), None, f"see {STRICT.decode()}spreadsheetml/main"],
    *([f"p{row}", dt.datetime(2024, 6, 1 + row % 28), row / 8, "Nord"] for row in range(3, 400)),
)


def usual(path: Path) -> Path:
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    book.save(path)
    return path


def strict(path: Path, *, iso_dates: bool = False) -> Path:
    """Write the same workbook with the names of ISO/IEC 29500 Strict, as Excel does where asked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(usual(path)) as book, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in book.namelist():
            content = book.read(part)
            for name, usual_name in NAMES.items():
                content = content.replace(b'"' + usual_name, b'"' + STRICT + name)
            if iso_dates and "sheet1" in part:
                assert b'<c r="B2" s="1" t="n"><v>45413</v>' in content
                content = content.replace(
                    b'<c r="B2" s="1" t="n"><v>45413</v>', b'<c r="B2" s="1" t="d"><v>2024-05-01T00:00:00</v>'
                )
            new.writestr(part, content)
    path.write_bytes(packed.getvalue())
    return path


@pytest.mark.parametrize("iso_dates", [False, True])
def test_a_strict_workbook_has_the_cells_of_a_usual_one(iso_dates: bool, tmp_path: Path) -> None:
    expected = read_table(usual(tmp_path / "usual.xlsx"))
    read = read_table(strict(tmp_path / "strict.xlsx", iso_dates=iso_dates))
    assert read.equals(expected)
    assert list(read.loc[0]) == ["p1", "2024-05-01", "1.5", "Süd"]
    assert read.loc[1, "ward"] == "see http://purl.oclc.org/ooxml/spreadsheetml/main"


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_names_are_found_across_blocks(size: int) -> None:
    name, usual_name = next(iter(NAMES.items()))
    content = b'<a x="' + STRICT + name + b'" y="' + STRICT + name + b'">' + b"text" * 50
    part = strict_workbook._Renamed(io.BytesIO(content))
    blocks = iter(lambda: part.read(size), b"")
    assert b"".join(blocks) == b'<a x="' + usual_name + b'" y="' + usual_name + b'">' + b"text" * 50


def test_a_strict_workbook_with_a_damaged_sheet_is_refused(tmp_path: Path) -> None:
    path, packed = strict(tmp_path / "t.xlsx"), io.BytesIO()
    with zipfile.ZipFile(path) as book, zipfile.ZipFile(packed, "w") as new:
        for part in book.namelist():
            new.writestr(part, book.read(part)[:-200] if "sheet1" in part else book.read(part))
    path.write_bytes(packed.getvalue())
    with pytest.raises(DataError, match=r"not a workbook as Excel writes it \(ParseError\); save it again"):
        read_table(path)
