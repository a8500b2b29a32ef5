"""A small invented OMOP database in one DuckDB file, and a study on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.study.study import Study, parse_study
from common.tables.reading import Reading
from tests.testbeds.eunomia import TABLES

DRUG, BELOW, BLEED, GLUCOSE, WARD, UNKNOWN = 10, 11, 20, 30, 40, 99
MG, OTHER_UNIT = 50, 51

STUDY = """
[study]
name = "bleeds"
[source]
kind = "omop"
[study_cohort]
domain = "drug"
concepts = [10]
prior_observation_days = 30
age = [18, 90]
[[features]]
name = "sex"
domain = "person"
field = "sex"
values = { female = 8532, male = 8507 }
[[features]]
name = "glucose"
domain = "measurement"
concepts = [30]
window = [-365, 0]
summary = "last"
units = { 50 = 1.0 }
unit = "mg/dL"
lower = 20.0
upper = 600.0
[[features]]
name = "bleed"
domain = "condition"
concepts = [20]
window = [1, 90]
summary = "any"
[privacy]
unit = "patient"
epsilon = 3.0
delta = 1e-4
[evaluation]
target = "bleed"
"""

CONCEPTS = {
    DRUG: ("a drug", "Drug"),
    BELOW: ("a drug 5 MG", "Drug"),
    BLEED: ("a bleed", "Condition"),
    GLUCOSE: ("glucose", "Measurement"),
    WARD: ("ward", "Visit"),
    MG: ("mg/dL", "Unit"),
    OTHER_UNIT: ("mmol/L", "Unit"),
}


def omop_study(*changes: tuple[str, str]) -> Study:
    """The study, with some of its text replaced."""
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_study(text)


def omop_database(path: Path, *statements: str, persons: int = 60) -> Reading:
    """Write the database, change it by SQL statements, and return how it is read.

    Person i gets a drug below `DRUG` on 2020-01-01 plus i days, has a glucose of 100 + i % 40 the day before, and
    bleeds 10 days after it where i is a multiple of 3. Even persons are female, all are 50 years old.
    """
    duckdb: Any = pytest.importorskip("duckdb")
    pytest.importorskip("duckdb_engine")
    with duckdb.connect(str(path)) as connection:
        for table, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
        for concept, (name, domain) in CONCEPTS.items():
            connection.execute(f"INSERT INTO concept VALUES ({concept}, '{name}', '{domain}', 'S')")
        every = f"FROM range({persons}) AS t(i)"
        day = "DATE '2020-01-01' + CAST(i AS INTEGER)"
        for insert in (
            "cdm_source VALUES ('v5.4.0', 'v5.0 2026')",
            f"concept_ancestor VALUES ({DRUG}, {DRUG}), ({DRUG}, {BELOW})",
            f"person SELECT i, CASE i % 2 WHEN 0 THEN 8532 ELSE 8507 END, 1970, 0, 0 {every}",
            f"observation_period SELECT i, DATE '2019-01-01', DATE '2021-01-01' {every}",
            f"drug_exposure SELECT i, i, {BELOW}, {day}, i {every}",
            f"condition_occurrence SELECT i, i, {BLEED}, {day} + 10, i {every} WHERE i % 3 = 0",
            f"measurement SELECT i, i, {GLUCOSE}, {day} - 1, 100 + i % 40, NULL, {MG}, i {every}",
            f"visit_occurrence SELECT i, i, {WARD}, {day} {every}",
        ):
            connection.execute(f"INSERT INTO {insert}")
        for statement in statements:
            connection.execute(statement)
    return Reading(database=f"duckdb:///{path}")
