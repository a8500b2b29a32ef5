"""Files of other programs: workbooks, statistics packages, folders of Parquet parts, archives."""

from __future__ import annotations

import datetime as dt
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from common.errors import DataError
from common.tables.formats import read_parts, read_table
from common.tables.reading import Reading

CANARY = "7777123"


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


class TestExcel:
    def test_typed_cells_become_text_without_loss(self, tmp_path: Path) -> None:
        row = [63, 1.5, "007", True, dt.date(2020, 1, 31), dt.datetime(2020, 1, 31, 8, 30), None]
        path = workbook(tmp_path / "t.xlsx", data=[list("abcdefg"), row, [None] * 7, [1] * 7], notes=[])
        raw = read_table(path)
        assert raw.iloc[0].tolist() == ["63", "1.5", "007", "True", "2020-01-31", "2020-01-31 08:30:00", ""]
        assert len(raw) == 2

    def test_one_of_several_sheets_is_declared(self, tmp_path: Path) -> None:
        path = workbook(tmp_path / "t.xlsx", north=[["a"], [1]], south=[["a"], [2]])
        with pytest.raises(DataError, match="2 sheets hold cells; declare sheet = one of north, south"):
            read_table(path)
        assert read_table(path, Reading(sheet="south"))["a"].tolist() == ["2"]
        with pytest.raises(DataError, match="there is no sheet 'west'; choose from north, south"):
            read_table(path, Reading(sheet="west"))

    @pytest.mark.parametrize(
        ("rows", "cause"),
        [
            ([["a", None, "b"], [1, 2, 3]], "column 2 has no name in the first row"),
            ([["a", "a"], [1, 2]], "have the same name"),
            ([["a"], [1], [1, CANARY]], "row 3 has cells beyond the 1 columns"),
        ],
    )
    def test_a_malformed_sheet_is_refused(self, tmp_path: Path, rows: list[list[Any]], cause: str) -> None:
        with pytest.raises(DataError, match=cause) as caught:
            read_table(workbook(tmp_path / "t.xlsx", data=rows))
        assert CANARY not in str(caught.value)


class TestStatisticsFiles:
    @pytest.mark.parametrize("suffix", [".sav", ".dta"])
    def test_value_labels_stand_for_codes(self, tmp_path: Path, suffix: str) -> None:
        frame = pd.DataFrame({"sex": [1.0, 2.0, None, 1.0], "age": [63.0, 41.5, 20.0, 7.0]})
        write = {".sav": pyreadstat.write_sav, ".dta": pyreadstat.write_dta}[suffix]
        write(frame, tmp_path / f"t{suffix}", variable_value_labels={"sex": {1: "male", 2: "female"}})
        raw = read_table(tmp_path / f"t{suffix}")
        assert raw.to_dict("list") == {"sex": ["male", "female", "", "male"], "age": ["63", "41.5", "20", "7"]}

    def test_parts_are_those_of_the_whole(self, tmp_path: Path) -> None:
        pyreadstat.write_dta(pd.DataFrame({"a": range(10), "b": [str(i) for i in range(10)]}), tmp_path / "t.dta")
        parts = list(read_parts(tmp_path / "t.dta", ["b"], rows=5))
        assert [part.rows for part in parts] == [5, 5]
        assert [cell for part in parts for cell in part.cells("b")] == [str(number) for number in range(10)]

    def test_an_absent_library_names_its_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "t.dta").touch()
        monkeypatch.setitem(sys.modules, "pyreadstat", None)
        with pytest.raises(DataError, match=r"needs pyreadstat; run `pip install 'fedsynth\[files\]'`"):
            read_table(tmp_path / "t.dta")


class TestParquetFolder:
    def test_is_one_table_in_the_order_of_names(self, tmp_path: Path) -> None:
        folder = tmp_path / "t.parquet"
        folder.mkdir()
        (folder / "_SUCCESS").touch()
        for number in (1, 0, 2):
            pq.write_table(pa.table({"a": [number] * number}), folder / f"part-{number}.snappy.parquet")
        assert read_table(folder)["a"].tolist() == ["1", "2", "2"]

    @pytest.mark.parametrize(
        ("name", "cause"), [("part-1.parquet", "has other columns than"), ("x.csv", "is not a Parquet file")]
    )
    def test_of_unlike_parts_is_refused(self, tmp_path: Path, name: str, cause: str) -> None:
        folder = tmp_path / "t.parquet"
        folder.mkdir()
        with pytest.raises(DataError, match="holds no Parquet file"):
            read_table(folder)
        pq.write_table(pa.table({"a": [1]}), folder / "part-0.parquet")
        pq.write_table(pa.table({"b": [1]}), folder / name)
        with pytest.raises(DataError, match=cause):
            read_table(folder)


@pytest.mark.parametrize(
    ("members", "cause"), [(["a.csv", "b.csv"], "holds 2 files"), ([], "holds 0 files"), (["a.exe"], "does not end in")]
)
def test_an_archive_holds_one_csv_file(tmp_path: Path, members: list[str], cause: str) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for member in members:
            archive.writestr(member, f"a\n{CANARY}\n")
    with pytest.raises(DataError, match=cause) as caught:
        read_table(tmp_path / "t.zip")
    assert CANARY not in str(caught.value)


def test_an_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", f"a\n{CANARY}\n")
    content = bytearray((tmp_path / "t.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # bit 0 of the flags in the directory: the file is encrypted
    (tmp_path / "t.zip").write_bytes(content)
    with pytest.raises(DataError, match="the archive has a password; unpack it first"):
        read_table(tmp_path / "t.zip")
