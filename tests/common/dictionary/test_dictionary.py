"""Dictionary files: what they may leave open, what they refuse, and that they come back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.columns.kinds import KINDS
from common.dictionary.dictionary import build_dictionary, parse_dictionary, read_dictionary, to_toml
from common.dictionary.entry import OPENABLE, parse_entry, settings_of
from common.dictionary.template import template
from common.errors import StudyError
from common.study.schema import Schema
from tests.testbeds.all_kinds import COLUMNS
from tests.testbeds.dictionaries import dictionary, labeled, numeric

HEAD = '[dictionary]\nhospital = "north"\n'
WHOLE_DATE = "[[columns]]\nname='a'\nkind='date'\nsince='b'\nleast=0\nmost=9\n"


class TestEntry:
    """One column of a dictionary."""

    def test_every_kind_says_what_may_be_open(self) -> None:
        assert set(OPENABLE) == set(KINDS)

    @pytest.mark.parametrize("kind", list(KINDS))
    def test_a_column_with_name_and_kind_alone_is_open(self, kind: str) -> None:
        entry = parse_entry({"name": "x", "kind": kind})
        assert set(entry.open_keys) == set(OPENABLE[kind]({"kind": kind}))
        assert dict(entry.settings) == {"name": "x", "kind": kind}

    @pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column["name"]))
    def test_a_whole_column_is_that_of_a_study(self, column: dict[str, Any]) -> None:
        entry = parse_entry(column)
        assert entry.open_keys == ()
        assert parse_entry(settings_of(entry.column)).column == entry.column

    @pytest.mark.parametrize(
        ("given", "open_key"), [({"lower": 18}, "upper"), ({"upper": -3.5, "decimals": 1}, "lower")]
    )
    def test_one_bound_may_be_open(self, given: dict[str, Any], open_key: str) -> None:
        entry = parse_entry({"name": "x", "kind": "numeric", "multiples": [10], **given})
        assert entry.open_keys == (open_key,)
        assert entry.value("multiples") == [10]
        assert entry.value(open_key) is None

    def test_a_value_is_the_default_where_nothing_is_said(self) -> None:
        entry = parse_entry({"name": "x", "kind": "date"})
        assert entry.value("date_format") == "%Y-%m-%d"
        assert entry.value("missing") is False


class TestDictionary:
    """A whole file."""

    def test_a_file_comes_back_as_it_was_written(self) -> None:
        before = build_dictionary({"dictionary": {"hospital": "north"}, "columns": list(COLUMNS)}, "test")
        after = parse_dictionary(to_toml(before.hospital, before.columns, source="a page", notes=["one\ntwo"]))
        assert after.columns == before.columns
        assert after.about.source == "a page"
        Schema(columns=tuple(entry.column for entry in after.columns))

    def test_an_open_key_stands_as_a_comment(self) -> None:
        text = to_toml("north", dictionary("north", numeric("age", None, None)).columns)
        assert "# lower = ..." in text
        assert parse_dictionary(text).columns[0].open_keys == ("lower", "upper")

    def test_meanings_come_back(self) -> None:
        before = dictionary("north", labeled("sex", "1", "2", meanings={"1": "male", "2": "žena"}))
        after = parse_dictionary(to_toml("north", before.columns))
        assert dict(after.columns[0].meanings) == {"1": "male", "2": "žena"}

    def test_a_meaning_is_one_line(self) -> None:
        with pytest.raises(StudyError, match="a text in meanings cannot be printed; remove its line breaks"):
            dictionary("north", labeled("sex", "1", "2", meanings={"1": "male\nor not"}))

    def test_the_form_needs_a_column(self) -> None:
        with pytest.raises(StudyError, match=r"describes no column; add a \[\[columns\]\] section"):
            parse_dictionary(template("north"))

    def test_every_example_of_the_form_is_valid(self) -> None:
        lines = template("north").splitlines()
        filled = "\n".join(line[2:] if "=" in line or "[[" in line else line for line in lines if line.startswith("# "))
        assert {entry.kind for entry in parse_dictionary(HEAD + filled).columns} == set(KINDS) - {"datetime", "text"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "describes no column"),
            ("age,sex\n70,m\n", r"is not valid TOML \(at line 1, column 4\).*never a table of patients"),
            ("columns = 3\n" + HEAD, r"\[columns\] input should be a valid tuple"),
            ("columns = [3]\n" + HEAD, "start it with"),
            ("[[columns]]\nname='a'\nkind='text'\n", r"\[dictionary\] is not given"),
            (HEAD + "[[columns]]\nname='a'\n", "column 'a': kind is not given"),
            (HEAD + "[[columns]]\nname='a'\nkind='nmeric'\n", "column 'a': unknown kind 'nmeric'"),
            (HEAD + "[[columns]]\nname='a'\nkind='numeric'\nlowr=1\n", "unknown key 'lowr'.*did you mean 'lower'"),
            (HEAD + "[[columns]]\nname='a'\nkind='numeric'\nlower=5\nupper=1\n", "lower must be below upper"),
            (HEAD + "[[columns]]\nname='a'\nkind='text'\n" * 2, "column 'a' is described twice"),
            (HEAD + "[[columns]]\nname='a'\nkind='categorical'\ncategories=['x','x']\n", "listed twice"),
            (HEAD + "[[columns]]\nname='a'\nkind='boolean'\nmeanings={z='q'}\n", "names 'z', which is not among"),
            (HEAD + "[[columns]]\nname='a'\nkind='boolean'\nmeanings=3\n", "meanings is a table of texts"),
            (HEAD + "[[columns]]\nname='a'\nkind='date'\nsince='b'\n", "names column 'b', which is not described"),
            (
                HEAD + WHOLE_DATE + "[[columns]]\nname='b'\nkind='text'\n",
                "column 'a' has since = 'b', which is not a date",
            ),
            (HEAD + "rows = 3\n[[columns]]\nname='a'\nkind='text'\n", "unknown key 'rows'"),
        ],
    )
    def test_a_faulty_file_is_refused_with_its_place(self, text: str, message: str) -> None:
        with pytest.raises(StudyError, match=message):
            parse_dictionary(text)

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "north.parquet"
        path.write_bytes(b"PAR1\xff\xfe\x00")
        with pytest.raises(StudyError, match="give a TOML file that `fedsynth site dictionary` wrote"):
            read_dictionary(path)

    def test_a_table_of_patients_is_not_quoted(self) -> None:
        with pytest.raises(StudyError) as problem:
            parse_dictionary("name,age\nKari Nordmann,7777\n")
        assert "Kari" not in str(problem.value)
