"""What a study takes from an OMOP database, in words and as SQL, for the people who approve it."""

from __future__ import annotations

import json

from common.omop.definitions import Extraction, Feature, Selection, StudyCohort, Visits
from common.omop.sql import digest, queries

RESULTS = {
    "any": "whether there is one",
    "count": "how many there are",
    "first": "the first one",
    "last": "the last one",
    "mean": "the mean",
    "time to event": "the day of the first one, else the last day of the window",
    "each visit": "at each visit",
}
"""What a summary is of the events in the window, in words."""

TAKEN = (
    "The table is taken from the hospital's OMOP database, once, at import. Definitions and SQL texts together "
    "have the SHA-256"
)


def what_is_taken(extraction: Extraction) -> list[str]:
    """Return who is in the table and what each column is, one sentence a line; numbers in brackets are concepts."""
    return [
        TAKEN,
        f"    {digest(extraction)}",
        *_rows(extraction),
        *(f"    {column}" for column in _columns(extraction)),
    ]


def sentences_about(extraction: Extraction) -> list[str]:
    """Return what `what_is_taken` says for a page of sentences: without indents, the digest in its sentence."""
    return [f"{TAKEN} {digest(extraction)}", *_rows(extraction), *_columns(extraction)]


def taken_by_query(extraction: Extraction) -> list[tuple[str, str, str]]:
    """Return of every SQL text its title, what it takes in words, and its SHA-256, in the order of `queries`."""
    visits = [] if extraction.visits is None else [_visits(extraction.visits)]
    features = [_feature(feature, extraction) for feature in extraction.features]
    taken = [_cohort(extraction.study_cohort), *visits, *features]
    return [(query.title, what, query.sha256) for query, what in zip(queries(extraction), taken, strict=True)]


def sql_lines(extraction: Extraction) -> list[str]:
    """Return every SQL text with its SHA-256, line by line."""
    lines = []
    for query in queries(extraction):
        lines += [f"-- {json.dumps(query.title, ensure_ascii=False)}, SHA-256 {query.sha256}", *query.sql.splitlines()]
    return lines


def _rows(extraction: Extraction) -> list[str]:
    """Return who is in the table, and which visits are its rows where there are some."""
    visits = [] if extraction.visits is None else [_visits(extraction.visits)]
    return [f"{_cohort(extraction.study_cohort)} The columns are:", *visits]


def _columns(extraction: Extraction) -> list[str]:
    """Return name and content of each column."""
    return [
        f"{json.dumps(feature.name, ensure_ascii=False)}: {_feature(feature, extraction)}"
        for feature in extraction.features
    ]


def _cohort(cohort: StudyCohort) -> str:
    return (
        f"A patient is in the table whose first {cohort.domain} of {_concepts(cohort)} came at the age of "
        f"{cohort.age[0]} to {cohort.age[1]}, observed for {cohort.prior_observation_days} days before. That day is "
        "day 0."
    )


def _visits(visits: Visits) -> str:
    return (
        f"A row is a visit of {_concepts(visits)} that starts on day {visits.window[0]} to {visits.window[1]}; a "
        "patient without one has no row."
    )


def _feature(feature: Feature, extraction: Extraction) -> str:
    """Return what a feature's column is."""
    if feature.domain == "person":
        return f"{feature.field} of the person{_labels(feature)}"
    assert feature.summary is not None, "checked by the feature"
    window = "" if feature.window is None else f" on day {feature.window[0]} to {feature.window[1]}"
    window += ", while the person is observed" if extraction.ends_with_observation(feature) else ""
    units = ", ".join(f"[{unit}] times {factor!r}" for unit, factor in feature.units.items())
    values = {"number": f", as a number in units {units}", "days": ", as its day"}.get(feature.result, _labels(feature))
    return f"{feature.domain} of {_concepts(feature, feature.domain)}{window}: {RESULTS[feature.summary]}{values}"


def _labels(feature: Feature) -> str:
    """Return which concepts make which label, as the end of a sentence; nothing where there are no labels."""
    labels = [
        f"{json.dumps(label, ensure_ascii=False)} for [{', '.join(map(str, concepts))}]"
        for label, concepts in feature.values.items()
    ]
    return f", as {', '.join(labels)}, else missing" if labels else ""


def _concepts(selection: Selection, domain: str | None = None) -> str:
    if not selection.concepts:
        return "any cause" if domain == "death" else "any concept"
    listed = ", ".join(map(str, selection.concepts))
    return f"[{listed}] or below" if selection.descendants else f"[{listed}]"
