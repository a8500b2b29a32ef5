"""FHIR resources of an export as what they say about each visit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from common.columns.base import TableColumn
from common.columns.boolean import Boolean
from common.columns.date import Dated
from common.columns.numeric import Numeric
from common.export.fhir import column_system, label_prefix, local_code
from common.export.visit_texts import Grouped, VisitTexts
from common.study.study import Study

Resource = dict[str, Any]

LINKS = {"Observation": "encounter", "Condition": "encounter", "MedicationStatement": "context"}
"""The element that names the visit, by type of resource."""


def fhir_visits(folder: Path, study: Study) -> Iterator[VisitTexts]:
    """Yield what the resources say about each visit, in the order of the visits.

    Args:
        folder: of the export.
        study: with which it was written.

    Raises:
        DataError: resources are in another order, or belong to no visit.
        KeyError: a resource names no column of the study, or lacks an element.
    """
    system = column_system(study)
    columns = {local_code(column.name): column for column in study.declared.columns}
    cursors = {kind: Grouped(_resources(folder, kind), _visit_of, kind) for kind in LINKS}
    patients = Grouped(_resources(folder, "Patient"), lambda resource: f"Patient/{resource['id']}", "Patient")
    subject, patient = "", ""
    for encounter in _resources(folder, "Encounter"):
        if encounter["subject"]["reference"] != subject:
            subject = encounter["subject"]["reference"]
            (patient,) = (resource["identifier"][0]["value"] for resource in patients.take(subject))
        visit = VisitTexts(patient)
        for cursor in cursors.values():
            for resource in cursor.take(f"Encounter/{encounter['id']}"):
                column = columns[_column_code(resource, system)]
                visit.add(column.name, _text(resource, column))
        yield visit
    for cursor in (*cursors.values(), patients):
        cursor.finish()


def _visit_of(resource: Resource) -> str:
    return str(resource[LINKS[resource["resourceType"]]]["reference"])


def _resources(folder: Path, kind: str) -> Iterator[Resource]:
    """Yield the resources of a file; numbers stay as they are written."""
    with (folder / f"{kind}.ndjson").open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line, parse_float=str, parse_int=str)


def _column_code(resource: Resource, system: str) -> str:
    codings = resource["code"]["coding"] if resource["resourceType"] == "Observation" else resource["meta"]["tag"]
    (code,) = (str(coding["code"]) for coding in codings if coding["system"] == system)
    return code


def _text(resource: Resource, column: TableColumn) -> str:
    """Return the cell, or the item of a list, that a resource says."""
    match resource:
        case {"resourceType": "Condition", "code": {"text": text}} | {"medicationCodeableConcept": {"text": text}}:
            return str(text).removeprefix(label_prefix(column))
        case {"valueString": text}:
            return str(text)
        case {"valueCodeableConcept": {"text": text}} | {"dataAbsentReason": {"text": text}}:
            return str(text)
        case {"valueBoolean": value} if isinstance(column, Boolean):
            return column.true if value else column.false
        case {"valueQuantity": quantity} if isinstance(column, Numeric):
            return _number(quantity, column)
        case {"valueDateTime": text} if isinstance(column, Dated):
            moment = datetime.fromisoformat(text.removesuffix("Z")) if "T" in text else date.fromisoformat(text)
            return moment.strftime(column.date_format)
    raise KeyError("value")


def _number(quantity: Resource, column: Numeric) -> str:
    match quantity.get("comparator"):
        case "<" if column.below is not None:
            return column.below
        case ">" if column.above is not None:
            return column.above
    text = str(quantity["value"])
    return text if column.decimal is None else text.replace(".", column.decimal)
