"""Features proposed for names of concepts: from the vocabulary alone, and such that a study can hold them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from common.errors import DataError
from common.omop.definitions import Feature
from common.omop.proposing import ConceptMatch, feature_text, ranked
from common.tables.omop_concepts import find_concepts
from tests.testbeds.command_line import fedsynth
from tests.testbeds.eunomia import TABLES, VOCABULARY
from tests.testbeds.omop_database import BELOW, DRUG, omop_database

EVERY = [
    ConceptMatch(1, "Aspirin 81 MG Oral Tablet", "Drug", 0),
    ConceptMatch(2, "Allergy to aspirin", "Observation", 0),
    ConceptMatch(3, "aspirin", "Drug", 7),
]


def test_a_name_itself_comes_first() -> None:
    assert [found.concept for found in ranked("Aspirin", EVERY)] == [3, 2, 1]


@pytest.mark.parametrize("found", [EVERY, EVERY[:2], [ConceptMatch(9, 'x"\n[privacy] é', "Measurement", 0)]])
def test_a_proposal_is_a_feature(found: list[ConceptMatch]) -> None:
    document = tomllib.loads(feature_text("aspirin", found))
    assert list(document) == ["features"]
    feature = Feature.model_validate(document["features"][0])
    assert feature.concepts == (ranked("aspirin", found)[0].concept,)


def test_concepts_are_found_without_records(tmp_path: Path) -> None:
    drop = [f"DROP TABLE {table}" for table in TABLES if table not in VOCABULARY]
    reading = omop_database(tmp_path / "cdm.duckdb", *drop)
    assert find_concepts("DRUG a", reading) == [
        ConceptMatch(DRUG, "a drug", "Drug", 1),
        ConceptMatch(BELOW, "a drug 5 MG", "Drug", 0),
    ]
    for hostile in ("%", "_", "' OR 1 = 1 --", ":word0"):
        with pytest.raises(DataError, match="no standard concept has"):
            find_concepts(hostile, reading)
    with pytest.raises(DataError, match="give a word of it"):
        find_concepts(" ", reading)


def test_the_command_prints_features(tmp_path: Path) -> None:
    reading = omop_database(tmp_path / "cdm.duckdb")
    done = fedsynth("study", "features", "bleed", "glucose", "--database", reading.database)
    assert done.exit_code == 0, done.output
    features = tomllib.loads(done.output)["features"]
    assert [(feature["name"], feature["domain"]) for feature in features] == [
        ("a_bleed", "condition"),
        ("glucose", "measurement"),
    ]
