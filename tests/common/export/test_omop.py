"""An export to OMOP fits the model: types, required columns, lengths and keys, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.export.exporting import ExportTarget, export
from common.export.mapping import ExportMapping
from common.export.omop_facts import shortened
from common.export.omop_files import SINKS
from common.export.provenance import Provenance
from tests.testbeds.exports import (
    LONG_LABEL,
    flat_mapping,
    flat_study,
    visits_provenance,
    write_flat_table,
    write_visits,
)
from tests.testbeds.omop_cdm import load_export

DECLARED = (3020460, 8751, 443454, 4209423, 320128, 1112807)
"""Concepts that the mapping of the flat study names."""


def one(connection: Any, query: str) -> Any:
    (value,) = connection.execute(query).fetchone()
    return value


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("flat")
    export(
        write_flat_table(folder), Provenance(flat_study(), 3.0), flat_mapping(), ExportTarget.of("omop"), folder / "out"
    )
    return load_export(folder / "out", "csv", DECLARED)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("visits")
    export(write_visits(folder), visits_provenance(), ExportMapping(), ExportTarget.of("omop"), folder / "out")
    return load_export(folder / "out", "csv")


@pytest.mark.parametrize("form", SINKS)
def test_every_format_loads_without_an_error(tmp_path: Path, form: str) -> None:
    table, provenance = write_flat_table(tmp_path), Provenance(flat_study(), 3.0)
    counts = export(table, provenance, flat_mapping(), ExportTarget.of("omop", form), tmp_path / "out")
    connection = load_export(tmp_path / "out", form, DECLARED)
    for name, count in counts.items():
        assert one(connection, f"SELECT count(*) FROM {name}") == count, name


def test_each_person_has_one_period_that_holds_all(visits: Any) -> None:
    assert one(visits, "SELECT count(DISTINCT person_id) FROM observation_period") == 3
    query = "SELECT count(*) FROM {} e JOIN observation_period p USING (person_id) WHERE e.{} NOT BETWEEN "
    query += "observation_period_start_date AND observation_period_end_date"
    for table, day in (("visit_occurrence", "visit_start_date"), ("observation", "observation_date")):
        assert one(visits, query.format(table, day)) == 0


def test_visits_are_in_order_and_linked(visits: Any) -> None:
    rows = visits.execute(
        "SELECT person_id, visit_start_date::VARCHAR, preceding_visit_occurrence_id, visit_source_value "
        "FROM visit_occurrence ORDER BY visit_occurrence_id"
    ).fetchall()
    assert rows[:4] == [
        (1, "2020-01-05", None, "2020-01-05"),
        (1, "2020-03-05", 1, "2020-03-05"),
        (1, "2020-03-05", 2, "2020-03-05"),
        (2, "2021-01-01", None, "2021-01-01"),
    ]


def test_a_column_of_the_patient_is_said_once(visits: Any) -> None:
    assert one(visits, "SELECT count(*) FROM observation WHERE observation_source_value = 'sex'") == 3


def test_the_source_says_that_it_is_synthetic(visits: Any) -> None:
    name, text = visits.execute("SELECT cdm_source_abbreviation, source_description FROM cdm_source").fetchone()
    assert name == "synthetic"
    assert "epsilon 2.500" in text
    assert "protects nobody" in text
    assert visits_provenance().study.fingerprint in text


def test_a_column_without_a_mapping_has_concept_zero(flat: Any) -> None:
    rows = flat.execute(
        "SELECT DISTINCT observation_concept_id, value_as_string FROM observation WHERE observation_source_value = "
        "'zip' ORDER BY 2"
    ).fetchall()
    assert rows == [(0, "02139"), (0, "250"), (0, "250.0"), (0, "250.00")]


def test_a_measurement_has_number_unit_and_operator(flat: Any) -> None:
    rows = flat.execute(
        "SELECT DISTINCT measurement_concept_id, value_as_number, operator_concept_id, unit_concept_id, "
        "unit_source_value FROM measurement WHERE value_source_value IN ('<0.1', 'ND', '300.0') ORDER BY ALL"
    ).fetchall()
    assert rows == [
        (3020460, 0.1, 4171756, 8751, "mg/L"),
        (3020460, 300.0, None, 8751, "mg/L"),
        (3020460, None, None, None, None),
    ]


def test_each_code_and_item_is_a_row(flat: Any) -> None:
    both = "SELECT count(DISTINCT visit_occurrence_id) FROM drug_exposure WHERE drug_source_value = 'drugs: aspirin' "
    both += "AND visit_occurrence_id IN (SELECT visit_occurrence_id FROM drug_exposure WHERE drug_source_value = "
    assert one(flat, both + "'drugs: statin')") > 0
    assert flat.execute(
        "SELECT DISTINCT condition_concept_id FROM condition_occurrence WHERE condition_source_value = 'icd: I10'"
    ).fetchall() == [(320128,)]


def test_an_absent_condition_is_an_observation(flat: Any) -> None:
    assert one(flat, "SELECT count(*) FROM condition_occurrence WHERE condition_source_value = 'stroke: no'") == 0
    assert one(flat, "SELECT count(*) FROM observation WHERE observation_source_value = 'stroke'") > 0


def test_a_label_of_a_condition_has_its_concept(flat: Any) -> None:
    rows = flat.execute(
        "SELECT DISTINCT condition_source_value, condition_concept_id FROM condition_occurrence WHERE "
        "condition_source_value LIKE 'stroke%' ORDER BY 1"
    ).fetchall()
    assert rows == [(shortened(f"stroke: {LONG_LABEL}"), 0), ("stroke: ischemic", 443454)]


def test_a_person_has_gender_and_year_of_birth(flat: Any) -> None:
    rows = flat.execute("SELECT DISTINCT gender_concept_id, gender_source_value FROM person ORDER BY 1").fetchall()
    assert rows == [(0, None), (8507, "male"), (8532, "female")]
    query = "SELECT count(*) FROM person JOIN observation USING (person_id) JOIN visit_occurrence USING (person_id) "
    query += "WHERE observation_source_value = 'age' AND value_as_number IS NOT NULL AND "
    assert one(flat, query + "year_of_birth != year(visit_start_date) - value_as_number") == 0
    assert one(flat, "SELECT min(year_of_birth) FROM person") == 1900  # no age: the mapping's unknown_birth_year


def test_a_visit_never_ends_before_it_starts(flat: Any) -> None:
    assert one(flat, "SELECT count(*) FROM visit_occurrence WHERE visit_end_datetime < visit_start_datetime") == 0
    assert one(flat, "SELECT count(*) FROM visit_occurrence WHERE visit_end_date > visit_start_date") > 0


def test_long_texts_are_notes(flat: Any) -> None:
    assert one(flat, "SELECT min(length(note_text)) FROM note") > 60


def test_a_shortened_text_keeps_its_digest() -> None:
    first, second = (shortened("x" * 60 + end) for end in "ab")
    assert len(first) == len(second) == 50
    assert first != second
    assert shortened("x" * 50) == "x" * 50
