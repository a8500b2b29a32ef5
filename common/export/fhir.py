"""Rows of a synthetic table as FHIR R4 resources, one line of JSON each, all labeled as test data.

Source: HL7 FHIR R4 (4.0.1); the security label HTEST is of the code system v3-ActReason. Text is put together once for
each distinct cell; only identifiers and dates differ between rows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cached_property
from typing import Any
from urllib.parse import quote

from common.columns.base import TableColumn
from common.columns.boolean import Boolean
from common.columns.code import Code
from common.columns.item_set import ItemSet
from common.columns.numeric import Numeric
from common.export.entries import ExportEntry, MappedColumn, mapped_columns, person_labels
from common.export.mapping import VISIT_KINDS, Concept, ExportMapping
from common.export.moments import moments_of
from common.export.provenance import Provenance
from common.export.rows import Rows
from common.study.study import Study
from common.tables.conforming import distinct_cells

RESOURCES = ("Patient", "Encounter", "Observation", "Condition", "MedicationStatement")
"""Types of resources; each has a file of its own, `<type>.ndjson`."""

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
TEST_DATA = {"system": f"{TERMINOLOGY}/v3-ActReason", "code": "HTEST", "display": "test health data"}
"""The label that every resource has in `meta.security`."""

UCUM = "http://unitsofmeasure.org"

GENDERS = {8507: "male", 8532: "female", 0: "unknown"}
"""FHIR's administrative gender of an OMOP concept; any other one is `other`."""

CODE = re.compile(r"\S+( \S+)*")
"""A text that FHIR's type `code` can hold."""

DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
"""A number as JSON writes it, which keeps its decimals."""

Lines = dict[str, list[str]]
"""Lines of JSON by type of resource."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of a resource but for its identifiers and dates.

    Attributes:
        kind: type of the resource.
        before: what stands between its id and that of the patient.
        link: name of the element that names the visit.
        moment: name of the element that says when.
        after: what stands behind the date.
    """

    kind: str
    before: str
    link: str
    moment: str
    after: str


def column_system(study: Study) -> str:
    """Return the code system whose codes are the study's columns."""
    return f"urn:fedsynth:{study.name}:column"


def patient_system(study: Study) -> str:
    """Return the system of identifiers whose values name the table's patients."""
    return f"urn:fedsynth:{study.name}:patient"


def local_code(name: str) -> str:
    """Return the code of a column: its name, in percent encoding where FHIR's codes cannot hold it."""
    return name if CODE.fullmatch(name) else quote(name, safe="")


def text_of_moment(moment: date) -> str:
    """Return a moment as FHIR writes it; one with a time of day gets the zone UTC, since FHIR asks for a zone."""
    return f"{moment.isoformat()}Z" if isinstance(moment, datetime) else moment.isoformat()


@dataclass(frozen=True)
class FhirWriter:
    """Turns chunks of rows into lines of JSON.

    Attributes:
        provenance: the study, and what the table cost.
        mapping: where the columns go.
    """

    provenance: Provenance
    mapping: ExportMapping
    _pieces: dict[tuple[str, str], tuple[Piece, ...]] = field(default_factory=dict)

    def lines(self, rows: Rows) -> Lines:
        """Return the resources of a chunk. Raises `DataError` for a table that the study does not declare."""
        moments = moments_of(rows, self.provenance.study.declared, self.mapping)
        starts, ends = map(text_of_moment, moments.starts), map(text_of_moment, moments.ends)
        lines: Lines = {kind: [] for kind in RESOURCES}
        _, genders = person_labels(rows, self.mapping, "gender")
        for index, gender in zip(rows.firsts.tolist(), genders, strict=True):
            year, day = moments.birth_years[index], moments.birth_dates[index]
            born = day.isoformat() if day is not None else None if year is None else f"{year:04d}"
            lines["Patient"].append(self._patient(rows, index, gender, born))
        pieces = [self._pieces_of(mapped, rows) for mapped in self._columns]
        middle = (
            f'","meta":{_meta()},"status":"finished","class":{self._visit_class()},"subject":{{"reference":"Patient/p'
        )
        for index, (person, visit, start, end) in enumerate(
            zip(rows.persons.tolist(), rows.visits.tolist(), starts, ends, strict=True)
        ):
            name = f"p{person}-v{visit}"
            lines["Encounter"].append(
                f'{{"resourceType":"Encounter","id":"{name}{middle}{person}"}},'
                f'"period":{{"start":"{start}","end":"{end}"}}}}\n'
            )
            number = 0
            for texts, indices in pieces:
                for piece in texts[indices[index]]:
                    number += 1
                    lines[piece.kind].append(
                        f'{{"resourceType":"{piece.kind}","id":"{name}-{number}{piece.before}{person}"}},'
                        f'"{piece.link}":{{"reference":"Encounter/{name}"}},"{piece.moment}":"{start}"{piece.after}}}\n'
                    )
        return lines

    @cached_property
    def _columns(self) -> tuple[MappedColumn, ...]:
        return mapped_columns(self.provenance.study.declared, self.mapping)

    def _patient(self, rows: Rows, index: int, gender: int, born: str | None) -> str:
        resource: dict[str, Any] = {
            "resourceType": "Patient",
            "id": f"p{rows.persons[index]}",
            "meta": {"source": f"urn:fedsynth:{self.provenance.study.fingerprint}", "security": [TEST_DATA]},
            "identifier": [{"system": patient_system(self.provenance.study), "value": rows.names[index]}],
            "gender": GENDERS.get(gender, "other"),
        }
        return _json(resource | ({} if born is None else {"birthDate": born})) + "\n"

    def _visit_class(self) -> str:
        _, code, display = VISIT_KINDS[self.mapping.visit]
        return _json({"system": f"{TERMINOLOGY}/v3-ActCode", "code": code, "display": display})

    def _pieces_of(self, mapped: MappedColumn, rows: Rows) -> tuple[list[tuple[Piece, ...]], list[int]]:
        """Return the pieces of a column's distinct cells, and for each row the index of its cell among them."""
        distinct, indices = distinct_cells(rows.cells[mapped.name])
        pieces = []
        for cell in distinct:
            known = self._pieces.get((mapped.name, cell))
            if known is None:
                known = tuple(self._piece(mapped, entry) for entry in mapped.entries(cell))
                if _has_few_cells(mapped):
                    self._pieces[mapped.name, cell] = known
            pieces.append(known)
        return pieces, indices.tolist()

    def _piece(self, mapped: MappedColumn, entry: ExportEntry) -> Piece:
        """Return the resource of an entry. What is no label of a condition or drug is an observation."""
        if mapped.domain == "condition" and entry.is_label:
            return self._condition(mapped, entry)
        if mapped.domain == "drug" and entry.is_label:
            return self._medication(mapped, entry)
        before = f'","meta":{_meta()},"status":"final","code":{_json(self._column_code(mapped))},' + _SUBJECT
        return Piece("Observation", before, "encounter", "effectiveDateTime", "," + _value(mapped, entry))

    def _condition(self, mapped: MappedColumn, entry: ExportEntry) -> Piece:
        verified = "refuted" if entry.is_absent else "confirmed"
        before = {"verificationStatus": _coded(f"{TERMINOLOGY}/condition-ver-status", verified)}
        if not entry.is_absent:
            before["clinicalStatus"] = _coded(f"{TERMINOLOGY}/condition-clinical", "active")
        before["code"] = _labeled(mapped, entry)
        text = f'","meta":{_meta(self._tag(mapped))},{_json(before)[1:-1]},{_SUBJECT}'
        return Piece("Condition", text, "encounter", "recordedDate", "")

    def _medication(self, mapped: MappedColumn, entry: ExportEntry) -> Piece:
        before = {
            "status": "not-taken" if entry.is_absent else "active",
            "medicationCodeableConcept": _labeled(mapped, entry),
        }
        text = f'","meta":{_meta(self._tag(mapped))},{_json(before)[1:-1]},{_SUBJECT}'
        return Piece("MedicationStatement", text, "context", "effectiveDateTime", "")

    def _column_code(self, mapped: MappedColumn) -> dict[str, Any]:
        """Return what an observation is about: the declared code where there is one, and the column's name."""
        mapping = mapped.mapping
        declared = [_coding(mapping)] if mapping.code is not None and not mapped.is_presence else []
        return {"coding": [*declared, self._tag(mapped)], "text": mapped.name}

    def _tag(self, mapped: MappedColumn) -> dict[str, str]:
        return {"system": column_system(self.provenance.study), "code": local_code(mapped.name)}


_SUBJECT = '"subject":{"reference":"Patient/p'


def _has_few_cells(mapped: MappedColumn) -> bool:
    """Return whether a column has few distinct cells, so that their text is worth keeping between chunks."""
    return bool(mapped.column.modeled) and all(column.labels for column in mapped.column.modeled)


def _value(mapped: MappedColumn, entry: ExportEntry) -> str:
    """Return the JSON of an observation's value, from which the cell can be read back word for word."""
    column, text = mapped.column, entry.text
    if isinstance(column, Numeric):
        return _quantity(mapped, column, entry)
    if isinstance(column, Boolean) and entry.is_label and not mapped.mapping.values:
        return f'"valueBoolean":{_json(text == column.true)}'
    if entry.is_label:
        return f'"valueCodeableConcept":{_json(_labeled(mapped, entry))}'
    if entry.moment is not None and (not mapped.is_of_days or entry.moment.time() == time()):
        return f'"valueDateTime":"{text_of_moment(entry.moment.date() if mapped.is_of_days else entry.moment)}"'
    return f'"valueString":{_json(text)}'


def _quantity(mapped: MappedColumn, column: Numeric, entry: ExportEntry) -> str:
    if entry.is_reason:
        reason = _coded(f"{TERMINOLOGY}/data-absent-reason", "unknown")
        return f'"dataAbsentReason":{_json(reason | {"text": entry.text})}'
    number = entry.text if column.decimal is None else entry.text.replace(".", "?").replace(column.decimal, ".")
    unit = mapped.mapping.unit
    measured = _filled({"unit": column.unit or unit, "system": UCUM if unit else None, "code": unit})
    after = "," + _json(measured)[1:-1] if measured else ""
    if entry.operator:
        return f'"valueQuantity":{{"value":{_json(entry.number)},"comparator":"{entry.operator}"{after}}}'
    if DECIMAL.fullmatch(number):
        return f'"valueQuantity":{{"value":{number}{after}}}'
    return f'"valueString":{_json(entry.text)}'


def _labeled(mapped: MappedColumn, entry: ExportEntry) -> dict[str, Any]:
    """Return a label, code or item with its declared code; that of the column where it stands for a condition."""
    concept: Concept = entry.concept
    if concept.code is None and mapped.is_presence:
        concept = mapped.mapping
    text = f"{label_prefix(mapped.column)}{entry.text}" if mapped.is_presence else entry.text
    return ({"coding": [_coding(concept)]} if concept.code is not None else {}) | {"text": text}


def label_prefix(column: TableColumn) -> str:
    """Return what stands before a label in the text of a condition or drug: the column, unless labels are codes."""
    return "" if isinstance(column, Code | ItemSet) else f"{column.name}: "


def _coding(concept: Concept) -> dict[str, Any]:
    assert concept.code is not None, "asked by the caller"
    return _filled({"system": concept.url, "code": concept.code, "display": concept.display})


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _meta(tag: dict[str, str] | None = None) -> str:
    return _json({"security": [TEST_DATA]} | ({} if tag is None else {"tag": [tag]}))


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
