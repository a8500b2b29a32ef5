"""Definitions of features on Eunomia, each with SQL for the same values that was written by hand.

The references are written in another way than the compiler writes: one scalar subquery for each person `p` or visit
`v`, over rows `m`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.testbeds.eunomia import MG_DL, MMOL_L, NEGATIVE, POSITIVE

NSAID = (1118084, 1124300)

PERSONS = """
WITH started AS (
    SELECT x.person_id, x.drug_exposure_start_date AS d FROM drug_exposure x
    WHERE x.drug_concept_id IN (1118084, 1124300)
    UNION ALL
    SELECT x.person_id, x.drug_exposure_start_date FROM drug_exposure x
    JOIN concept_ancestor a ON a.descendant_concept_id = x.drug_concept_id
    WHERE a.ancestor_concept_id IN (1118084, 1124300)),
firsts AS (SELECT person_id, min(d) AS d0 FROM started GROUP BY person_id),
p AS (
    SELECT DISTINCT f.person_id AS id, f.d0, r.gender_concept_id AS g, r.race_concept_id AS r,
        r.ethnicity_concept_id AS e, r.year_of_birth AS y
    FROM firsts f JOIN person r USING (person_id) JOIN observation_period o USING (person_id)
    WHERE o.observation_period_start_date + 400 <= f.d0 AND f.d0 <= o.observation_period_end_date
        AND extract(year FROM f.d0) - r.year_of_birth >= 35 AND extract(year FROM f.d0) - r.year_of_birth <= 44)
"""

VISITS = """, v AS (
    SELECT w.visit_occurrence_id AS vid, w.visit_concept_id AS kind, w.visit_start_date - p.d0 AS day, p.id
    FROM visit_occurrence w JOIN p ON p.id = w.person_id
    WHERE w.visit_concept_id = 9201 AND w.visit_start_date >= p.d0 - 9000 AND w.visit_start_date <= p.d0 + 9000)
"""

BLEEDING, SINUSITIS, VIRAL, BRONCHITIS, OTITIS = 192671, 4283893, 40481087, 260139, 372328
CELECOXIB, ACETAMINOPHEN, POLIO = 1118084, 1125315, 40213160
IMMUNOTHERAPY, SUTURE = 4107731, 4125906
TEMPERATURE, CULTURE, RESPIRATION, APPENDECTOMY, MOLD, INPATIENT = 3006322, 4024958, 4052083, 4323208, 4304110, 9201

TABLES = {
    "condition": ("condition_occurrence", "condition_start_date"),
    "drug": ("drug_exposure", "drug_exposure_start_date"),
    "measurement": ("measurement", "measurement_date"),
    "observation": ("observation", "observation_date"),
    "procedure": ("procedure_occurrence", "procedure_date"),
    "visit": ("visit_occurrence", "visit_start_date"),
}
FACTOR = 18.0
UNITS = {"units": {str(MG_DL): 1.0, str(MMOL_L): FACTOR}, "lower": 5.0, "upper": 500.0, "decimals": 3}
ONE_UNIT = UNITS | {"units": {str(MG_DL): 1.0}, "other_units": "drop", "descendants": False}
NO_UNIT = {"units": {"0": 1.0}, "lower": 0.0, "upper": 20.0, "decimals": 2}
SIGNS = {"values": {"positive": [POSITIVE], "negative": [NEGATIVE]}}

OBSERVED = (
    "SELECT max(o.observation_period_end_date) - p.d0 FROM observation_period o WHERE o.person_id = p.id"
    " AND o.observation_period_start_date <= p.d0 AND o.observation_period_end_date >= p.d0"
)

GIVEN = "m.value_as_number IS NOT NULL"
SIGNED = f"m.value_as_concept_id IN ({POSITIVE}, {NEGATIVE})"
PLAIN = "cast(m.value_as_number AS double precision)"
CONVERTED = f"{PLAIN} * (CASE WHEN m.unit_concept_id = {MMOL_L} THEN {FACTOR} ELSE 1.0 END)"
NUMBER = f"greatest(5.0, least(500.0, {CONVERTED}))"


@dataclass(frozen=True)
class Definition:
    """A feature, and the scalar of every person `p` or visit `v` that it must equal."""

    name: str
    domain: str
    reference: str
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "domain": self.domain} | self.keys


def label(column: str, labels: dict[int, str]) -> str:
    return f"CASE {column} {' '.join(f'WHEN {key} THEN {text!r}' for key, text in labels.items())} END"


SIGN = label("m.value_as_concept_id", {POSITIVE: "positive", NEGATIVE: "negative"})


def person(name: str, reference: str, **keys: Any) -> Definition:
    return Definition(name, "person", reference, {"field": name.replace("_", " "), **keys})


def below(concept: int) -> str:
    listed = f"SELECT descendant_concept_id FROM concept_ancestor WHERE ancestor_concept_id = {concept}"
    return f"SELECT {concept} UNION {listed}"


def rows(domain: str, concepts: str, window: tuple[int, int] | None, more: str) -> str:
    """The rows of a person in a window, or of a visit where there is no window."""
    table, date = TABLES[domain]
    days = "" if window is None else f"m.{date} >= p.d0 + ({window[0]}) AND m.{date} <= p.d0 + ({window[1]})"
    whose = f"m.person_id = p.id AND {days}" if days else "m.person_id = v.id AND m.visit_occurrence_id = v.vid"
    chosen = f"m.{table.split('_')[0]}_concept_id IN ({concepts})" if concepts else "1 = 1"
    return f"FROM {table} m WHERE {whose} AND {chosen} AND {more}"


def until(window: tuple[int, int] | None) -> str:
    """The last day of a window on which a person is observed."""
    return f"least({window and window[1]}, ({OBSERVED}))"


def event(name: str, listed: int | list[int], summary: str, window: tuple[int, int] | None, **keys: Any) -> Definition:
    """A feature of events: `reads` is what is read of a row, `more` which rows count, `ends` of observed days alone."""
    domain = {"c": "condition", "d": "drug", "m": "measurement", "o": "observation", "p": "procedure", "v": "visit"}[
        name[0]
    ]
    concepts = listed if isinstance(listed, list) else [listed]
    table, date = TABLES[domain]
    own = ", ".join(map(str, concepts))
    chosen = own if keys.get("descendants") is False else " UNION ".join(map(below, concepts))
    reads, more = keys.pop("reads", None), keys.pop("more", "1 = 1")
    if keys.pop("ends", False):
        more = f"m.{date} - p.d0 <= ({OBSERVED})"
    found = rows(domain, chosen, window, more)
    backwards = "" if summary == "first" else " DESC"
    nearest = f"ORDER BY m.{date}{backwards}, m.{table}_id{backwards} LIMIT 1"
    reference = {
        "any": f"CASE WHEN EXISTS (SELECT 1 {found}) THEN 'yes' ELSE 'no' END",
        "count": f"(SELECT count(*) {found})",
        "mean": f"(SELECT avg({reads}) {found})",
        "first": f"(SELECT min(m.{date}) - p.d0 {found})",
        "last": f"(SELECT max(m.{date}) - p.d0 {found})",
        "time to event": f"coalesce((SELECT min(m.{date}) - p.d0 {found}), {until(window)})",
        "each visit": f"CASE WHEN EXISTS (SELECT 1 {found}) THEN 'yes' ELSE 'no' END",
    }[summary]
    if reads is not None and summary != "mean":
        reference = f"(SELECT {reads} {found} {nearest})"
    place = {} if window is None else {"window": list(window)}
    return Definition(name, domain, reference, {"concepts": concepts, "summary": summary} | place | keys)


def death(name: str, summary: str, window: tuple[int, int], cause: int | None = None, ends: bool = False) -> Definition:
    """A feature of the day of death, of any cause or of one; with `ends`, of observed days alone."""
    causes = "1 = 1" if cause is None else f"m.cause_concept_id IN ({below(cause)})"
    days = f"m.death_date >= p.d0 + ({window[0]}) AND m.death_date <= p.d0 + ({window[1]})"
    found = f"FROM death m WHERE m.person_id = p.id AND {days} AND {causes}"
    found += f" AND m.death_date - p.d0 <= ({OBSERVED})" if ends else ""
    any_of = f"CASE WHEN EXISTS (SELECT 1 {found}) THEN 'yes' ELSE 'no' END"
    day = f"(SELECT m.death_date - p.d0 {found})"
    reference = {"any": any_of, "first": day, "time to event": f"coalesce({day}, {until(window)})"}[summary]
    keys = {} if cause is None else {"concepts": [cause]}
    return Definition(name, "death", reference, {"summary": summary, "window": list(window)} | keys)


NUMBERS = {"reads": NUMBER, "more": GIVEN, **UNITS}
LABELS = {"reads": SIGN, "more": SIGNED, **SIGNS}
COUNTED = {"upper": 50.0}
EVER, BEFORE, AFTER = (-30000, 30000), (-3650, -1), (0, 20000)

DEFINITIONS = [
    person("sex", label("p.g", {8532: "f", 8507: "m"}), values={"f": 8532, "m": [8507]}),
    person("race", label("p.r", {8515: "a", 8516: "b"}), values={"a": 8515, "b": 8516}),
    person("ethnicity", label("p.e", {38003563: "hispanic"}), values={"hispanic": 38003563}),
    person("age", "extract(year FROM p.d0) - p.y"),
    person("year_of_birth", "p.y", lower=1900.0, upper=2000.0),
    event("c1", BLEEDING, "any", (0, 90), ends=True),
    event("c9", BLEEDING, "time to event", (0, 90), ends=True),
    event("c2", SINUSITIS, "any", (-365, -1)),
    event("c3", SINUSITIS, "any", (0, 3000), descendants=False),
    event("c4", [VIRAL, BRONCHITIS], "count", (-3650, 0), **COUNTED),
    event("c5", OTITIS, "first", EVER),
    event("c6", OTITIS, "last", (-20000, -1)),
    event("c8", OTITIS, "time to event", (0, 9000), ends=True),
    event("d1", CELECOXIB, "any", (0, 0)),
    event("d2", ACETAMINOPHEN, "count", BEFORE, **COUNTED),
    event("d3", ACETAMINOPHEN, "first", (1, 3650)),
    event("d4", POLIO, "last", EVER),
    event("m1", TEMPERATURE, "any", (-1000, 0)),
    event("m2", TEMPERATURE, "count", (-3650, 3650), **COUNTED),
    event("m3", TEMPERATURE, "first", (-3650, 0), **NUMBERS),
    event("m4", TEMPERATURE, "last", (-3650, 0), **NUMBERS),
    event("m5", TEMPERATURE, "mean", AFTER, **NUMBERS),
    event("m6", CULTURE, "first", (-20000, 0), **LABELS),
    event("m7", CULTURE, "last", EVER, **LABELS),
    event("m8", RESPIRATION, "mean", EVER, reads=NUMBER, more=f"{GIVEN} AND m.unit_concept_id = {MG_DL}", **ONE_UNIT),
    event("o1", [APPENDECTOMY, MOLD], "any", EVER),
    event("o2", MOLD, "count", (-30000, 0), **COUNTED),
    event("o3", APPENDECTOMY, "first", EVER, **LABELS),
    event("o4", APPENDECTOMY, "last", (-30000, 0), reads=PLAIN, more=GIVEN, **NO_UNIT),
    event("o5", MOLD, "mean", EVER, reads=PLAIN, more=GIVEN, **NO_UNIT),
    event("p1", IMMUNOTHERAPY, "any", BEFORE),
    event("p2", SUTURE, "count", EVER, **COUNTED),
    event("p3", SUTURE, "first", EVER),
    event("p4", SUTURE, "last", (-20000, -1)),
    death("e1", "any", (1, 30000), ends=True),
    death("e4", "time to event", (1, 30000), ends=True),
    death("e2", "any", (-20000, 0), BLEEDING),
    death("e3", "first", (-30000, 9000)),
    event("v1", INPATIENT, "any", BEFORE),
    event("v2", INPATIENT, "count", EVER, **COUNTED),
    event("v3", INPATIENT, "first", AFTER),
    event("v4", INPATIENT, "last", (-20000, -1)),
]
"""Features of a patient, of every domain and summary."""

KINDS = {"inpatient": 9201, "outpatient": 9202}
KIND = Definition("v5", "visit", label("v.kind", {9201: "inpatient"}), {"summary": "each visit", "values": KINDS})

OF_VISITS = [
    event("c7", [SINUSITIS, 80180], "each visit", None),
    event("d5", ACETAMINOPHEN, "each visit", None),
    event("m9", TEMPERATURE, "each visit", None, **NUMBERS),
    event("m10", TEMPERATURE, "each visit", None),
    event("p5", [IMMUNOTHERAPY, SUTURE], "each visit", None),
    event("o6", APPENDECTOMY, "each visit", None, **LABELS),
    KIND,
]
"""Features of visits, of every domain."""
