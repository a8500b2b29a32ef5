"""Features equal SQL that was written by hand, on DuckDB and on a PostgreSQL server, from OHDSI's Eunomia."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.omop.definitions import Extraction
from common.tables.omop import read_omop
from common.tables.reading import Reading
from tests.testbeds.databases import postgres
from tests.testbeds.eunomia import copy_to_postgres, eunomia_with_values, run
from tests.testbeds.omop_definitions import DEFINITIONS, NSAID, OF_VISITS, PERSONS, VISITS, Definition

pytestmark = pytest.mark.slow


def extraction(definitions: list[Definition], **sections: Any) -> Extraction:
    cohort = {"domain": "drug", "concepts": list(NSAID), "prior_observation_days": 400, "age": [35, 44]}
    features = [definition.settings for definition in definitions]
    return Extraction.model_validate(
        {"source": {"kind": "omop"}, "study_cohort": cohort, "features": features} | sections
    )


@pytest.fixture(scope="module")
def eunomia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eunomia_with_values(tmp_path_factory.mktemp("eunomia"))


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, eunomia: Path) -> Iterator[Reading]:
    if request.param == "duckdb":
        yield Reading(database=f"duckdb:///{eunomia}")
        return
    with postgres() as url:
        copy_to_postgres(eunomia, url)
        yield Reading(database=url, schemas="cdm, vocabulary")


@pytest.fixture(scope="module")
def features(database: Reading) -> dict[str, list[str]]:
    part = read_omop(extraction(DEFINITIONS), database)
    return {name: list(cells.every()) for name, cells in part.columns.items()}


@pytest.fixture(scope="module")
def of_visits(database: Reading) -> dict[str, list[str]]:
    visits = {"concepts": [9201], "window": [-9000, 9000], "most_visits": 4}
    part = read_omop(extraction([*OF_VISITS, DEFINITIONS[0]], visits=visits), database)
    return {name: list(cells.every()) for name, cells in part.columns.items()}


def agree(cells: list[str], expected: list[Any]) -> None:
    """Assert that cells write the expected values, and that these are not all the same."""
    assert len(cells) == len(expected) > 500
    assert len(set(cells)) > 1
    for cell, value in zip(cells, expected, strict=True):
        if value is None or isinstance(value, str):
            assert cell == (value or "")
        else:
            assert float(cell) == pytest.approx(float(value), abs=1e-6)


def test_there_are_definitions_of_everything() -> None:
    settings = [definition.settings for definition in (*DEFINITIONS, *OF_VISITS)]
    assert len(settings) >= 20
    by_domain = {(each["domain"], each.get("summary")) for each in settings}
    for domain in ("condition", "drug", "procedure", "visit"):
        assert {(domain, summary) for summary in ("any", "count", "first", "last", "each visit")} <= by_domain
    assert ("condition", "time to event") in by_domain
    assert {("death", "any"), ("death", "first")} <= by_domain
    for domain in ("measurement", "observation"):
        assert {(domain, summary) for summary in ("any", "count", "first", "last", "mean", "each visit")} <= by_domain


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_a_feature_equals_sql_by_hand(
    definition: Definition, features: dict[str, list[str]], database: Reading
) -> None:
    rows = run(str(database.database), f"{PERSONS} SELECT p.id, {definition.reference} FROM p ORDER BY p.id")
    assert features["person_id"] == [str(row[0]) for row in rows]
    agree(features[definition.name], [row[1] for row in rows])


@pytest.mark.parametrize("definition", OF_VISITS, ids=lambda definition: definition.name)
def test_a_feature_of_visits_equals_sql_by_hand(
    definition: Definition, of_visits: dict[str, list[str]], database: Reading
) -> None:
    query = f"{PERSONS}{VISITS} SELECT v.id, v.day, {definition.reference} FROM v ORDER BY v.id, v.day, v.vid"
    rows = run(str(database.database), query)
    assert of_visits["person_id"] == [str(row[0]) for row in rows]
    assert of_visits["day"] == [str(row[1]) for row in rows]
    cells, expected = of_visits[definition.name], [row[2] for row in rows]
    if definition.domain == "visit":
        assert cells == expected  # every visit of Eunomia is inpatient
    else:
        agree(cells, expected)
