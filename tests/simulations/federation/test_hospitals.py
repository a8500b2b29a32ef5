import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError, StudyError
from common.study.schema import Schema
from common.tables.checking import check_table
from simulations.federation.hospitals import (
    built_in_hospitals,
    built_in_study,
    declared,
    hospitals_from_column,
    hospitals_from_directory,
    slugify,
)
from simulations.federation.partition import hospitals_by_hash

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


def test_zero_cholesterol_and_zero_blood_pressure_are_missing() -> None:
    table = pd.concat(built_in_hospitals().values())
    # The source has 30 blank and 172 zero values of cholesterol, and 59 blank and 1 zero of blood pressure.
    assert (table["chol"] == "").sum() == 202
    assert (table["trestbps"] == "").sum() == 60


def test_the_target_is_any_narrowed_vessel() -> None:
    shares = {name: round((t["heart_disease"] == "yes").mean() * 100) for name, t in built_in_hospitals().items()}
    assert shares == {"cleveland": 46, "hungary": 36, "switzerland": 93, "va-long-beach": 74}


@pytest.mark.parametrize("name", ["south.xlsx", "README.md", "south.csv.zip"])
def test_a_folder_with_a_file_of_no_known_format_is_refused(tmp_path: Path, name: str) -> None:
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


def test_a_folder_without_tables_or_with_two_of_one_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no table; put one"):
        hospitals_from_directory(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        hospitals_from_directory(tmp_path / "none")
    (tmp_path / "north_1.csv").write_text("a\n1\n")
    (tmp_path / "North 1.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="are both hospital 'north-1'; rename or remove one"):
        hospitals_from_directory(tmp_path)


def test_a_folder_with_a_file_that_names_no_hospital_is_refused(tmp_path: Path) -> None:
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
        ([CANARY, ""], "site column 'site' is blank in 1 row; fill in or drop them"),
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


def deal(raw: pd.DataFrame, count: int = 3, **options: object) -> dict[str, list[str]]:
    """Which rows, by the column `place`, each hospital gets."""
    settings = {"schema": SCHEMA, "target": "died", "seed": 7, "skew": None, "patient_column": None} | options
    return {name: table["place"].tolist() for name, table in hospitals_by_hash(raw, count, **settings).items()}  # type: ignore[arg-type]


def cohort(rows: int) -> pd.DataFrame:
    numbers = range(rows)
    return pd.DataFrame(
        {
            "place": [str(number) for number in numbers],
            "pid": [f"p{number}" for number in numbers],
            "age": [str(number % 100) for number in numbers],
            "died": ["yes" if number % 4 == 0 else "no" for number in numbers],
        }
    )


def test_every_row_is_dealt_to_one_hospital() -> None:
    dealt = deal(cohort(600), patient_column="pid")
    assert list(dealt) == ["hospital-1", "hospital-2", "hospital-3"]
    assert sorted((place for places in dealt.values() for place in places), key=int) == [str(n) for n in range(600)]
    # 200 expected each; the standard deviation is sqrt(600 * 1/3 * 2/3) = 11.5.
    assert all(abs(len(places) - 200) < 50 for places in dealt.values())


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["p1", "p2", "p3"]), st.sampled_from(["1", "60"]), st.sampled_from(["no", "yes"]))
    ),
    st.integers(0, 9),
    st.sampled_from([None, 0.1, 5.0]),
    st.booleans(),
    st.sampled_from(["age", "died"]),
)
def test_adding_a_patient_moves_nobody_else(
    rows: list[tuple[str, str, str]], place: int, skew: float | None, has_patient_column: bool, target: str
) -> None:
    raw = pd.DataFrame(rows, columns=["pid", "age", "died"], dtype=object)
    raw = raw.assign(place=[str(number) for number in range(len(raw))])
    new = pd.DataFrame({"pid": ["new"], "age": ["33"], "died": ["yes"], "place": ["new"]})
    longer = pd.concat([raw.iloc[:place], new, raw.iloc[place:]], ignore_index=True)
    patient_column = "pid" if has_patient_column else None
    before = deal(raw, skew=skew, patient_column=patient_column, target=target)
    after = deal(longer, skew=skew, patient_column=patient_column, target=target)
    assert before == {name: [row for row in places if row != "new"] for name, places in after.items()}


def test_rows_of_one_patient_go_to_one_hospital_whatever_their_class() -> None:
    raw = cohort(300).assign(pid=[f"p{number % 30}" for number in range(300)])
    dealt = hospitals_by_hash(raw, 3, schema=SCHEMA, target="died", seed=7, skew=0.2, patient_column="pid")
    patients = [set(table["pid"]) for table in dealt.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 30


@pytest.mark.parametrize("target", ["age", "died"])
def test_a_small_skew_makes_hospitals_differ_and_a_large_one_alike(target: str) -> None:
    def sizes(skew: float | None) -> list[int]:
        return [
            len(places) for places in deal(cohort(2000), 4, skew=skew, patient_column="pid", target=target).values()
        ]

    assert max(sizes(0.1)) > 1.5 * max(sizes(1e6))
    # 500 expected each; the standard deviation is sqrt(2000 * 1/4 * 3/4) = 19.
    assert all(abs(size - 500) < 100 for size in [*sizes(None), *sizes(1e6)])


def test_the_partition_follows_the_seed() -> None:
    assert deal(cohort(60), seed=1) == deal(cohort(60), seed=1) != deal(cohort(60), seed=2)


def test_one_hospital_gets_everything() -> None:
    assert deal(cohort(20), 1) == {"hospital-1": [str(number) for number in range(20)]}


def test_an_impossible_partition_is_refused() -> None:
    with pytest.raises(StudyError, match="0 hospitals cannot be simulated"):
        deal(cohort(3), 0)
    with pytest.raises(StudyError, match="skew = 0 is not above 0"):
        deal(cohort(3), skew=0.0)


@pytest.mark.parametrize(
    ("name", "slug"), [("VA Long Beach", "va-long-beach"), ("St. Mary's (2)", "st-mary-s-2"), ("--", "")]
)
def test_a_slug_is_lower_case_with_hyphens(name: str, slug: str) -> None:
    assert slugify(name) == slug


@pytest.mark.parametrize(
    ("rows", "figure"), [(0, 1), (7, 7), (96, 96), (123, 120), (294, 290), (303, 300), (18_765, 19_000)]
)
def test_a_declared_figure_has_two_significant_digits(rows: int, figure: int) -> None:
    assert declared(rows) == figure
