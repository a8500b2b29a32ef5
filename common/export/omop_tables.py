"""The tables of OMOP CDM 5.4 that an export holds: names, types and which columns may be empty.

Source: OMOP Common Data Model 5.4, OHDSI (https://ohdsi.github.io/CommonDataModel/cdm54.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.omop import domains
from common.omop.domains import EventTable

Kind = Literal["integer", "float", "text", "date", "moment"]

TEXT, NOTE, NAME = 50, 60, 255
"""Most characters of source values, of an observation's text, and of names in cdm_source."""

STANDARD_ALGORITHM = 32880
"""OMOP type concept of every row: it was computed."""

CDM_VERSION = 756265
"""OMOP concept of CDM 5.4."""

UTF8, ENGLISH = 32678, 4180186
"""OMOP concepts of a note's encoding and language."""

BELOW, ABOVE = 4171756, 4172704
"""OMOP concepts of the operators < and >."""


@dataclass(frozen=True, slots=True)
class OmopColumn:
    """A column of a table of the CDM: its name, its type, and whether it must not be NULL."""

    name: str
    kind: Kind
    required: bool


def _columns(text: str) -> tuple[OmopColumn, ...]:
    """Return the columns that a text lists: a letter for the type, `!` after the name of a required one."""
    kinds: dict[str, Kind] = {"i": "integer", "f": "float", "t": "text", "d": "date", "m": "moment"}
    pairs = (word.split(":") for word in text.split())
    return tuple(OmopColumn(name.rstrip("!"), kinds[letter], name.endswith("!")) for letter, name in pairs)


TABLES: dict[str, tuple[OmopColumn, ...]] = {
    "person": _columns(
        "i:person_id! i:gender_concept_id! i:year_of_birth! i:month_of_birth i:day_of_birth m:birth_datetime "
        "i:race_concept_id! i:ethnicity_concept_id! i:location_id i:provider_id i:care_site_id t:person_source_value "
        "t:gender_source_value i:gender_source_concept_id t:race_source_value i:race_source_concept_id "
        "t:ethnicity_source_value i:ethnicity_source_concept_id"
    ),
    "observation_period": _columns(
        "i:observation_period_id! i:person_id! d:observation_period_start_date! d:observation_period_end_date! "
        "i:period_type_concept_id!"
    ),
    "visit_occurrence": _columns(
        "i:visit_occurrence_id! i:person_id! i:visit_concept_id! d:visit_start_date! m:visit_start_datetime "
        "d:visit_end_date! m:visit_end_datetime i:visit_type_concept_id! i:provider_id i:care_site_id "
        "t:visit_source_value i:visit_source_concept_id i:admitted_from_concept_id t:admitted_from_source_value "
        "i:discharged_to_concept_id t:discharged_to_source_value i:preceding_visit_occurrence_id"
    ),
    "condition_occurrence": _columns(
        "i:condition_occurrence_id! i:person_id! i:condition_concept_id! d:condition_start_date! "
        "m:condition_start_datetime d:condition_end_date m:condition_end_datetime i:condition_type_concept_id! "
        "i:condition_status_concept_id t:stop_reason i:provider_id i:visit_occurrence_id i:visit_detail_id "
        "t:condition_source_value i:condition_source_concept_id t:condition_status_source_value"
    ),
    "drug_exposure": _columns(
        "i:drug_exposure_id! i:person_id! i:drug_concept_id! d:drug_exposure_start_date! "
        "m:drug_exposure_start_datetime d:drug_exposure_end_date! m:drug_exposure_end_datetime d:verbatim_end_date "
        "i:drug_type_concept_id! t:stop_reason i:refills f:quantity i:days_supply t:sig i:route_concept_id "
        "t:lot_number i:provider_id i:visit_occurrence_id i:visit_detail_id t:drug_source_value "
        "i:drug_source_concept_id t:route_source_value t:dose_unit_source_value"
    ),
    "measurement": _columns(
        "i:measurement_id! i:person_id! i:measurement_concept_id! d:measurement_date! m:measurement_datetime "
        "t:measurement_time i:measurement_type_concept_id! i:operator_concept_id f:value_as_number "
        "i:value_as_concept_id i:unit_concept_id f:range_low f:range_high i:provider_id i:visit_occurrence_id "
        "i:visit_detail_id t:measurement_source_value i:measurement_source_concept_id t:unit_source_value "
        "i:unit_source_concept_id t:value_source_value i:measurement_event_id i:meas_event_field_concept_id"
    ),
    "observation": _columns(
        "i:observation_id! i:person_id! i:observation_concept_id! d:observation_date! m:observation_datetime "
        "i:observation_type_concept_id! f:value_as_number t:value_as_string i:value_as_concept_id "
        "i:qualifier_concept_id i:unit_concept_id i:provider_id i:visit_occurrence_id i:visit_detail_id "
        "t:observation_source_value i:observation_source_concept_id t:unit_source_value t:qualifier_source_value "
        "t:value_source_value i:observation_event_id i:obs_event_field_concept_id"
    ),
    "note": _columns(
        "i:note_id! i:person_id! d:note_date! m:note_datetime i:note_type_concept_id! i:note_class_concept_id! "
        "t:note_title t:note_text! i:encoding_concept_id! i:language_concept_id! i:provider_id i:visit_occurrence_id "
        "i:visit_detail_id t:note_source_value i:note_event_id i:note_event_field_concept_id"
    ),
    "cdm_source": _columns(
        "t:cdm_source_name! t:cdm_source_abbreviation! t:cdm_holder! t:source_description "
        "t:source_documentation_reference t:cdm_etl_reference d:source_release_date! d:cdm_release_date! "
        "t:cdm_version i:cdm_version_concept_id! t:vocabulary_version!"
    ),
}
"""The columns of each table, in the order of the specification."""

FACTS = ("condition", "drug", "measurement", "observation")
"""Domains that columns go to."""

EVENTS: dict[str, EventTable] = {domain: domains.EVENTS[domain] for domain in FACTS} | {
    "note": EventTable("note", "note_id", "note_class_concept_id", "note_date", "Note")
}
"""The tables with a row for each fact of a visit, by domain; texts that no other table can hold are notes."""
