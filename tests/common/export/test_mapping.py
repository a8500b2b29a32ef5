"""A mapping says where columns go; what does not fit the study is named, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from common.export.mapping import ExportMapping, parse_mapping, read_mapping
from tests.testbeds.exports import FLAT_MAPPING, flat_study, visits_provenance


def column(text: str) -> ExportMapping:
    return parse_mapping(f"[[columns]]\n{text}", "mapping.toml")


def test_a_mapping_is_written_and_read_back() -> None:
    mapping = parse_mapping(FLAT_MAPPING, "mapping.toml")
    assert parse_mapping(mapping.to_toml(), "mapping.toml") == mapping


def test_a_number_is_a_concept() -> None:
    mapped = column('name = "sex"\nto = "gender"\nvalues = { f = 8532 }').of("sex")
    assert mapped.values["f"].concept == 8532


def test_a_column_that_is_not_mapped_is_an_observation() -> None:
    assert ExportMapping().of("age").to == "observation"


def test_a_day_may_be_a_date_of_toml() -> None:
    assert parse_mapping("index_date = 2022-02-03", "mapping.toml").index_date == "2022-02-03"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "a"\nto = "procedure"', "columns.0.to"),
        ('name = "a"\nconzept = 1', "did you mean 'concept'"),
        ('name = "a"\nconcept = -1', "greater than or equal to 0"),
        ('name = "a"\ncode = "1"', "code needs its system"),
        ('name = "a"\nsystem = "lionc"\ncode = "1"', "choose from loinc"),
        ('name = "a"\nvalues = { x = { code = "1" } }', "needs a system"),
        ('name = "a"\n[[columns]]\nname = "a"', "mapped twice"),
        ('name = "a"\nto = "age"\n[[columns]]\nname = "b"\nto = "age"', "both go to age"),
    ],
)
def test_a_wrong_mapping_is_explained(text: str, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        column(text)


@pytest.mark.parametrize("text", ["index_date = '2020-13-01'", "index_date = 3", "[columns"])
def test_a_wrong_file_is_explained(text: str) -> None:
    with pytest.raises(StudyError, match=r"mapping\.toml"):
        parse_mapping(text, "mapping.toml")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot read export mapping"):
        read_mapping(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "agee"', "is not in the study"),
        ('name = "age"\nto = "condition"', "takes labels, codes or items"),
        ('name = "drugs"\nto = "gender"', "takes one label"),
        ('name = "zip"\nto = "age"', "takes a number"),
        ('name = "age"\nto = "visit_start"', "takes a date"),
        ('name = "zip"\nvalues = { "99999" = 1 }', "has no label, code or item '99999'"),
        ('name = "zip"\nto = "condition"\nabsent = ["99999"]', "has no label, code or item '99999'"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(text: str, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        column(text).check(flat_study().declared)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "note"\nto = "race"', "takes labels"),
        ('name = "day"\nto = "visit_end"', None),
        ('name = "sex"\nto = "gender"', None),
    ],
)
def test_a_mapping_of_visits_is_checked(text: str, problem: str | None) -> None:
    declared = visits_provenance().study.declared
    if problem is None:
        column(text).check(declared)
    else:
        with pytest.raises(StudyError, match=problem):
            column(text).check(declared)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "stage"\nto = "gender"', "goes to gender, which a person has once, and is of the visit"),
        ('name = "seen"\nto = "visit_start"', "visits start at 'day', the study's time; remove visit_start"),
    ],
)
def test_a_fact_is_not_taken_from_the_wrong_column(text: str, problem: str) -> None:
    schema = visits_provenance().study.model_dump(mode="json", by_alias=True, exclude_none=True)["schema"]
    further = [
        {"name": "stage", "kind": "categorical", "categories": ["1", "2"]},
        {"name": "seen", "kind": "date", "lower": "2020-01-01", "upper": "2024-12-31"},
    ]
    study = visits_provenance().study.amended(schema={"columns": [*schema["columns"], *further]})
    with pytest.raises(StudyError, match=problem):
        column(text).check(study.declared)
