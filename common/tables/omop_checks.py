"""Checks of an OMOP database before a study's table is taken from it: version, tables, concepts, study cohort, units.

Everything here runs at the hospital, under its people's eyes, before anything is charged or sent. Notices and errors
may count the hospital's patients: they are for this hospital alone, and no message that leaves it has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from common.errors import DataError
from common.omop.definitions import Extraction, Feature, Selection
from common.omop.domains import EVENTS, OTHER_TABLES, VOCABULARY
from common.omop.sql import (
    COHORT,
    UNIT,
    age_sql,
    cohort_sql,
    entry_sql,
    observed_sql,
    selection_sql,
)

BACKENDS = ("duckdb", "postgresql")
"""Databases whose difference of two dates is a number of days."""

VERSION = re.compile(r"(?:OMOP )?(?:CDM )?v?5\.[34](?:\.\d+)*", re.IGNORECASE)
"""Versions of the Common Data Model that are read, as databases write them."""

MOST_SHOWN = 5
"""Most concepts that a message lists."""

Ask = Callable[[str], list[Any]]
"""Runs a query and returns its rows."""


def check_database(ask: Ask, extraction: Extraction) -> list[str]:
    """Return notices about the database, for the hospital only.

    Args:
        ask: runs a query on the database.
        extraction: what is to be taken from it.

    Raises:
        DataError: the database is of another version or lacks a table, a concept is unknown, the study
            cohort is empty, or values have units that the study does not list.
    """
    notices = _check_version(ask)
    _check_vocabulary(ask)
    notices += _check_concepts(ask, extraction)
    notices += _check_cohort(ask, extraction)
    for feature in extraction.features:
        if feature.units:
            notices += _check_units(ask, feature, extraction)
    return notices


def needed_tables(extraction: Extraction) -> dict[str, tuple[str, ...]]:
    """Return the tables that a study reads, with the columns that it needs."""
    domains = {extraction.study_cohort.domain, *(feature.domain for feature in extraction.features)}
    if extraction.visits is not None:
        domains.add("visit")
    events = {EVENTS[domain].table: EVENTS[domain].columns for domain in sorted(domains) if domain in EVENTS}
    return OTHER_TABLES | events


def absent_table(table: str, columns: Iterable[str], cause: str) -> DataError:
    """Return the error about a table that is not there, or that lacks a column.

    Args:
        table: name of the table.
        columns: its columns that are read.
        cause: what the database says.
    """
    remedy = "load the OMOP vocabularies" if table in VOCABULARY else "check the database"
    return DataError(
        f"table '{table}' of the OMOP Common Data Model 5.3 or 5.4 is not there, or lacks one of its columns "
        f"{', '.join(columns)} ({cause}); {remedy}, or name its schema with schemas = cdm, vocabulary"
    )


def _check_version(ask: Ask) -> list[str]:
    """Return which versions the database has, or raise `DataError` for another of the model."""
    rows = ask("SELECT cdm_version, vocabulary_version FROM cdm_source")
    versions, vocabularies = (sorted({str(row[column]).strip() for row in rows}) for column in (0, 1))
    if not versions:
        raise DataError("table 'cdm_source' is empty, so that the CDM version is unknown; fill it in")
    for version in versions:
        if VERSION.fullmatch(version) is None:
            shown = version if len(version) <= 40 and version.isprintable() else "another"
            raise DataError(f"the CDM version is {shown}; studies read 5.3 and 5.4: convert the database")
    return [f"CDM version {', '.join(versions)}, vocabulary {', '.join(vocabularies)}"]


def _check_vocabulary(ask: Ask) -> None:
    for table in VOCABULARY:
        if not ask(f"SELECT 1 FROM {table} LIMIT 1"):
            raise DataError(f"vocabulary table '{table}' is empty; load the OMOP vocabularies")


def _check_concepts(ask: Ask, extraction: Extraction) -> list[str]:
    """Return notices about concepts that hardly match anything, or raise `DataError` for unknown ones."""
    cohort = extraction.study_cohort
    selections: list[tuple[str, str, Selection]] = [(COHORT, cohort.domain, cohort)]
    if extraction.visits is not None:
        selections.append(("[visits]", "visit", extraction.visits))
    events = [feature for feature in extraction.features if feature.domain != "person"]
    selections += [(f"feature '{feature.name}'", feature.domain, feature) for feature in events]
    wanted = sorted({concept for _, _, selection in selections for concept in selection.concepts})
    known = _concepts(ask, wanted)
    notices = []
    for whose, domain, selection in selections:
        unknown = [concept for concept in selection.concepts if concept not in known]
        if unknown:
            raise DataError(
                f"{whose}: concept {_shown(unknown)} is not in the database's vocabulary; correct the study, or "
                "update the vocabulary"
            )
        for concept in selection.concepts:
            name, of_domain, standard = known[concept]
            expected = EVENTS[domain].omop_domain
            if of_domain != expected:
                notices.append(f"{whose}: concept {concept} ({name}) is of domain {of_domain}, not {expected}")
            elif standard != "S":
                notices.append(f"{whose}: concept {concept} ({name}) is not a standard concept, so records may lack it")
    return list(dict.fromkeys(notices)) + _unknown_values(ask, events)


def _unknown_values(ask: Ask, features: Iterable[Feature]) -> list[str]:
    """Return notices about concepts of labels and units that the vocabulary lacks, and units of another domain."""
    notices = []
    for feature in features:
        labels = {concept for concepts in feature.values.values() for concept in concepts}
        listed = sorted(labels | {int(unit) for unit in feature.units} - {0})
        known = _concepts(ask, listed)
        unknown = [concept for concept in listed if concept not in known]
        if unknown:
            notices.append(f"feature '{feature.name}': the vocabulary lacks concept {_shown(unknown)} of its values")
        for unit in sorted(int(unit) for unit in feature.units if int(unit) in known):
            name, domain, _ = known[unit]
            if domain != "Unit":
                notices.append(f"feature '{feature.name}': unit {unit} ({name}) is of domain {domain}, not Unit")
    return notices


def _concepts(ask: Ask, concepts: list[int]) -> dict[int, tuple[str, str, str]]:
    """Return name, domain and whether it is standard ("S") of every concept that the vocabulary has."""
    if not concepts:
        return {}
    listed = ", ".join(map(str, concepts))
    rows = ask(
        f"SELECT concept_id, concept_name, domain_id, standard_concept FROM concept WHERE concept_id IN ({listed})"
    )
    return {int(concept): (str(name), str(domain), str(standard)) for concept, name, domain, standard in rows}


def _check_cohort(ask: Ask, extraction: Extraction) -> list[str]:
    """Return how many persons each condition of the study cohort leaves, or raise `DataError` where it leaves none."""
    entry = f"WITH entry AS (\n{entry_sql(extraction)})\nSELECT COUNT(*) FROM entry"
    cohort, (low, high) = extraction.study_cohort, extraction.study_cohort.age
    joined = f"{entry} JOIN person ON person.person_id = entry.person_id WHERE {observed_sql(extraction)}"
    steps = {
        "have an event of the study cohort's concepts": entry,
        f"were observed on that day and {cohort.prior_observation_days} days before": joined,
        f"were {low} to {high} years old": f"{joined} AND {age_sql(extraction)}",
    }
    text: list[str] = []
    for condition, query in steps.items():
        persons = int(ask(query)[0][0])
        if not persons:
            before = f" ({'; '.join(text)})" if text else ""
            raise DataError(
                f"the study cohort is empty: no persons {condition}{before}; correct {COHORT}, or do not take part"
            )
        text.append(f"{persons} {condition}")
    return [f"study cohort, persons: {'; of them '.join(text)}"]


def _check_units(ask: Ask, feature: Feature, extraction: Extraction) -> list[str]:
    """Return notices about values in other units, or raise `DataError` where the study refuses them."""
    events = EVENTS[feature.domain]
    when = f"CAST(event.{events.date} AS DATE) - study_cohort.index_date"
    window = f" AND {when} BETWEEN {feature.window[0]} AND {feature.window[1]}" if feature.window else ""
    rows = ask(
        f"WITH {cohort_sql(extraction)}\nSELECT {UNIT}, COUNT(*) FROM study_cohort\n"
        f"JOIN {events.table} event ON event.person_id = study_cohort.person_id\n"
        f"WHERE {selection_sql(events, feature)} AND value_as_number IS NOT NULL{window}\nGROUP BY {UNIT}"
    )
    other = {int(unit): int(count) for unit, count in rows if str(int(unit)) not in feature.units}
    if not other:
        return []
    names = {unit: name for unit, (name, _, _) in _concepts(ask, sorted(other)).items()} | {0: "no unit"}
    shown = ", ".join(f"{unit} ({names.get(unit, 'unknown')}): {count}" for unit, count in sorted(other.items()))
    text = f"feature '{feature.name}': values in units that the study does not list, by unit concept: {shown}"
    if feature.other_units == "drop":
        return [f"{text}; they are left out"]
    raise DataError(
        f'{text}; add each unit with its factor to units, or set other_units = "drop" in the study, or correct the '
        "records"
    )


def _shown(concepts: list[int]) -> str:
    more = f" and {len(concepts) - MOST_SHOWN} more" if len(concepts) > MOST_SHOWN else ""
    return ", ".join(map(str, concepts[:MOST_SHOWN])) + more
