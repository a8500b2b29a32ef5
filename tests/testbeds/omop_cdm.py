"""A database with OMOP CDM 5.4 tables, keys and all, into which an export is loaded: written from the specification.

Source: https://ohdsi.github.io/CommonDataModel/cdm54.html. Source values have at most 50 characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

CONCEPT = "REFERENCES concept (concept_id)"
PERSON = "person_id INTEGER NOT NULL REFERENCES person (person_id)"
VISIT = "visit_occurrence_id INTEGER REFERENCES visit_occurrence (visit_occurrence_id)"
PROVIDER = "provider_id INTEGER REFERENCES provider (provider_id)"
DETAIL = "visit_detail_id INTEGER REFERENCES visit_detail (visit_detail_id)"
SITE = "care_site_id INTEGER REFERENCES care_site (care_site_id)"


def _text(name: str, most: int = 50) -> str:
    return f"{name} VARCHAR CHECK (length({name}) BETWEEN 1 AND {most})"


def _concepts(*names: str) -> str:
    """Columns of concepts; `!` stands behind the name of a required one."""
    return ", ".join(f"{name.rstrip('!')} INTEGER {'NOT NULL' * name.endswith('!')} {CONCEPT}" for name in names)


DDL = {
    "concept": "concept_id INTEGER PRIMARY KEY",
    "location": "location_id INTEGER PRIMARY KEY",
    "provider": "provider_id INTEGER PRIMARY KEY",
    "care_site": "care_site_id INTEGER PRIMARY KEY",
    "visit_detail": "visit_detail_id INTEGER PRIMARY KEY",
    "person": f"""person_id INTEGER PRIMARY KEY, {_concepts("gender_concept_id!")}, year_of_birth INTEGER NOT NULL,
        month_of_birth INTEGER, day_of_birth INTEGER, birth_datetime TIMESTAMP,
        {_concepts("race_concept_id!", "ethnicity_concept_id!")}, location_id INTEGER REFERENCES location (location_id),
        {PROVIDER}, {SITE}, {_text("person_source_value")}, {_text("gender_source_value")},
        {_concepts("gender_source_concept_id")}, {_text("race_source_value")}, {_concepts("race_source_concept_id")},
        {_text("ethnicity_source_value")}, {_concepts("ethnicity_source_concept_id")}""",
    "observation_period": f"""observation_period_id INTEGER PRIMARY KEY, {PERSON},
        observation_period_start_date DATE NOT NULL, observation_period_end_date DATE NOT NULL,
        {_concepts("period_type_concept_id!")}, CHECK (observation_period_start_date <= observation_period_end_date)""",
    "visit_occurrence": f"""visit_occurrence_id INTEGER PRIMARY KEY, {PERSON}, {_concepts("visit_concept_id!")},
        visit_start_date DATE NOT NULL, visit_start_datetime TIMESTAMP, visit_end_date DATE NOT NULL,
        visit_end_datetime TIMESTAMP, {_concepts("visit_type_concept_id!")}, {PROVIDER}, {SITE},
        {_text("visit_source_value")}, {_concepts("visit_source_concept_id", "admitted_from_concept_id")},
        {_text("admitted_from_source_value")}, {_concepts("discharged_to_concept_id")},
        {_text("discharged_to_source_value")}, preceding_visit_occurrence_id INTEGER,
        CHECK (visit_start_date <= visit_end_date)""",
    "condition_occurrence": f"""condition_occurrence_id INTEGER PRIMARY KEY, {PERSON},
        {_concepts("condition_concept_id!")}, condition_start_date DATE NOT NULL, condition_start_datetime TIMESTAMP,
        condition_end_date DATE, condition_end_datetime TIMESTAMP,
        {_concepts("condition_type_concept_id!", "condition_status_concept_id")}, {_text("stop_reason", 20)},
        {PROVIDER}, {VISIT}, {DETAIL}, {_text("condition_source_value")}, {_concepts("condition_source_concept_id")},
        {_text("condition_status_source_value")}""",
    "drug_exposure": f"""drug_exposure_id INTEGER PRIMARY KEY, {PERSON}, {_concepts("drug_concept_id!")},
        drug_exposure_start_date DATE NOT NULL, drug_exposure_start_datetime TIMESTAMP,
        drug_exposure_end_date DATE NOT NULL, drug_exposure_end_datetime TIMESTAMP, verbatim_end_date DATE,
        {_concepts("drug_type_concept_id!")}, {_text("stop_reason", 20)}, refills INTEGER, quantity DOUBLE,
        days_supply INTEGER, sig VARCHAR, {_concepts("route_concept_id")}, {_text("lot_number")}, {PROVIDER}, {VISIT},
        {DETAIL}, {_text("drug_source_value")}, {_concepts("drug_source_concept_id")}, {_text("route_source_value")},
        {_text("dose_unit_source_value")}""",
    "measurement": f"""measurement_id INTEGER PRIMARY KEY, {PERSON}, {_concepts("measurement_concept_id!")},
        measurement_date DATE NOT NULL, measurement_datetime TIMESTAMP, {_text("measurement_time", 10)},
        {_concepts("measurement_type_concept_id!", "operator_concept_id")}, value_as_number DOUBLE,
        {_concepts("value_as_concept_id", "unit_concept_id")}, range_low DOUBLE, range_high DOUBLE, {PROVIDER}, {VISIT},
        {DETAIL}, {_text("measurement_source_value")}, {_concepts("measurement_source_concept_id")},
        {_text("unit_source_value")}, {_concepts("unit_source_concept_id")}, {_text("value_source_value")},
        measurement_event_id INTEGER, {_concepts("meas_event_field_concept_id")}""",
    "observation": f"""observation_id INTEGER PRIMARY KEY, {PERSON}, {_concepts("observation_concept_id!")},
        observation_date DATE NOT NULL, observation_datetime TIMESTAMP, {_concepts("observation_type_concept_id!")},
        value_as_number DOUBLE, {_text("value_as_string", 60)},
        {_concepts("value_as_concept_id", "qualifier_concept_id", "unit_concept_id")}, {PROVIDER}, {VISIT}, {DETAIL},
        {_text("observation_source_value")}, {_concepts("observation_source_concept_id")}, {_text("unit_source_value")},
        {_text("qualifier_source_value")}, {_text("value_source_value")}, observation_event_id INTEGER,
        {_concepts("obs_event_field_concept_id")}""",
    "note": f"""note_id INTEGER PRIMARY KEY, {PERSON}, note_date DATE NOT NULL, note_datetime TIMESTAMP,
        {_concepts("note_type_concept_id!", "note_class_concept_id!")}, {_text("note_title", 250)},
        note_text VARCHAR NOT NULL, {_concepts("encoding_concept_id!", "language_concept_id!")}, {PROVIDER}, {VISIT},
        {DETAIL}, {_text("note_source_value")}, note_event_id INTEGER, {_concepts("note_event_field_concept_id")}""",
    "cdm_source": f"""cdm_source_name VARCHAR NOT NULL CHECK (length(cdm_source_name) <= 255),
        cdm_source_abbreviation VARCHAR NOT NULL CHECK (length(cdm_source_abbreviation) <= 25),
        cdm_holder VARCHAR NOT NULL CHECK (length(cdm_holder) <= 255), source_description VARCHAR,
        {_text("source_documentation_reference", 255)}, {_text("cdm_etl_reference", 255)},
        source_release_date DATE NOT NULL, cdm_release_date DATE NOT NULL, {_text("cdm_version", 10)},
        {_concepts("cdm_version_concept_id!")}, vocabulary_version VARCHAR NOT NULL
        CHECK (length(vocabulary_version) <= 20)""",
}
"""The tables of an export and those that their keys point to, in the order in which they can be filled."""

HELPERS = ("concept", "location", "provider", "care_site", "visit_detail")

BASE_CONCEPTS = (0, 8507, 8532, 9201, 9202, 9203, 32678, 32880, 756265, 4171756, 4172704, 4180186)
"""Concepts that every vocabulary holds, and that an export writes without being told."""


def load_export(folder: Path, form: str, concepts: Iterable[int] = ()) -> Any:
    """Return a connection to a database that holds an export; any violation of the model is an error of DuckDB.

    Args:
        folder: of the export.
        form: csv, parquet or duckdb.
        concepts: ids that the mapping names, which a vocabulary would hold.
    """
    connection = duckdb.connect()
    for table, columns in DDL.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    connection.executemany("INSERT INTO concept VALUES (?)", [[concept] for concept in {*BASE_CONCEPTS, *concepts}])
    if form == "duckdb":
        connection.execute(f"ATTACH '{folder / 'omop.duckdb'}' AS export (READ_ONLY)")
    for table in DDL:
        if table in HELPERS:
            continue
        source = {
            "csv": f"read_csv('{folder / table}.csv', header = true, all_varchar = true)",
            "parquet": f"read_parquet('{folder / table}.parquet')",
            "duckdb": f"export.{table}",
        }[form]
        connection.execute(f"INSERT INTO {table} SELECT * FROM {source}")
    orphans = "SELECT count(*) FROM visit_occurrence v WHERE preceding_visit_occurrence_id IS NOT NULL AND NOT EXISTS "
    orphans += "(SELECT 1 FROM visit_occurrence w WHERE w.visit_occurrence_id = v.preceding_visit_occurrence_id)"
    assert connection.execute(orphans).fetchone() == (0,)
    return connection
