"""Mapping files: what is refused with which words, and what a mapping says about a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import DataError, SiteError
from common.harmonization.mapping import LONGEST_FILE, Mapping, parse_mapping, read_mapping
from common.harmonization.source import open_source
from common.tables.parts import join
from tests.testbeds.four_hospitals import GERMAN, four_hospitals_study

LOOKUP = '[columns.lab]\noperation = "lookup"\nfrom = "code"\nfile = "codes.csv"\nlocal = "local"\nstudy = "study"\n'


def parsed(text: str) -> Mapping:
    return parse_mapping(text, Path("mapping.toml"))


class TestParse:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[columns", "not valid TOML"),
            ("", r"\[columns\] is not given; add it"),
            ("[columns]\n", "at least 1"),
            ("[columns.age]\n", r"\[columns\.age\.from\] is not given; add it"),
            ("colums = 1\n[columns.age]\nfrom = 'a'\n", "unknown key 'colums'; did you mean 'columns'"),
            ("[columns.age]\nfrom = 'a'\nlabel = 1\n", r"unknown key 'label' in \[columns\.age\]"),
            ("[columns.age]\noperation = 'number'\nfrom = 'a'\nunits = 'kg'\n", "did you mean 'unit'"),
            ("[columns.age]\noperation = 'exec'\nfrom = 'a'\n", r"\[columns\.age\]: unknown operation 'exec'; choose"),
            ("[columns.age]\noperation = 'number'\nfrom = 'a'\nfactor = 0.0\n", r"\[columns\.age\]: factor is 0"),
            ("columns = 3\n", "columns"),
            ("[columns]\nage = 'a'\n", "a column is a table of settings"),
            (
                "[intermediate.b]\noperation = 'sum'\nfrom = ['c', 'd']\n[intermediate.c]\nfrom = 'x'\n"
                "[columns.age]\nfrom = 'b'\n",
                r"\[intermediate\.b\] reads \[intermediate\.c\], which does not stand above it; move it up",
            ),
            ("decimal = ','\nthousands = ','\n[columns.age]\nfrom = 'a'\n", "decimal and thousands are the same"),
            ("date_format = '%d'\n[columns.age]\nfrom = 'a'\n", "cannot be read back"),
        ],
    )
    def test_a_bad_file_is_refused_with_its_place(self, text: str, words: str) -> None:
        with pytest.raises(SiteError, match=words) as caught:
            parsed(text)
        assert "mapping.toml" in str(caught.value)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SiteError, match="No such file"):
            read_mapping(tmp_path / "mapping.toml")

    def test_a_file_that_is_too_long_is_not_parsed(self, tmp_path: Path) -> None:
        path = tmp_path / "mapping.toml"
        path.write_bytes(b"#" * (LONGEST_FILE + 1))
        with pytest.raises(SiteError, match="more than 10 MB"):
            read_mapping(path)

    def test_the_digest_changes_with_a_list_of_labels(self, tmp_path: Path) -> None:
        path, codes = tmp_path / "mapping.toml", tmp_path / "codes.csv"
        path.write_text(LOOKUP, encoding="utf-8")
        with pytest.raises(SiteError, match=r"\[columns\.lab\] cannot read"):
            read_mapping(path)
        codes.write_text("local,study\n1,glucose\n", encoding="utf-8")
        first = read_mapping(path)[1]
        codes.write_text("local,study\n1,sodium\n", encoding="utf-8")
        assert read_mapping(path)[1] != first


class TestLookup:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("local,other\n1,a\n", "has no column 'study'; correct local or study"),
            ("local,study\n", "has 0 rows"),
            ("local,study\n1,a\n1,b\n", "repeats a label in 'local'"),
        ],
    )
    def test_a_bad_list_is_refused(self, tmp_path: Path, content: str, words: str) -> None:
        (tmp_path / "mapping.toml").write_text(LOOKUP, encoding="utf-8")
        (tmp_path / "codes.csv").write_text(content, encoding="utf-8")
        (tmp_path / "table.csv").write_text("code\n1\n", encoding="utf-8")
        source = open_source(tmp_path / "table.csv", tmp_path / "mapping.toml")
        with pytest.raises(DataError, match=words):
            list(source.parts())

    def test_labels_are_those_of_the_list(self, tmp_path: Path) -> None:
        (tmp_path / "mapping.toml").write_text(LOOKUP, encoding="utf-8")
        (tmp_path / "codes.csv").write_text("local,study\n1,glucose\n2,sodium\n", encoding="utf-8")
        (tmp_path / "table.csv").write_text("code,x\n2,a\n1,b\n3,c\n", encoding="utf-8")
        source = open_source(tmp_path / "table.csv", tmp_path / "mapping.toml")
        assert join(list(source.parts()))["lab"].tolist() == ["sodium", "glucose", ""]
        assert "'3' (1 row)" in source.notices()[0]


class TestStudy:
    def test_a_mapping_that_fits_has_no_notice(self) -> None:
        assert parsed(GERMAN).notices(four_hospitals_study().table) == []

    def test_other_labels_and_units_are_named(self) -> None:
        text = GERMAN.replace('divers = "other"', 'divers = "diverse"').replace('"mmol/L"', '"g/L"')
        notices = parsed(text).notices(four_hospitals_study().table)
        assert notices == [
            "[columns.sex] gives labels that the study does not list: 'diverse'; correct the mapping",
            "[columns.glucose] gives numbers in g/L, and the study asks for mmol/L; correct study_unit",
        ]
