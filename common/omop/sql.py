"""Compile a study's cohort and features to SQL: one text for every feature, the same at every hospital.

Only names of `common.omop.domains` and numbers that the study's checks have passed enter a text; names and labels of a
study never do. The dialect is standard SQL with one exception, which PostgreSQL and DuckDB share: the difference of two
dates is a number of days. Table names carry no schema; the hospital says where they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from common.omop.columns import bounds
from common.omop.definitions import Extraction, Feature, Selection, Visits
from common.omop.domains import EVENTS, PERSON_CONCEPTS, EventTable

COHORT, VISITS = "[study_cohort]", "[visits]"
"""Titles of the two queries that are about no feature."""


@dataclass(frozen=True, slots=True)
class SqlText:
    """One query, and what it makes: a feature by its name, or what `COHORT` and `VISITS` say.

    The study cohort's rows are (person_id); a feature's are (person_id, feature_value), one for each of these persons.
    Those of the visits are (visit_occurrence_id, person_id, visit_day), and those of a feature of visits
    (visit_occurrence_id, feature_value).
    """

    title: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def queries(extraction: Extraction) -> tuple[SqlText, ...]:
    """Return the queries of the study cohort, of the visits where there are some, and of every feature, in order."""
    every = [SqlText(COHORT, with_sql(extraction) + "SELECT person_id\nFROM study_cohort\nORDER BY person_id\n")]
    if extraction.visits is not None:
        ordered = "FROM visits\nORDER BY person_id, visit_day, visit_occurrence_id\n"
        ordered = f"SELECT visit_occurrence_id, person_id, visit_day\n{ordered}"
        every.append(SqlText(VISITS, with_sql(extraction, extraction.visits) + ordered))
    return (*every, *(SqlText(feature.name, feature_sql(feature, extraction)) for feature in extraction.features))


def digest(extraction: Extraction) -> str:
    """Return the SHA-256 of everything that decides what an import takes from a database: sections and SQL texts."""
    sections = extraction.model_dump(mode="json")
    texts = [query.sql for query in queries(extraction)]
    return hashlib.sha256(json.dumps([sections, texts], sort_keys=True).encode()).hexdigest()


def feature_sql(feature: Feature, extraction: Extraction) -> str:
    """Return the query of a feature.

    Args:
        feature: the feature.
        extraction: all of them, with study cohort and visits.
    """
    if feature.domain == "person":
        return with_sql(extraction) + _of_person(feature)
    if feature.is_of_visit:
        assert extraction.visits is not None, "checked by the extraction"
        rows, key, match = "visits", "visit_occurrence_id", "event.visit_occurrence_id = visits.visit_occurrence_id"
        match += "\n  AND event.person_id = visits.person_id"
    else:
        assert feature.window is not None, "checked by the feature"
        rows, key, match = "study_cohort", "person_id", "event.person_id = study_cohort.person_id"
        match += f"\n  AND event.event_date - study_cohort.index_date {_between(feature.window)}"
    observed = ""
    if extraction.ends_with_observation(feature):
        observed = f"JOIN (\n{indent(LAST_DAYS, '  ')}) observed\n  ON observed.person_id = study_cohort.person_id\n"
        match += "\n  AND event.event_date - study_cohort.index_date <= observed.last_day"
    events = indent(events_sql(feature, extraction), "  ")
    joined = f"FROM {rows}\n{observed}LEFT JOIN (\n{events}) event\n  ON {match}\n"
    common = with_sql(extraction, extraction.visits if feature.is_of_visit else None)
    if feature.result in ("number", "labels") and feature.summary != "mean":
        return common + _nearest(joined, f"{rows}.{key}", "" if feature.summary == "first" else " DESC")
    value = _aggregate(feature)
    return (
        common
        + f"SELECT {rows}.{key}, {value} AS feature_value\n{joined}GROUP BY {rows}.{key}\nORDER BY {rows}.{key}\n"
    )


LAST_DAYS = """\
SELECT study_cohort.person_id,
  MAX(CAST(observation_period_end_date AS DATE) - study_cohort.index_date) AS last_day
FROM study_cohort
JOIN observation_period ON observation_period.person_id = study_cohort.person_id
WHERE CAST(observation_period_start_date AS DATE) <= study_cohort.index_date
GROUP BY study_cohort.person_id
"""
"""The last day of the observation period that holds the index date, from the index date, of every person."""


def events_sql(feature: Feature, extraction: Extraction) -> str:
    """Return the query of all events that a feature may summarize, of any person at any time.

    Args:
        feature: a feature of a domain with events.
        extraction: all of them.
    """
    events = EVENTS[feature.domain]
    visit = ", visit_occurrence_id" if events.has_visits else ""
    columns = f"person_id{visit}, {events.key} AS event_id, CAST({events.date} AS DATE) AS event_date"
    conditions = [selection_sql(events, feature)]
    if feature.result == "labels":
        column = events.concept if feature.domain == "visit" else "value_as_concept_id"
        listed = sorted(concept for concepts in feature.values.values() for concept in concepts)
        return _events(
            events, f"{columns},\n  {column} AS feature_value", [*conditions, f"{column} IN ({_list(listed)})"]
        )
    if feature.result != "number":
        return _events(events, columns, conditions)
    units = sorted(feature.units, key=int)
    factors = " ".join(f"WHEN {unit} THEN {feature.units[unit]!r}" for unit in units)
    converted = f"CAST(value_as_number AS DOUBLE PRECISION) * CASE {UNIT} {factors} END AS converted"
    conditions += ["value_as_number IS NOT NULL", f"{UNIT} IN ({', '.join(units)})"]
    inner = _events(events, f"{columns},\n  {converted}", conditions)
    lower, upper = bounds(feature, extraction)
    bounded = (
        f"CASE WHEN converted < {lower!r} THEN {lower!r} WHEN converted > {upper!r} THEN {upper!r} ELSE converted END"
    )
    return (
        "SELECT person_id, visit_occurrence_id, event_id, event_date,\n"
        f"  CAST({bounded} AS DECIMAL(18, 6)) AS feature_value\nFROM (\n{indent(inner, '  ')}) converted_event\n"
    )


UNIT = "COALESCE(unit_concept_id, 0)"
"""The unit of a value; 0 where it has none."""


def entry_sql(extraction: Extraction) -> str:
    """Return the query of every person's index date: the day of the first event of the study cohort's concepts."""
    cohort = extraction.study_cohort
    events = EVENTS[cohort.domain]
    return (
        f"SELECT person_id, MIN(CAST({events.date} AS DATE)) AS index_date\nFROM {events.table}\n"
        f"WHERE {selection_sql(events, cohort)}\nGROUP BY person_id\n"
    )


def observed_sql(extraction: Extraction) -> str:
    """Return the condition that an observation period holds the index date and the days before it."""
    days = extraction.study_cohort.prior_observation_days
    return (
        "EXISTS (\n  SELECT 1\n  FROM observation_period\n  WHERE observation_period.person_id = entry.person_id\n"
        f"    AND entry.index_date - CAST(observation_period_start_date AS DATE) >= {days}\n"
        "    AND CAST(observation_period_end_date AS DATE) >= entry.index_date)"
    )


AGE = "EXTRACT(YEAR FROM {rows}.index_date) - person.year_of_birth"
"""Years between the year of birth and the year of the index date: day and month of birth are not given everywhere."""


def age_sql(extraction: Extraction) -> str:
    """Return the condition that the age is in the study cohort's range."""
    return f"{AGE.format(rows='entry')} {_between(extraction.study_cohort.age)}"


def selection_sql(events: EventTable, selection: Selection) -> str:
    """Return the condition that an event has one of the concepts, or one below them.

    A concept without any row in `concept_ancestor`, such as a hospital's own, still matches itself.

    Args:
        events: table of the events.
        selection: the concepts; none at all stands for every event, also one without a concept.
    """
    if not selection.concepts:
        return f"{events.date} IS NOT NULL"
    listed = _list(selection.concepts)
    if not selection.descendants:
        return f"{events.concept} IN ({listed})"
    return (
        f"{events.concept} IN (\n  SELECT concept_id\n  FROM concept\n  WHERE concept_id IN ({listed})\n  UNION\n"
        f"  SELECT descendant_concept_id\n  FROM concept_ancestor\n  WHERE ancestor_concept_id IN ({listed}))"
    )


def cohort_sql(extraction: Extraction) -> str:
    """Return the two named queries `entry` and `study_cohort`, as they stand behind WITH."""
    conditions = f"{indent(observed_sql(extraction), '  ').strip()}\n    AND {age_sql(extraction)}"
    return (
        f"entry AS (\n{indent(entry_sql(extraction), '  ')}),\nstudy_cohort AS (\n"
        "  SELECT entry.person_id, entry.index_date\n  FROM entry\n"
        f"  JOIN person ON person.person_id = entry.person_id\n  WHERE {conditions}\n)"
    )


def with_sql(extraction: Extraction, visits: Visits | None = None) -> str:
    """Return the start of a query: WITH the study cohort, and the visits that are rows where they are given."""
    text = f"WITH {cohort_sql(extraction)}"
    if visits is None:
        return text + "\n"
    events = EVENTS["visit"]
    selected = indent(selection_sql(events, visits), "    ").strip()
    return (
        f"{text},\nvisits AS (\n  SELECT visit_occurrence.visit_occurrence_id, study_cohort.person_id,\n"
        f"    CAST({events.date} AS DATE) - study_cohort.index_date AS visit_day\n  FROM study_cohort\n"
        f"  JOIN visit_occurrence ON visit_occurrence.person_id = study_cohort.person_id\n  WHERE {selected}\n"
        f"    AND CAST({events.date} AS DATE) - study_cohort.index_date {_between(visits.window)}\n)\n"
    )


def _of_person(feature: Feature) -> str:
    assert feature.field is not None, "checked by the feature"
    value = {"age": AGE.format(rows="study_cohort"), "year of birth": "person.year_of_birth"}.get(feature.field)
    value = value or f"person.{PERSON_CONCEPTS[feature.field]}"
    return (
        f"SELECT study_cohort.person_id, {value} AS feature_value\nFROM study_cohort\n"
        "JOIN person ON person.person_id = study_cohort.person_id\nORDER BY study_cohort.person_id\n"
    )


def _events(events: EventTable, columns: str, conditions: Sequence[str]) -> str:
    return f"SELECT {columns}\nFROM {events.table}\nWHERE {chr(10).join(_joined(conditions))}\n"


def _joined(conditions: Sequence[str]) -> list[str]:
    first, *others = (indent(condition, "  ").strip() for condition in conditions)
    return [first, *(f"  AND {condition}" for condition in others)]


def _aggregate(feature: Feature) -> str:
    """Return what a feature is of the events that were joined to a person or a visit."""
    match feature.summary:
        case "count":
            return "COUNT(event.event_id)"
        case "mean":
            return "AVG(event.feature_value)"
        case "first":
            return "MIN(event.event_date - study_cohort.index_date)"
        case "time to event":
            assert feature.window is not None, "checked by the feature"
            end = feature.window[1]
            last = f"CASE WHEN observed.last_day < {end} THEN observed.last_day ELSE {end} END"
            return f"COALESCE(MIN(event.event_date - study_cohort.index_date), MIN({last}))"
        case "last":
            return "MAX(event.event_date - study_cohort.index_date)"
        case _:
            return "CASE WHEN COUNT(event.event_id) > 0 THEN 1 ELSE 0 END"


def _nearest(joined: str, key: str, order: str) -> str:
    """Return the query of the value of the first or last event of every key; the event's id decides within a day."""
    name = key.rpartition(".")[2]
    ranked = (
        f"SELECT {key}, event.feature_value, ROW_NUMBER() OVER (\n  PARTITION BY {key}\n"
        f"  ORDER BY event.event_date{order}, event.event_id{order}) AS event_rank\n{joined}"
    )
    return (
        f"SELECT {name}, feature_value\nFROM (\n{indent(ranked, '  ')}) ranked\nWHERE event_rank = 1\nORDER BY {name}\n"
    )


def _between(window: tuple[int, int]) -> str:
    return f"BETWEEN {window[0]} AND {window[1]}"


def _list(concepts: Sequence[int]) -> str:
    return ", ".join(map(str, concepts))
