"""Checks of the values that an OMOP database has for a study: units, numbers and dates.

They run before anything is taken: a value that cannot be read is an error that names the feature, not a bound or a
missing cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from common.errors import DataError
from common.omop.definitions import Extraction, Feature
from common.omop.domains import EVENTS
from common.omop.sql import UNIT, selection_sql, with_sql
from common.tables.database import cause_of_query
from common.tables.extras import load

LARGEST = 1e290
"""Largest number of a database, plus or minus: a larger one, times the factor of its unit, may overflow."""

Ask = Callable[[str], list[Any]]
"""Runs a query and returns its rows."""


def concepts_of(ask: Ask, concepts: list[int]) -> dict[int, tuple[str, str, str]]:
    """Return name, domain and whether it is standard ("S") of every concept that the vocabulary has."""
    if not concepts:
        return {}
    listed = ", ".join(map(str, concepts))
    rows = ask(
        f"SELECT concept_id, concept_name, domain_id, standard_concept FROM concept WHERE concept_id IN ({listed})"
    )
    return {int(concept): (str(name), str(domain), str(standard)) for concept, name, domain, standard in rows}


def check_numbers(ask: Ask, feature: Feature, extraction: Extraction) -> list[str]:
    """Return notices about values in other units.

    Args:
        ask: runs a query on the database.
        feature: a feature of numbers with units.
        extraction: all of them, with study cohort and visits.

    Raises:
        DataError: values have units that the study does not list and does not drop, or are not finite numbers.
    """
    events = EVENTS[feature.domain]
    listed = f"{UNIT} IN ({', '.join(sorted(feature.units, key=int))})"
    is_beyond = f"{listed} AND NOT ABS(CAST(value_as_number AS DOUBLE PRECISION)) <= {LARGEST!r}"  # also of NaN
    if feature.is_of_visit:
        match = "visits ON event.visit_occurrence_id = visits.visit_occurrence_id\n"
        match += "  AND event.person_id = visits.person_id"
    else:
        assert feature.window is not None, "checked by the feature"
        match = "study_cohort ON event.person_id = study_cohort.person_id"
        day = f"CAST(event.{events.date} AS DATE) - study_cohort.index_date"
        match += f" AND {day} BETWEEN {feature.window[0]} AND {feature.window[1]}"
    query = (
        f"{with_sql(extraction, extraction.visits if feature.is_of_visit else None)}"
        f"SELECT {UNIT}, COUNT(*), SUM(CASE WHEN {is_beyond} THEN 1 ELSE 0 END)\n"
        f"FROM {events.table} event\nJOIN {match}\n"
        f"WHERE {selection_sql(events, feature)} AND value_as_number IS NOT NULL\nGROUP BY {UNIT}"
    )
    sqlalchemy = load("sqlalchemy", "database")
    try:
        rows = ask(query)
    except sqlalchemy.exc.DataError as problem:
        raise DataError(
            f"feature '{feature.name}': a value_as_number cannot be read as a number "
            f"({cause_of_query(problem)}); correct the record, or leave its value_as_number empty"
        ) from None
    beyond = sum(int(count) for _, _, count in rows)
    if beyond:
        raise DataError(
            f"feature '{feature.name}': numbers that are NaN, infinite, or beyond plus or minus {LARGEST:g}: {beyond}; "
            "correct these records, or leave their value_as_number empty"
        )
    return _in_other_units(ask, feature, {int(unit): int(count) for unit, count, _ in rows})


def _in_other_units(ask: Ask, feature: Feature, counts: Mapping[int, int]) -> list[str]:
    """Return notices about values in units that a feature does not list, or raise `DataError` where it refuses them.

    Args:
        ask: runs a query on the database.
        feature: the feature.
        counts: how many values are in each unit.
    """
    other = {unit: count for unit, count in sorted(counts.items()) if str(unit) not in feature.units}
    if not other:
        return []
    names = {unit: name for unit, (name, _, _) in concepts_of(ask, list(other)).items()} | {0: "no unit"}
    shown = ", ".join(f"{unit} ({names.get(unit, 'unknown')}): {count}" for unit, count in other.items())
    text = f"feature '{feature.name}': values in units that the study does not list, by unit concept: {shown}"
    if feature.other_units == "drop":
        return [f"{text}; they are left out"]
    raise DataError(
        f'{text}; add each unit with its factor to units, or set other_units = "drop" in the study, or correct the '
        "records"
    )


def refuse_infinite_dates(ask: Ask, tables: Mapping[str, Iterable[str]]) -> None:
    """Raise `DataError` if a date is infinite: no day lies between it and the index date.

    Args:
        ask: runs a query on the database.
        tables: the tables that the study reads, with their columns.
    """
    infinite = "(CAST('infinity' AS DATE), CAST('-infinity' AS DATE))"
    for table, columns in tables.items():
        for column in columns:
            if not column.endswith("_date"):
                continue
            count = int(ask(f"SELECT COUNT(*) FROM {table} WHERE CAST({column} AS DATE) IN {infinite}")[0][0])
            if count:
                raise DataError(
                    f"table '{table}': rows with an infinite {column}: {count}; write the day, or the last day on "
                    "which the person was observed"
                )
