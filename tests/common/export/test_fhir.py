"""Every resource of an export is valid FHIR, labeled as test data, and points to resources that are there.

`fhir.resources` has models of R4B, which changed none of the five types; those of R4 need another pydantic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.export.exporting import ExportTarget, export
from common.export.fhir import RESOURCES, local_code
from common.export.mapping import ExportMapping
from common.export.provenance import Provenance
from tests.testbeds.exports import (
    LONG_NAME,
    flat_mapping,
    flat_study,
    visits_provenance,
    write_flat_table,
    write_visits,
)

Resource = dict[str, Any]

STATUS = {"Encounter": {"finished"}, "Observation": {"final"}, "MedicationStatement": {"active", "not-taken"}}
"""Codes of the required value sets that an export may write."""


def resources_of(folder: Path) -> list[Resource]:
    return [
        json.loads(line) for kind in RESOURCES for line in (folder / f"{kind}.ndjson").read_text().splitlines() if line
    ]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    folder = tmp_path_factory.mktemp("flat")
    table = write_flat_table(folder, 60)
    export(table, Provenance(flat_study(), 3.0), flat_mapping(), ExportTarget.of("fhir"), folder / "out")
    return resources_of(folder / "out")


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    folder = tmp_path_factory.mktemp("visits")
    export(write_visits(folder), visits_provenance(), ExportMapping(), ExportTarget.of("fhir"), folder / "out")
    return resources_of(folder / "out")


@pytest.fixture(params=["flat", "visits"])
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return list(request.getfixturevalue(request.param))


def test_every_resource_is_valid(resources: list[Resource]) -> None:
    models = pytest.importorskip("fhir.resources.R4B", reason="needs fhir.resources")
    for resource in resources:
        models.get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_every_resource_is_labeled_as_test_data(resources: list[Resource]) -> None:
    for resource in resources:
        assert [label["code"] for label in resource["meta"]["security"]] == ["HTEST"]


def test_identifiers_are_unique_and_references_resolve(resources: list[Resource]) -> None:
    names = [f"{resource['resourceType']}/{resource['id']}" for resource in resources]
    assert len(set(names)) == len(names)
    references = {
        resource[key]["reference"]
        for resource in resources
        for key in ("subject", "encounter", "context")
        if key in resource
    }
    assert references <= set(names)


def test_required_codes_are_those_of_the_standard(resources: list[Resource]) -> None:
    for resource in resources:
        kind = resource["resourceType"]
        assert resource.get("status") in STATUS.get(kind, {None})
        assert kind != "Patient" or resource["gender"] in {"male", "female", "other", "unknown"}


def of_column(resources: list[Resource], name: str) -> list[Resource]:
    code = local_code(name)
    return [
        resource
        for resource in resources
        if any(coding["code"] == code for coding in resource.get("code", {}).get("coding", []))
        or any(tag["code"] == code for tag in resource["meta"].get("tag", []))
    ]


class TestFlat:
    def test_a_measurement_has_loinc_and_ucum(self, flat: list[Resource]) -> None:
        measured = of_column(flat, "crp")
        assert all(resource["code"]["coding"][0]["code"] == "1988-5" for resource in measured)
        below = [r["valueQuantity"] for r in measured if r.get("valueQuantity", {}).get("comparator") == "<"]
        assert below[0] == {
            "value": 0.1,
            "comparator": "<",
            "unit": "mg/L",
            "system": "http://unitsofmeasure.org",
            "code": "mg/L",
        }
        assert any(resource.get("dataAbsentReason", {}).get("text") == "ND" for resource in measured)

    def test_a_condition_is_confirmed_or_refuted(self, flat: list[Resource]) -> None:
        states = {
            (
                resource["code"]["text"],
                resource["verificationStatus"]["coding"][0]["code"],
                "clinicalStatus" in resource,
            )
            for resource in of_column(flat, "smoker")
        }
        assert states == {("smoker: 1", "confirmed", True), ("smoker: 0", "refuted", False)}

    def test_a_code_is_one_of_its_system(self, flat: list[Resource]) -> None:
        coded = {
            (coding["system"], coding["code"]): resource["code"]["text"]
            for resource in of_column(flat, "icd")
            for coding in resource["code"].get("coding", [])
        }
        assert coded["http://hl7.org/fhir/sid/icd-10", "I25.0"] == "I25.0"
        assert ("http://hl7.org/fhir/sid/icd-10", "other") not in coded

    def test_each_item_is_a_statement(self, flat: list[Resource]) -> None:
        taken = of_column(flat, "drugs")
        kinds = {resource["resourceType"] for resource in taken}
        assert kinds == {"MedicationStatement", "Observation"}  # an observation says that the list is empty
        aspirin = [r for r in taken if r.get("medicationCodeableConcept", {}).get("text") == "aspirin"]
        assert aspirin[0]["medicationCodeableConcept"]["coding"][0]["code"] == "1191"

    def test_a_local_code_holds_any_name(self, flat: list[Resource]) -> None:
        assert of_column(flat, LONG_NAME)
        assert local_code("two  blanks") == "two%20%20blanks"

    def test_a_number_keeps_its_decimals(self, flat: list[Resource], tmp_path: Path) -> None:
        table = write_flat_table(tmp_path, 20)
        export(table, Provenance(flat_study(), 3.0), flat_mapping(), ExportTarget.of("fhir"), tmp_path / "out")
        text = (tmp_path / "out" / "Observation.ndjson").read_text()
        cells = [line.split(",")[2] for line in table.read_text().splitlines()[1:]]
        numbers = [cell for cell in cells if cell.endswith(".0")]
        assert numbers
        assert all(f'"value":{cell},' in text for cell in numbers)


class TestVisits:
    def test_an_encounter_has_its_period(self, visits: list[Resource]) -> None:
        (encounter,) = (resource for resource in visits if resource["id"] == "p3-v2" and "period" in resource)
        assert encounter["period"] == {"start": "2024-02-29", "end": "2024-02-29"}

    def test_a_patient_names_the_study(self, visits: list[Resource]) -> None:
        patient = visits[0]
        assert patient["meta"]["source"] == f"urn:fedsynth:{visits_provenance().study.fingerprint}"
        assert patient["identifier"] == [{"system": "urn:fedsynth:clinic:patient", "value": "1"}]
