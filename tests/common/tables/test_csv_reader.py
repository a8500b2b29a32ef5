"""Reading files, above all CSV: cells as they are written, and one refusal in the same words everywhere."""

import csv
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from common.tables.checking import check_table
from common.tables.formats import read_parts, read_table
from tests.testbeds.ward_table import CANARY, SCHEMA


def test_a_csv_keeps_every_cell_as_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('﻿id,a,b\n007,None,\n1e5,"x, y",NA\n\n', encoding="utf-8")
    raw = read_table(path)
    assert raw.to_dict("list") == {"id": ["007", "1e5"], "a": ["None", "x, y"], "b": ["", "NA"]}


def test_a_gzipped_csv_reads_like_a_plain_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_table(tmp_path / "t.csv.gz").to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_parquet_becomes_text_without_loss(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"age": [63.0, np.nan], "long": pd.array([2**60 + 1, None], dtype="Int64"), "ok": [True, False]}
    )
    frame.set_index("age").to_parquet(tmp_path / "t.parquet")
    raw = read_table(tmp_path / "t.parquet")
    assert raw["age"].tolist() == ["63", ""]
    assert raw["long"].tolist() == [str(2**60 + 1), ""]
    assert raw["ok"].tolist() == ["True", "False"]


@pytest.mark.parametrize(
    ("content", "cause", "remedy"),
    [
        (b"a,b,a\n7777123,1,2\n", "columns 1 and 3 have the same name in the header", "rename or remove one"),
        (b"a,b\n1,2\n7777123\n", "line 3 has 1 fields where the header has 2", "complete the line"),
        (b"a,b\n1,2,7777123\n", "line 2 has 3 fields where the header has 2", "quote fields"),
        (b'a,b\n"1\n1",2\n\n1,7777123\n1,2,3\n', "line 6 has 3 fields where the header has 2", "a line break"),
        (b'a,b\n1,"7777123\n3,4\n', "quotation marks do not pair up in the record that starts in line 2", "double"),
        (b'a,b\n1,2\n1,"77"77123\n', "quotation marks do not pair up in the record that starts in line 3", "double"),
        (b'a,"b\n7777123,1\n', "quotation marks do not pair up in the record that starts in line 1", "double"),
        (b"a,b\n1,\xc3\xa9\n7777123,\xe9\n", "it is not UTF-8 text in line 3", "save it as UTF-8"),
        (b"a,b\n7777123,\xe9\x81\n", "it is not cp1252 text in line 2", "save it as UTF-8"),
        ("a,b\n7777123,1\n".encode("utf-16")[:-1], "it is not utf-16 text in line 2", "save it as UTF-8"),
        (b"# made 2024\na,b\n7777123,1\n", "line 2 has 2 fields where the header has 1", "declare comment = #"),
        (b"made 2024\na;b\n7777123;1\n", "line 2 has 2", "the first line does not look like a header"),
        (b"a,b\n1,7777123\n\n(1 row affected)\n", "line 4 has 1", "it is a footer, remove it or declare footer = 1"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_malformed_csv_is_refused_in_the_same_words_by_all(
    tmp_path: Path, suffix: str, content: bytes, cause: str, remedy: str
) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    messages = []
    for read in (read_table, lambda path: list(read_parts(path, ["a"], rows=1))):
        with pytest.raises(DataError) as caught:
            read(path)
        messages.append(str(caught.value))
        assert caught.value.exit_code == 5
        assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert len(set(messages)) == 1
    message = messages[0]
    assert str(path) in message
    assert cause in message
    assert remedy in message
    assert CANARY not in message


def test_a_quoted_line_break_belongs_to_its_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,"b\n(unit)"\r\n"x\r\n1,2\n3,4","say ""hi"""\r\n5,6\r\n')
    assert read_table(path).to_dict("list") == {"a": ["x\r\n1,2\n3,4", "5"], "b\n(unit)": ['say "hi"', "6"]}


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=8)] * 2), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_correct_writer_gives_one_record_per_row(rows: list[tuple[str, ...]], line_end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=line_end).writerows([("a", "b"), *rows])
        assert read_table(path).to_numpy().tolist() == [list(row) for row in rows]


def test_no_length_of_a_cell_makes_a_file_unreadable(tmp_path: Path) -> None:
    # One patient's long note must not decide whether a hospital answers; Python's own limit is 131,072 characters.
    (tmp_path / "t.csv").write_text(f"a,b\n1,{'x' * 200_000}\n")
    assert len(read_table(tmp_path / "t.csv")["b"][0]) == 200_000


@pytest.mark.parametrize(("content", "columns"), [(b"", []), (b"\n", []), (b"a,b\n", ["a", "b"])])
def test_table_without_rows_is_read_but_refused_by_check(tmp_path: Path, content: bytes, columns: list[str]) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    raw = read_table(tmp_path / "t.csv")
    assert (len(raw), list(raw.columns)) == (0, columns)
    with pytest.raises(DataError, match=r"^t\.csv: the table has no rows; give a table with a header and rows$"):
        check_table(raw, SCHEMA, name="t.csv")


@pytest.mark.parametrize(
    "name",
    ["none.csv", "none.parquet", "text.parquet", "text.csv.gz", "text.xlsx", "folder.csv", "text.zip", "text.dta"],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    if name.startswith("text"):
        (tmp_path / name).write_text(f"a,b\n{CANARY},2\n")
    with pytest.raises(DataError, match="cannot use table") as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n7777123\n")
    parts = read_parts(path, rows=1)
    next(parts)
    path.unlink()
    path.write_text("a,b\n1,2\n7777123,4\n")
    with pytest.raises(DataError, match=r"t\.csv': it changed while it was read; read it again") as caught:
        next(parts)
    assert CANARY not in str(caught.value)
