"""The table of a study from a small OMOP database, and what is refused before anything is taken or charged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError
from common.study.study import Study
from common.tables.formats import read_table
from common.tables.omop import read_omop
from common.tables.reading import Reading
from tests.testbeds.databases import postgres
from tests.testbeds.eunomia import copy_to_postgres
from tests.testbeds.omop_database import STUDY, omop_database, omop_study

VISITS = (
    '[[features]]\nname = "sex"',
    '[visits]\nconcepts = [40]\nwindow = [0, 90]\nmost_visits = 3\n[[features]]\nname = "sex"',
)
DROP = ("upper = 600.0", 'upper = 600.0\nother_units = "drop"')


def table(study: Study, reading: Reading, notices: list[str] | None = None) -> dict[str, list[str]]:
    assert study.extraction is not None
    part = read_omop(study.extraction, reading, notices=notices)
    return {name: list(cells.every()) for name, cells in part.columns.items()}


class TestTable:
    def test_has_a_row_for_each_person_of_the_cohort(self, tmp_path: Path) -> None:
        notices: list[str] = []
        columns = table(omop_study(), omop_database(tmp_path / "cdm.duckdb", persons=4), notices)
        assert columns == {
            "person_id": ["0", "1", "2", "3"],
            "sex": ["female", "male", "female", "male"],
            "glucose": ["100", "101", "102", "103"],
            "bleed": ["yes", "no", "no", "yes"],
        }
        assert notices == [
            "CDM version v5.4.0, vocabulary v5.0 2026",
            "study cohort, persons: 4 have an event of the study cohort's concepts; of them 4 were observed on "
            "that day and 30 days before; of them 4 were 18 to 90 years old",
        ]

    def test_a_feature_may_have_the_name_of_a_section(self, tmp_path: Path) -> None:
        study = omop_study(('name = "sex"', 'name = "[study_cohort]"'))
        assert table(study, omop_database(tmp_path / "cdm.duckdb", persons=2))["[study_cohort]"] == ["female", "male"]

    def test_is_read_like_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
        raw = read_table(tmp_path / "study.toml", omop_database(tmp_path / "cdm.duckdb", persons=5))
        assert raw["glucose"].tolist() == ["100", "101", "102", "103", "104"]

    def test_has_a_row_for_each_visit(self, tmp_path: Path) -> None:
        again = "INSERT INTO visit_occurrence VALUES (100, 1, 40, '2020-01-12'), (101, 1, 40, '2019-12-31')"
        bleed = "INSERT INTO condition_occurrence VALUES (100, 1, 20, '2020-01-12', 100)"
        each = ('window = [1, 90]\nsummary = "any"', 'summary = "each visit"')
        study = omop_study(each, VISITS)
        columns = table(study, omop_database(tmp_path / "cdm.duckdb", again, bleed, persons=3))
        assert columns["person_id"] == ["0", "1", "1", "2"]
        assert columns["day"] == ["0", "0", "10", "0"]
        assert columns["bleed"] == ["yes", "no", "yes", "no"]  # the visit of an event counts, not its date
        assert columns["glucose"] == ["100", "101", "101", "102"]

    def test_a_row_depends_on_its_person_alone(self, tmp_path: Path) -> None:
        removed = [
            f"DELETE FROM {name} WHERE person_id = 2"
            for name in ("person", "observation_period", "drug_exposure", "condition_occurrence", "measurement")
        ]
        every = table(omop_study(), omop_database(tmp_path / "all.duckdb", persons=6))
        others = table(omop_study(), omop_database(tmp_path / "others.duckdb", *removed, persons=6))
        assert others == {name: [*cells[:2], *cells[3:]] for name, cells in every.items()}

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE person SET year_of_birth = 2015 WHERE person_id = 2",
            "UPDATE observation_period SET observation_period_start_date = '2019-12-05' WHERE person_id = 2",
            "UPDATE observation_period SET observation_period_end_date = '2020-01-02' WHERE person_id = 2",
            "UPDATE drug_exposure SET drug_concept_id = 12 WHERE person_id = 2",
        ],
    )
    def test_a_person_outside_the_cohort_has_no_row(self, tmp_path: Path, statement: str) -> None:
        columns = table(omop_study(), omop_database(tmp_path / "cdm.duckdb", statement, persons=4))
        assert columns["person_id"] == ["0", "1", "3"]

    def test_a_time_ends_at_the_event_or_with_the_observation(self, tmp_path: Path) -> None:
        # Persons 0 and 3 bleed on day 10; person 1 is observed until day 40, person 2 beyond the window.
        ends = "UPDATE observation_period SET observation_period_end_date = DATE '2020-02-11' WHERE person_id = 1"
        earlier = "INSERT INTO observation_period VALUES (1, DATE '2018-01-01', DATE '2018-12-31')"
        study = omop_study(('"any"', '"time to event"'), ('target = "bleed"', 'target = "sex"'))
        reading = omop_database(tmp_path / "cdm.duckdb", ends, earlier, persons=4)
        assert table(study, reading)["bleed"] == ["10", "40", "90", "10"]

    def test_touching_observation_periods_are_not_joined(self, tmp_path: Path) -> None:
        # The next period begins the day after: person 1 is first seen on 2020-01-02, person 2 on 2020-01-03.
        split = [
            statement
            for person, end, start in ((1, "2020-01-20", "2020-01-21"), (2, "2019-12-20", "2019-12-21"))
            for statement in (
                f"UPDATE observation_period SET observation_period_end_date = DATE '{end}' WHERE person_id = {person}",
                f"INSERT INTO observation_period VALUES ({person}, DATE '{start}', DATE '2021-01-01')",
            )
        ]
        study = omop_study(('"any"', '"time to event"'), ('target = "bleed"', 'target = "sex"'))
        columns = table(study, omop_database(tmp_path / "cdm.duckdb", *split, persons=3))
        assert columns["person_id"] == ["0", "1"]  # person 2: 13 days before, in the period that holds the day
        assert columns["bleed"] == ["10", "18"]  # person 1: observed until day 18, not the window's last day, 90

    def test_an_event_after_the_observation_does_not_count(self, tmp_path: Path) -> None:
        # Persons 0 and 3 bleed on day 10; person 0 is observed until day 4, person 3 until day 10.
        ends = [
            f"UPDATE observation_period SET observation_period_end_date = DATE '{end}' WHERE person_id = {person}"
            for person, end in ((0, "2020-01-05"), (3, "2020-01-14"))
        ]
        reading = omop_database(tmp_path / "cdm.duckdb", *ends, persons=4)
        assert table(omop_study(), reading)["bleed"] == ["yes", "no", "no", "yes"]
        time = '[[features]]\nname = "time"\ndomain = "condition"\nconcepts = [20]\nsummary = "time to event"\n'
        both = table(omop_study(("[privacy]", f"{time}window = [1, 90]\n[privacy]")), reading)
        assert both["bleed"] == ["no", "no", "no", "yes"]
        assert both["time"] == ["4", "90", "90", "10"]
        other = table(omop_study(("[privacy]", f"{time}window = [91, 180]\n[privacy]")), reading)
        assert other["bleed"] == ["yes", "no", "no", "yes"]  # the time is of another window

    def test_a_death_needs_no_cause(self, tmp_path: Path) -> None:
        deaths = "INSERT INTO death VALUES (0, '2020-01-11', NULL), (2, '2020-01-13', 20), (3, '2020-09-01', 20)"
        reading = omop_database(tmp_path / "cdm.duckdb", deaths, persons=4)
        died = omop_study(('condition"\nconcepts = [20]', 'death"'))
        assert table(died, reading)["bleed"] == ["yes", "no", "yes", "no"]
        of_bleed = omop_study(("condition", "death"))
        assert table(of_bleed, reading)["bleed"] == ["no", "no", "yes", "no"]
        day = omop_study(
            ('condition"\nconcepts = [20]', 'death"'), ('"any"', '"first"'), ('target = "bleed"', 'target = "sex"')
        )
        assert table(day, reading)["bleed"] == ["10", "", "10", ""]

    def test_units_are_converted_and_bounded(self, tmp_path: Path) -> None:
        other = "UPDATE measurement SET unit_concept_id = 51, value_as_number = 5 WHERE person_id = 1"
        study = omop_study(("50 = 1.0", "50 = 1.0, 51 = 18.0"), ("upper = 600.0", "upper = 101.0"))
        columns = table(study, omop_database(tmp_path / "cdm.duckdb", other, persons=3))
        assert columns["glucose"] == ["100", "90", "101"]  # 5 x 18; 102 is above the bound

    def test_values_in_other_units_can_be_left_out(self, tmp_path: Path) -> None:
        other = "UPDATE measurement SET unit_concept_id = NULL WHERE person_id = 1"
        notices: list[str] = []
        columns = table(omop_study(DROP), omop_database(tmp_path / "cdm.duckdb", other, persons=3), notices)
        assert columns["glucose"] == ["100", "", "102"]
        assert any("by unit concept: 0 (no unit): 1; they are left out" in notice for notice in notices)


class TestRefusal:
    def test_a_unit_that_is_none_gives_a_notice(self, tmp_path: Path) -> None:
        reading, notices = omop_database(tmp_path / "cdm.duckdb", persons=3), list[str]()
        study = omop_study(("units = { 50 = 1.0 }", "units = { 50 = 1.0, 40 = 2.0, 77 = 1.0 }"))
        table(study, reading, notices)
        assert "feature 'glucose': unit 40 (ward) is of domain Visit, not Unit" in notices
        assert any("lacks concept" in notice and "77" in notice for notice in notices)

    def test_a_cell_of_another_type_is_not_quoted(self, tmp_path: Path) -> None:
        text = (
            "ALTER TABLE person ALTER gender_concept_id TYPE VARCHAR",
            "UPDATE person SET gender_concept_id = 'SEEN'",
        )
        with pytest.raises(DataError, match=r"feature 'sex': .* another type than a number") as caught:
            table(omop_study(), omop_database(tmp_path / "cdm.duckdb", *text))
        assert "SEEN" not in str(caught.value)

    def test_a_person_who_is_there_twice_is_refused(self, tmp_path: Path) -> None:
        twice = "INSERT INTO person SELECT * FROM person WHERE person_id = 3"
        with pytest.raises(DataError, match="a person or visit is there twice"):
            table(omop_study(), omop_database(tmp_path / "cdm.duckdb", twice))

    @pytest.mark.parametrize(
        ("statement", "cause"),
        [
            ("DROP TABLE concept_ancestor", "table 'concept_ancestor' .* load the OMOP vocabularies"),
            ("DELETE FROM concept", "vocabulary table 'concept' is empty"),
            ("DROP TABLE measurement", "table 'measurement' of the OMOP Common Data Model 5.3 or 5.4 is not there"),
            ("ALTER TABLE person DROP COLUMN year_of_birth", "table 'person' .* lacks one of its columns"),
            ("DROP TABLE cdm_source", "table 'cdm_source'"),
            ("DELETE FROM cdm_source", "CDM version is unknown"),
            ("UPDATE cdm_source SET cdm_version = 'v6.0'", "the CDM version is v6.0; studies read 5.3 and 5.4"),
            ("DELETE FROM concept WHERE concept_id = 20", "feature 'bleed': concept 20 is not in the database's voc"),
            ("DELETE FROM concept WHERE concept_id = 10", "cohort.: concept 10 is not in the database's vocabulary"),
            ("DELETE FROM drug_exposure", "the study cohort is empty: no persons have an event"),
            (
                "DELETE FROM observation_period",
                "no persons were observed .* .60 have an event of the study cohort's concepts",
            ),
            ("UPDATE person SET year_of_birth = 2015", "no persons were 18 to 90 years old"),
            (
                "UPDATE measurement SET unit_concept_id = 51 WHERE person_id < 7",
                r"units that the study does not list, by unit concept: 51 \(mmol/L\): 7; add each unit",
            ),
            (
                "UPDATE measurement SET measurement_date = 'infinity' WHERE person_id < 2",
                "table 'measurement': rows with an infinite measurement_date: 2; write the day",
            ),
            (
                "UPDATE observation_period SET observation_period_end_date = 'infinity' WHERE person_id = 2",
                "rows with an infinite observation_period_end_date: 1; write the day, or the last day on which",
            ),
        ],
    )
    def test_a_database_that_does_not_fit_is_named(self, tmp_path: Path, statement: str, cause: str) -> None:
        with pytest.raises(DataError, match=cause):
            table(omop_study(), omop_database(tmp_path / "cdm.duckdb", statement))

    @pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'", "1e308"])
    @pytest.mark.parametrize("kind", ["first", "last", "mean", "each visit", "observation"])
    def test_a_number_that_is_not_finite_is_named(self, tmp_path: Path, kind: str, value: str) -> None:
        # Databases order NaN above all numbers: it would count as the upper bound.
        summaries = ("first", "last", "mean")
        changes = [('summary = "last"', f'summary = "{kind}"')] if kind in summaries else []
        name = "observation" if kind == "observation" else "measurement"
        if kind == "each visit":
            changes = [('window = [-365, 0]\nsummary = "last"', 'summary = "each visit"'), VISITS]
        statements = (
            "INSERT INTO observation SELECT * FROM measurement",
            f"ALTER TABLE {name} ALTER value_as_number TYPE DOUBLE",
            f"UPDATE {name} SET value_as_number = {value} WHERE person_id = 1",
        )
        study = omop_study(("measurement", name), ("50 = 1.0", "50 = 18.0"), *changes)
        with pytest.raises(DataError, match=r"'glucose': numbers .* infinite, or beyond .* 1e\+290: 1; correct these"):
            table(study, omop_database(tmp_path / "cdm.duckdb", *statements, persons=4))

    @pytest.mark.slow
    def test_postgresql_names_them_too(self, tmp_path: Path) -> None:
        psycopg: Any = pytest.importorskip("psycopg")
        omop_database(tmp_path / "cdm.duckdb", persons=4)
        with postgres() as url:
            copy_to_postgres(tmp_path / "cdm.duckdb", url)
            for value, cause in (
                ("value_as_number = 'NaN'", "'glucose': numbers that are NaN"),
                ("value_as_number = '-Infinity'", "'glucose': numbers that are NaN"),
                ("value_as_number = 1e308", "'glucose': numbers that are NaN"),
                ("value_as_number = 1e400", "'glucose': a value_as_number cannot be read as a number"),
                ("measurement_date = 'infinity'", "'measurement': rows with an infinite measurement_date"),
            ):
                with psycopg.connect(url) as connection:
                    connection.execute(f"UPDATE cdm.measurement SET {value} WHERE person_id = 1")
                with pytest.raises(DataError, match=cause):
                    table(omop_study(), Reading(database=url, schemas="cdm, vocabulary"))

    def test_numbers_that_are_not_read_may_be_anything(self, tmp_path: Path) -> None:
        double = "ALTER TABLE measurement ALTER value_as_number TYPE DOUBLE"
        other = "UPDATE measurement SET value_as_number = 'NaN', unit_concept_id = 51 WHERE person_id = 1"
        early = "UPDATE measurement SET value_as_number = 'NaN', measurement_date = '2001-01-01' WHERE person_id = 2"
        columns = table(omop_study(DROP), omop_database(tmp_path / "cdm.duckdb", double, other, early, persons=4))
        assert columns["glucose"] == ["100", "", "", "103"]

    def test_units_outside_of_the_visits_are_not_read(self, tmp_path: Path) -> None:
        other = "UPDATE measurement SET unit_concept_id = 51, visit_occurrence_id = NULL WHERE person_id = 1"
        study = omop_study(('window = [-365, 0]\nsummary = "last"', 'summary = "each visit"'), VISITS)
        columns = table(study, omop_database(tmp_path / "cdm.duckdb", other, persons=3))
        assert columns["glucose"] == ["100", "", "102"]

    def test_no_error_quotes_a_cell(self, tmp_path: Path) -> None:
        reading = omop_database(
            tmp_path / "cdm.duckdb",
            "ALTER TABLE measurement ALTER value_as_number TYPE VARCHAR",
            "UPDATE measurement SET value_as_number = 'secret 7' WHERE person_id = 3",
        )
        with pytest.raises(DataError, match=r"feature 'glucose': a value_as_number cannot be read") as caught:
            table(omop_study(), reading)
        assert "secret" not in str(caught.value)

    def test_another_kind_of_database_is_refused(self, tmp_path: Path) -> None:
        sqlite3.connect(tmp_path / "cdm.db").close()
        with pytest.raises(DataError, match="read PostgreSQL and DuckDB, not sqlite"):
            table(omop_study(), Reading(database=f"sqlite:///{tmp_path / 'cdm.db'}"))

    def test_a_study_without_a_source_is_no_table(self, tmp_path: Path) -> None:
        from tests.testbeds.clinic import clinic_study

        (tmp_path / "study.toml").write_text(clinic_study().to_toml(), encoding="utf-8")
        with pytest.raises(DataError, match=r"a study without .source. kind"):
            read_table(tmp_path / "study.toml")

    def test_names_of_schemas_are_checked(self) -> None:
        assert Reading(schemas="cdm, voc_1").schema_names == ["cdm", "voc_1"]
        with pytest.raises(ValueError, match="another character than letters"):
            Reading(schemas='cdm"; DROP TABLE person')

    def test_tables_are_looked_up_in_the_declared_schemas(self, tmp_path: Path) -> None:
        move = ["CREATE SCHEMA voc", "CREATE TABLE voc.concept AS FROM concept", "DROP TABLE main.concept"]
        reading = omop_database(tmp_path / "cdm.duckdb", *move, persons=3)
        with pytest.raises(DataError, match=r"table 'concept' .* name its schema"):
            table(omop_study(), reading)
        both = reading.model_copy(update={"schemas": "main, voc"})
        assert table(omop_study(), both)["person_id"] == ["0", "1", "2"]
