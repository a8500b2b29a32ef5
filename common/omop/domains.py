"""The tables of the OMOP Common Data Model, versions 5.3 and 5.4, that a study reads: names of tables and columns.

SQL is compiled from these names and from whole numbers only. Both versions have all of these columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EntryDomain = Literal["condition", "drug", "measurement", "observation", "procedure", "visit"]
"""Domains whose events may be the index date."""

EventDomain = Literal[EntryDomain, "death"]
"""Domains whose tables hold dated events of persons."""

PERSON_ID, DAY = "person_id", "day"
"""Columns of an OMOP table: the person, who is the patient; and the days from the index date to a visit."""


@dataclass(frozen=True, slots=True)
class EventTable:
    """A table of the model with dated events.

    Attributes:
        table: name of the table.
        key: column that identifies an event; of two on one day, the higher one is the later. A person dies once.
        concept: column with the concept of an event.
        date: column with the day on which it starts.
        omop_domain: `domain_id` of its concepts.
        has_values: whether the table has values with units.
        has_visits: whether an event belongs to a visit.
    """

    table: str
    key: str
    concept: str
    date: str
    omop_domain: str
    has_values: bool = False
    has_visits: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a study reads."""
        values = ("value_as_number", "value_as_concept_id", "unit_concept_id") if self.has_values else ()
        visits = ("visit_occurrence_id",) if self.has_visits else ()
        return tuple(dict.fromkeys((self.key, PERSON_ID, self.concept, self.date, *visits, *values)))


EVENTS: dict[str, EventTable] = {
    "condition": EventTable(
        "condition_occurrence", "condition_occurrence_id", "condition_concept_id", "condition_start_date", "Condition"
    ),
    "drug": EventTable("drug_exposure", "drug_exposure_id", "drug_concept_id", "drug_exposure_start_date", "Drug"),
    "measurement": EventTable(
        "measurement", "measurement_id", "measurement_concept_id", "measurement_date", "Measurement", has_values=True
    ),
    "observation": EventTable(
        "observation", "observation_id", "observation_concept_id", "observation_date", "Observation", has_values=True
    ),
    "procedure": EventTable(
        "procedure_occurrence", "procedure_occurrence_id", "procedure_concept_id", "procedure_date", "Procedure"
    ),
    "visit": EventTable("visit_occurrence", "visit_occurrence_id", "visit_concept_id", "visit_start_date", "Visit"),
    "death": EventTable("death", PERSON_ID, "cause_concept_id", "death_date", "Condition", has_visits=False),
}
"""The table of every domain of events."""

PERSON_CONCEPTS = {"sex": "gender_concept_id", "race": "race_concept_id", "ethnicity": "ethnicity_concept_id"}
"""Columns of the person table with a concept, by the field of a feature."""

OTHER_TABLES: dict[str, tuple[str, ...]] = {
    "cdm_source": ("cdm_version", "vocabulary_version"),
    "person": (PERSON_ID, "year_of_birth", *PERSON_CONCEPTS.values()),
    "observation_period": (PERSON_ID, "observation_period_start_date", "observation_period_end_date"),
    "concept": ("concept_id", "concept_name", "domain_id", "standard_concept"),
    "concept_ancestor": ("ancestor_concept_id", "descendant_concept_id"),
}
"""Tables that every study reads, with the columns that are read."""

VOCABULARY = ("concept", "concept_ancestor")
"""Tables of the vocabulary, which are often in a schema of their own."""
