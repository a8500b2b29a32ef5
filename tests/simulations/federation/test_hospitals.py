import re
from pathlib import Path

import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError, StudyError
from common.study.limits import rounded
from common.study.schema import Schema
from common.tables.checking import check_table
from simulations.federation.hospitals import (
    built_in_hospitals,
    built_in_study,
    called,
    hospitals_from_column,
    hospitals_from_directory,
    slugify,
    study_named,
    tables_of_built_in,
)

CANARY = "Canary 7777123"
SCHEMA = Schema(columns=(Numeric(name="age", lower=0, upper=100), Categorical(name="died", categories=("no", "yes"))))


def test_the_built_in_data_are_the_four_hospitals_of_the_source() -> None:
    sizes = {name: len(table) for name, table in built_in_hospitals().items()}
    assert sizes == {"cleveland": 303, "hungary": 294, "switzerland": 123, "va-long-beach": 200}
    assert sum(sizes.values()) == 920


def test_the_built_in_study_describes_the_built_in_hospitals() -> None:
    study = built_in_study()
    hospitals = built_in_hospitals()
    assert [hospital.name for hospital in study.hospitals] == list(hospitals)
    assert [hospital.declared_rows for hospital in study.hospitals] == [300, 290, 120, 200]
    assert study.privacy.noise == "distributed"
    assert (study.federation.dropouts, study.federation.colluders) == (0, 1)
    assert study.threshold == 4  # all of them, so 3 honest ones supply the noise
    for name, table in hospitals.items():
        assert list(table.columns) == list(study.table.names)
        assert check_table(table, study.table, name=name, target=study.evaluation.target) == []


def test_the_study_of_visits_has_a_name_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_named(Path("follow-up"))
    assert study.has_visits
    assert list(tables_of_built_in(study)) == [hospital.name for hospital in study.hospitals]
    assert study_named(None) == built_in_study()
    assert list(tables_of_built_in(built_in_study())) == list(built_in_hospitals())
    with pytest.raises(StudyError):
        study_named(Path("follow-ups"))


def test_zero_cholesterol_and_pressure_are_missing() -> None:
    table = pd.concat(built_in_hospitals().values())
    # The source has 30 blank and 172 zero values of cholesterol, and 59 blank and 1 zero of blood pressure.
    assert (table["chol"] == "").sum() == 202
    assert (table["trestbps"] == "").sum() == 60


def test_the_target_is_any_narrowed_vessel() -> None:
    shares = {name: round((t["heart_disease"] == "yes").mean() * 100) for name, t in built_in_hospitals().items()}
    assert shares == {"cleveland": 46, "hungary": 36, "switzerland": 93, "va-long-beach": 74}


@pytest.mark.parametrize("name", ["south.docx", "README.md", "south.csv.bz2"])
def test_file_of_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "north.csv").write_text("a\n1\n")
    (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=rf"{name}' is not a table that can be read; save it as \.csv, \.csv\.gz, "):
        hospitals_from_directory(tmp_path)


def test_a_folder_of_the_parts_of_one_table_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "table.parquet"
    folder.mkdir()
    pd.DataFrame({"a": [2.0]}).to_parquet(folder / "part-0.parquet")
    with pytest.raises(DataError, match="write its parts to one file"):
        hospitals_from_directory(folder)


def test_a_folder_holds_one_table_per_hospital(tmp_path: Path) -> None:
    (tmp_path / "VA Long Beach.csv").write_text("a\n1\n")
    pd.DataFrame({"a": [2.0]}).to_parquet(tmp_path / "hungary.parquet")
    (tmp_path / ".hidden.csv").write_text("")
    tables = hospitals_from_directory(tmp_path)
    assert {name: table["a"].tolist() for name, table in tables.items()} == {"va-long-beach": ["1"], "hungary": ["2"]}


def test_folder_without_tables_or_with_twins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no table; put one"):
        hospitals_from_directory(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        hospitals_from_directory(tmp_path / "none")
    (tmp_path / "north_1.csv").write_text("a\n1\n")
    (tmp_path / "North 1.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="are both hospital 'north-1'; rename or remove one"):
        hospitals_from_directory(tmp_path)


def test_file_that_names_no_hospital_is_refused(tmp_path: Path) -> None:
    (tmp_path / "東京.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="gives no hospital name; use Latin letters"):
        hospitals_from_directory(tmp_path)


def test_a_column_names_the_hospitals_and_is_dropped() -> None:
    raw = pd.DataFrame({"site": ["B", "a b", "B"], "age": ["1", "2", "3"]})
    tables = hospitals_from_column(raw, "site")
    assert {name: table.to_dict("list") for name, table in tables.items()} == {
        "a-b": {"age": ["2"]},
        "b": {"age": ["1", "3"]},
    }


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([CANARY, ""], "site column 'site' is blank in 1 row; fill in or drop these rows"),
        ([CANARY, CANARY.lower()], "site column 'site' holds values that differ in case or punctuation only"),
        ([CANARY, "--"], "site column 'site' holds a value without Latin letters or digits"),
    ],
)
def test_a_site_column_that_does_not_name_hospitals_is_refused(sites: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)) as caught:
        hospitals_from_column(pd.DataFrame({"site": sites}), "site")
    assert "anary" not in str(caught.value)


def test_a_site_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="site column 'ward' is not in the table"):
        hospitals_from_column(pd.DataFrame({"site": ["a"]}), "ward")


def test_letters_of_other_scripts_keep_hospitals_apart() -> None:
    latin = {"Ålesund": "alesund", "Łódź": "lodz", "Straßburg": "strassburg", "Tromsø": "tromso"}
    assert {name: slugify(name) for name in latin} == latin
    slugs = {slugify(name) for name in ("北京 1", "上海 1", "a" * 70, "a" * 71)}
    assert len(slugs) == 4
    assert all(len(slug) <= 64 for slug in slugs)


@pytest.mark.parametrize(
    ("name", "slug"), [("VA Long Beach", "va-long-beach"), ("St. Mary's (2)", "st-mary-s-2"), ("--", ""), ("東京", "")]
)
def test_a_slug_is_lower_case_with_hyphens(name: str, slug: str) -> None:
    assert slugify(name) == slug


@pytest.mark.parametrize(
    ("rows", "figure"), [(0, 1), (7, 7), (96, 96), (123, 120), (294, 290), (303, 300), (18_765, 19_000)]
)
def test_a_declared_figure_has_two_significant_digits(rows: int, figure: int) -> None:
    assert rounded(rows) == figure


class TestNames:
    def test_called_as_the_people_write_them(self) -> None:
        raw = pd.DataFrame({"ward": ["Süd", "Nord 1", "Süd"], "age": ["1", "2", "3"]})
        tables = hospitals_from_column(raw, "ward")
        assert {slug: called(slug, table) for slug, table in tables.items()} == {"nord-1": "Nord 1", "sud": "Süd"}
        assert tables["sud"]["age"].tolist() == ["1", "3"]

    def test_that_differ_in_accents_are_two_hospitals(self, tmp_path: Path) -> None:
        raw = pd.DataFrame({"ward": ["Süd", "Sud", "Sûd"], "age": ["1", "2", "3"]})
        tables = hospitals_from_column(raw, "ward")
        assert {called(slug, table): table["age"].tolist() for slug, table in tables.items()} == {
            "Süd": ["1"],
            "Sud": ["2"],
            "Sûd": ["3"],
        }
        assert "sud" in tables
        for name in ("Süd", "Sud"):
            (tmp_path / f"{name}.csv").write_text(f"ward\n{name}\n")
        folder = hospitals_from_directory(tmp_path)
        assert {called(slug, table): table["ward"].tolist() for slug, table in folder.items()} == {
            "Süd": ["Süd"],
            "Sud": ["Sud"],
        }

    @pytest.mark.parametrize("other", ["SÜD", "Süd."])
    def test_that_differ_in_case_or_punctuation_are_refused(self, other: str) -> None:
        raw = pd.DataFrame({"ward": ["Süd", other, "Sud"], "age": ["1", "2", "3"]})
        with pytest.raises(DataError, match="differ in case or punctuation only"):
            hospitals_from_column(raw, "ward")

    def test_that_no_line_can_show_are_slugs(self) -> None:
        tables = hospitals_from_column(pd.DataFrame({"ward": ["a\nb", "x" * 65], "age": ["1", "2"]}), "ward")
        assert [called(slug, table) for slug, table in tables.items()] == list(tables)
