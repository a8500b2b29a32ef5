"""What a study takes from an OMOP database, in words and as SQL, for the people who approve it."""

from __future__ import annotations

import json

from common.omop.definitions import Extraction, Feature, Selection, StudyCohort, Visits
from common.omop.sql import COHORT, VISITS, digest, queries

RESULTS = {
    "any": "whether there is one",
    "count": "how many there are",
    "first": "the first one",
    "last": "the last one",
    "mean": "the mean",
    "each visit": "at each visit",
}
"""What a summary is of the events in the window, in words."""


def what_is_taken(extraction: Extraction) -> list[str]:
    """Return who is in the table and what each column is, one sentence a line; numbers in brackets are concepts."""
    lines = [
        "The table is taken from the hospital's OMOP database, once, at import. Definitions and SQL texts together "
        "have the SHA-256",
        f"    {digest(extraction)}",
        _cohort(extraction.study_cohort),
    ]
    if extraction.visits is not None:
        lines.append(_visits(extraction.visits))
    columns = ((json.dumps(feature.name, ensure_ascii=False), _feature(feature)) for feature in extraction.features)
    return [*lines, *(f"    {name}: {what}" for name, what in columns)]


def taken_by_query(extraction: Extraction) -> list[tuple[str, str, str]]:
    """Return of every SQL text its title, what it takes in words, and its SHA-256, in the order of `queries`."""
    words = {COHORT: _cohort(extraction.study_cohort).removesuffix(" The columns are:")}
    if extraction.visits is not None:
        words[VISITS] = _visits(extraction.visits)
    words |= {feature.name: _feature(feature) for feature in extraction.features}
    return [(query.title, words[query.title], query.sha256) for query in queries(extraction)]


def sql_lines(extraction: Extraction) -> list[str]:
    """Return every SQL text with its SHA-256, line by line."""
    lines = []
    for query in queries(extraction):
        lines += [f"-- {json.dumps(query.title, ensure_ascii=False)}, SHA-256 {query.sha256}", *query.sql.splitlines()]
    return lines


def _cohort(cohort: StudyCohort) -> str:
    return (
        f"A patient is in the table whose first {cohort.domain} of {_concepts(cohort)} came at the age of "
        f"{cohort.age[0]} to {cohort.age[1]}, observed for {cohort.prior_observation_days} days before. That day is "
        "day 0. The columns are:"
    )


def _visits(visits: Visits) -> str:
    return (
        f"A row is a visit of {_concepts(visits)} that starts on day {visits.window[0]} to {visits.window[1]}; a "
        "patient without one has no row."
    )


def _feature(feature: Feature) -> str:
    """Return what a feature's column is."""
    if feature.domain == "person":
        return f"{feature.field} of the person{_labels(feature)}"
    assert feature.summary is not None, "checked by the feature"
    window = "" if feature.window is None else f" on day {feature.window[0]} to {feature.window[1]}"
    units = ", ".join(f"[{unit}] times {factor!r}" for unit, factor in feature.units.items())
    values = {"number": f", as a number in units {units}", "days": ", as its day"}.get(feature.result, _labels(feature))
    return f"{feature.domain} of {_concepts(feature)}{window}: {RESULTS[feature.summary]}{values}"


def _labels(feature: Feature) -> str:
    """Return which concepts make which label, as the end of a sentence; nothing where there are no labels."""
    labels = [
        f"{json.dumps(label, ensure_ascii=False)} for [{', '.join(map(str, concepts))}]"
        for label, concepts in feature.values.items()
    ]
    return f", as {', '.join(labels)}, else missing" if labels else ""


def _concepts(selection: Selection) -> str:
    if not selection.concepts:
        return "any concept"
    listed = ", ".join(map(str, selection.concepts))
    return f"[{listed}] or below" if selection.descendants else f"[{listed}]"
