"""Checks of an OMOP database before a study's table is taken from it: version, tables, concepts, study cohort, units.

Everything here runs at the hospital, under its people's eyes, before anything is charged or sent. Notices and errors
may count the hospital's patients: they are for this hospital alone, and no message that leaves it has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.errors import DataError
from common.omop.definitions import Extraction, Feature, Selection
from common.omop.domains import EVENTS, OTHER_TABLES, VOCABULARY
from common.omop.sql import COHORT, age_sql, entry_sql, observed_sql
from common.tables.omop_values import Ask, check_numbers, concepts_of, refuse_infinite_dates

BACKENDS = ("duckdb", "postgresql")
"""Databases whose difference of two dates is a number of days."""

VERSION = re.compile(r"(?:OMOP )?(?:CDM )?v?5\.[34](?:\.\d+)*", re.IGNORECASE)
"""Versions of the Common Data Model that are read, as databases write them."""

MOST_SHOWN = 5
"""Most concepts that a message lists."""


def check_database(ask: Ask, extraction: Extraction) -> list[str]:
    """Return notices about the database, for the hospital only.

    Args:
        ask: runs a query on the database.
        extraction: what is to be taken from it.

    Raises:
        DataError: the database is of another version or lacks a table, a concept is unknown, a date is infinite, the
            study cohort is empty, values have units that the study does not list, or are not finite numbers.
    """
    notices = _check_version(ask)
    _check_vocabulary(ask)
    notices += _check_concepts(ask, extraction)
    refuse_infinite_dates(ask, needed_tables(extraction))
    notices += _check_cohort(ask, extraction)
    for feature in extraction.features:
        if feature.units:
            notices += check_numbers(ask, feature, extraction)
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
    known = concepts_of(ask, wanted)
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
        known = concepts_of(ask, listed)
        unknown = [concept for concept in listed if concept not in known]
        if unknown:
            notices.append(f"feature '{feature.name}': the vocabulary lacks concept {_shown(unknown)} of its values")
        for unit in sorted(int(unit) for unit in feature.units if int(unit) in known):
            name, domain, _ = known[unit]
            if domain != "Unit":
                notices.append(f"feature '{feature.name}': unit {unit} ({name}) is of domain {domain}, not Unit")
    return notices


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


def _shown(concepts: list[int]) -> str:
    more = f" and {len(concepts) - MOST_SHOWN} more" if len(concepts) > MOST_SHOWN else ""
    return ", ".join(map(str, concepts[:MOST_SHOWN])) + more
