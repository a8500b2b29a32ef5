"""Dialects of CSV files: the same table, however a program wrote it, and the words that say how it was read."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError, StudyError
from common.tables.dialect import Dialect, detect
from common.tables.formats import described, read_table
from common.tables.reading import Reading, parse_reading

ROWS = [["alter", "größe", "crp"], ["63", "klein", "1.5"], ["41", "groß; sehr", "1234.25"], ["55", "", "<0.1"]]


def written(separator: str, decimal: str, encoding: str) -> bytes:
    text = io.StringIO()
    rows = [[cell.replace(".", decimal) if column == 2 else cell for column, cell in enumerate(row)] for row in ROWS]
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode(encoding)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_one_table_is_read_from_every_dialect(tmp_path: Path, separator: str, decimal: str, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(written(separator, decimal, encoding))
    reading = Reading(decimal=",") if (separator, decimal) == (",", ",") else Reading()
    raw = read_table(path, reading)
    assert [list(raw.columns), *raw.to_numpy().tolist()] == ROWS


def test_the_dialect_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "north.csv").write_bytes(written(";", ",", "cp1252"))
    (tmp_path / "plain.csv").write_bytes(written(",", ".", "utf-8"))
    told = described(tmp_path / "north.csv")
    assert told == ["north.csv is read as semicolon-separated, decimal comma, cp1252"]
    assert described(tmp_path / "plain.csv") == []


def test_commas_in_numbers_between_commas_are_no_decimal_marks() -> None:
    # "1,234" in quotation marks may be a thousand or a number with decimals: a person has to say which.
    assert detect(b'a,b\n"1,234",x\n"5,678",y\n', Reading()).decimal == "."
    assert detect(b"a;b\n1,234;x\n5,678;y\n", Reading()).decimal == ","


@pytest.mark.parametrize(
    ("declared", "cells", "read"),
    [
        ({"decimal": ","}, ["1,5", "1.234,5", "-0,25", "1,5e-3"], ["1.5", "1234.5", "-0.25", "1.5e-3"]),
        ({"decimal": ","}, ["1.234", "I10,9", "12.03.2020", "<0,1"], ["1.234", "I10,9", "12.03.2020", "<0.1"]),
        ({"decimal": ",", "thousands": "."}, ["1.234", "12.34", "1.234.567"], ["1234", "12.34", "1234567"]),
        ({"thousands": ","}, ["1,234.50", "1,234", "1,2"], ["1234.50", "1234", "1,2"]),
        ({"thousands": "blank", "decimal": ","}, ["1 234,5", "12 345"], ["1234.5", "12345"]),
        ({}, ["1,234", "1 234"], ["1,234", "1 234"]),
    ],
)
def test_only_numbers_of_the_dialect_are_rewritten(declared: dict[str, str], cells: list[str], read: list[str]) -> None:
    number = detect(b"a;b\n", Reading.model_validate(declared)).number_reader()
    assert [cell if number is None else number(cell) for cell in cells] == read


class TestDeclared:
    def test_comments_and_a_footer_are_skipped(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text('# made on a day, by "x\na,b\n1,"# 2\n# 3"\n# half way,\n4,5\n\n(2 rows)\n')
        raw = read_table(path, parse_reading(["comment=#", "footer=1"]))
        assert raw.to_numpy().tolist() == [["1", "# 2\n# 3"], ["4", "5"]]

    def test_what_is_declared_is_not_detected(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("a;b,c\n1;2,5\n")
        assert list(read_table(path, parse_reading(["separator=comma"])).columns) == ["a;b", "c"]
        assert list(read_table(path, parse_reading(["separator=;", "decimal=point"]))["b,c"]) == ["2,5"]

    def test_what_a_format_does_not_have_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("a\n1\n")
        with pytest.raises(DataError, match="'sheet' is declared, which a CSV file does not have; remove it"):
            read_table(tmp_path / "t.csv", Reading(sheet="x"))

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("separator", "takes KEY=VALUE"),
            ("separater=;", "did you mean 'separator'?"),
            ("separator=;;", "separator"),
            ("encoding=utf-99", "is unknown"),
            ("decimal=x", "decimal"),
            ("footer=-1", "footer"),
            ("thousands=.", "are the same mark"),
            ('separator="', "are the same character"),
            ("separator=\n", "separator and quote cannot be line breaks"),
            ("quote=\r", "separator and quote cannot be line breaks"),
        ],
    )
    def test_an_impossible_declaration_is_refused(self, text: str, cause: str) -> None:
        with pytest.raises(StudyError, match="--read") as caught:
            parse_reading([text, *(['quote="'] if text.startswith('separator="') else [])])
        assert cause in str(caught.value)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=40))
def test_no_record_changes_separator_or_bytes_of_others(cells: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *[[cell, "x"] for cell in cells]])
    assert detect(text.getvalue().encode(), Reading()).separator == ";"
    assert detect(text.getvalue().encode(), Reading()).encoding == Dialect().encoding


def test_blanks_in_a_cell_take_no_time() -> None:
    table = ("a;b\n1,5;" + " " * 60_000 + "!\n").encode()
    started = time.process_time()
    dialect = detect(table, Reading())
    assert dialect.decimal == ","
    read = dialect.number_reader()
    assert read is not None
    assert read(" " * 200_000 + "1") == " " * 200_000 + "1"
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_line_for_excel_names_the_separator(tmp_path: Path, line_end: str) -> None:
    lines = ["sep=;", "a,b;c", "1,5;x", "2,5;y", ""]
    (tmp_path / "t.csv").write_bytes(line_end.join(lines).encode("utf-8-sig"))
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"a,b": ["1.5", "2.5"], "c": ["x", "y"]}
    (tmp_path / "t.csv").write_bytes(line_end.join([*lines[:3], "2,5", ""]).encode())
    with pytest.raises(DataError, match="line 4 has 1 fields"):
        read_table(tmp_path / "t.csv")


def test_a_line_for_excel_may_stand_below_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\nsep=;\na,b;c\n1;x\n")
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"a,b": ["1"], "c": ["x"]}


@pytest.mark.parametrize("name", ["sep=x", "sep=1"])
def test_a_header_like_a_line_for_excel_is_a_header(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{name}\n1\n2\n")
    assert read_table(tmp_path / "t.csv").to_dict("list") == {name: ["1", "2"]}
