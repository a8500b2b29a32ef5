"""OHDSI's test database Eunomia, whose measurements get values here, since it has none; and a copy on PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from simulations.federation.omop import EUNOMIA, eunomia_file

MG_DL, MMOL_L, POSITIVE, NEGATIVE = 8840, 8753, 45884084, 45878583
"""Concepts of two units and two results."""

VALUES = (
    "UPDATE measurement SET value_as_number = CASE WHEN CAST(measurement_id AS BIGINT) % 11 = 0 THEN NULL"
    " ELSE CAST((CAST(measurement_id AS BIGINT) % 997) / 8.0 AS VARCHAR) END,"
    f" unit_concept_id = CASE CAST(measurement_id AS BIGINT) % 3 WHEN 0 THEN {MMOL_L} ELSE {MG_DL} END,"
    f" value_as_concept_id = CASE CAST(measurement_id AS BIGINT) % 3 WHEN 0 THEN {POSITIVE} WHEN 1 THEN {NEGATIVE} END",
    "UPDATE observation SET value_as_number = CAST((observation_id % 50) / 4.0 AS VARCHAR),"
    f" value_as_concept_id = CASE observation_id % 3 WHEN 0 THEN {POSITIVE} WHEN 1 THEN {NEGATIVE} ELSE 0 END",
)
"""Values that follow from the id alone."""

AT_VISITS = (
    "INSERT INTO measurement (measurement_id, person_id, measurement_concept_id, measurement_date, value_as_number,"
    f" unit_concept_id, visit_occurrence_id) SELECT 20000000 + 2 * visit_occurrence_id + n, person_id, 3006322,"
    f" visit_start_date + n, CAST(visit_occurrence_id % 60 + n AS VARCHAR), {MG_DL}, visit_occurrence_id"
    " FROM visit_occurrence CROSS JOIN (VALUES (0), (1)) AS t(n) WHERE visit_occurrence_id % 3 > 0",
    "INSERT INTO observation (observation_id, person_id, observation_concept_id, observation_date, value_as_concept_id,"
    f" visit_occurrence_id) SELECT 20000000 + visit_occurrence_id, person_id, 4323208, visit_start_date, {POSITIVE},"
    " visit_occurrence_id FROM visit_occurrence WHERE visit_occurrence_id % 2 = 0",
)
"""Measurements and observations of visits, of which Eunomia has hardly any."""

DEATHS = (
    "DROP TABLE death",
    "CREATE TABLE death AS SELECT person_id, MIN(visit_start_date) + 900 AS death_date,"
    " CASE WHEN person_id % 2 = 0 THEN 192671 END AS cause_concept_id"
    " FROM visit_occurrence WHERE person_id % 3 > 0 GROUP BY person_id",
)
"""Deaths, half of them without a cause: Eunomia's table of deaths has other columns and no row of a person."""

ENDS = (
    "UPDATE observation_period SET observation_period_end_date = (SELECT MIN(drug_exposure_start_date) + 30"
    " FROM drug_exposure d JOIN concept_ancestor ON descendant_concept_id = drug_concept_id"
    " WHERE ancestor_concept_id IN (1118084, 1124300) AND d.person_id = observation_period.person_id)"
    " WHERE person_id % 3 = 0 AND person_id IN (SELECT person_id FROM drug_exposure JOIN concept_ancestor"
    " ON descendant_concept_id = drug_concept_id WHERE ancestor_concept_id IN (1118084, 1124300))",
)
"""A third of the persons are observed for 30 days after their first celecoxib or diclofenac; their records go on."""

TABLES = {
    "person": "person_id INTEGER, gender_concept_id INTEGER, year_of_birth INTEGER, race_concept_id INTEGER,"
    " ethnicity_concept_id INTEGER",
    "observation_period": "person_id INTEGER, observation_period_start_date DATE, observation_period_end_date DATE",
    "cdm_source": "cdm_version VARCHAR(10), vocabulary_version VARCHAR(20)",
    "concept": "concept_id INTEGER, concept_name VARCHAR(255), domain_id VARCHAR(20), standard_concept VARCHAR(1)",
    "concept_ancestor": "ancestor_concept_id INTEGER, descendant_concept_id INTEGER",
    "condition_occurrence": "condition_occurrence_id INTEGER, person_id INTEGER, condition_concept_id INTEGER,"
    " condition_start_date DATE, visit_occurrence_id INTEGER",
    "drug_exposure": "drug_exposure_id INTEGER, person_id INTEGER, drug_concept_id INTEGER,"
    " drug_exposure_start_date DATE, visit_occurrence_id INTEGER",
    "measurement": "measurement_id INTEGER, person_id INTEGER, measurement_concept_id INTEGER, measurement_date DATE,"
    " value_as_number NUMERIC, value_as_concept_id INTEGER, unit_concept_id INTEGER, visit_occurrence_id INTEGER",
    "observation": "observation_id INTEGER, person_id INTEGER, observation_concept_id INTEGER, observation_date DATE,"
    " value_as_number NUMERIC, value_as_concept_id INTEGER, unit_concept_id INTEGER, visit_occurrence_id INTEGER",
    "procedure_occurrence": "procedure_occurrence_id INTEGER, person_id INTEGER, procedure_concept_id INTEGER,"
    " procedure_date DATE, visit_occurrence_id INTEGER",
    "death": "person_id INTEGER, death_date DATE, cause_concept_id INTEGER",
    "visit_occurrence": "visit_occurrence_id INTEGER, person_id INTEGER, visit_concept_id INTEGER,"
    " visit_start_date DATE",
}
"""What a study reads of the Common Data Model 5.3, with its types."""

VOCABULARY = ("concept", "concept_ancestor")


def eunomia_with_values(folder: Path) -> Path:
    """Return a copy of Eunomia with values, visits and early ends; skip the test where the package is not installed."""
    pytest.importorskip(EUNOMIA)
    duckdb: Any = pytest.importorskip("duckdb")
    path = folder / "eunomia.duckdb"
    shutil.copyfile(eunomia_file(), path)
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        for statement in (*VALUES, *AT_VISITS, *DEATHS, *ENDS):
            connection.execute(statement)
    return path


def copy_to_postgres(source: Path, url: str) -> None:
    """Copy what studies read to schemas `cdm` and `vocabulary` of a PostgreSQL database."""
    import duckdb
    import psycopg

    with duckdb.connect(str(source), read_only=True) as old, psycopg.connect(url) as new:
        new.execute("CREATE SCHEMA cdm; CREATE SCHEMA vocabulary")
        for table, columns in TABLES.items():
            schema = "vocabulary" if table in VOCABULARY else "cdm"
            names = ", ".join(column.split()[0] for column in columns.split(", "))
            new.execute(f"CREATE TABLE {schema}.{table} ({columns})")
            with new.cursor().copy(f"COPY {schema}.{table} ({names}) FROM STDIN") as copy:
                for row in old.execute(f"SELECT {names} FROM {table}").fetchall():
                    copy.write_row([int(value) if isinstance(value, float) else value for value in row])
            if "person_id" in names:
                new.execute(f"CREATE INDEX ON {schema}.{table} (person_id)")


def run(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on a database."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        if url.startswith("postgresql"):
            connection.exec_driver_sql("SET search_path TO cdm, vocabulary")
        rows = [tuple(row) for row in connection.exec_driver_sql(query).fetchall()]
    engine.dispose()
    return rows
