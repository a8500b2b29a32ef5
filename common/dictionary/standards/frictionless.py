"""Frictionless Table Schema, as JSON: alone, or as the schema of the only resource of a data package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.columns.cells import MISSING_WORDS
from common.dictionary.entry import DictionaryEntry
from common.dictionary.standards.standard import Field, FieldReading, Fields, Standard
from common.dictionary.standards.values import dated, described, label_of, labels_of, numeric
from common.errors import StudyError

DATE_FORMATS = {"date": "%Y-%m-%d", "datetime": "%Y-%m-%dT%H:%M:%SZ"}
"""What the format `default` means."""

NOT_CARRIED = ("unique", "pattern", "minLength", "maxLength", "jsonSchema")
"""Constraints that no column has."""


def _schema(document: Any) -> Any:
    if isinstance(document, Mapping) and isinstance(document.get("resources"), list):
        resources = document["resources"]
        if len(resources) != 1:
            raise StudyError("the data package has several resources; give the schema of one")
        document = resources[0]
    if isinstance(document, Mapping) and isinstance(document.get("schema"), Mapping):
        return document["schema"]
    return document


def _recognizes(document: Any) -> bool:
    if not isinstance(document, Mapping):
        return False
    return isinstance(document.get("fields"), list) or "resources" in document or "schema" in document


def _unwrap(document: Any) -> Fields:
    schema = _schema(document)
    listed = schema.get("fields") if isinstance(schema, Mapping) else None
    if not isinstance(listed, list):
        raise StudyError("the table schema has no list of fields; add `fields`")
    beside = [f"'{key}' is not carried over" for key in ("primaryKey", "uniqueKeys", "foreignKeys") if schema.get(key)]
    marks = [str(mark) for mark in schema.get("missingValues", ()) if str(mark).strip() not in MISSING_WORDS]
    fields = [
        (str(field.get("name", "")), {"missingValues": marks, **field})
        for field in listed
        if isinstance(field, Mapping)
    ]
    if len(fields) < len(listed):
        beside.append("a field that is not an object is left out")
    return Fields(fields, beside)


def _read(name: str, field: Field) -> FieldReading:
    constraints = field.get("constraints") or {}
    settings, notes = _typed(name, field, constraints)
    if settings is None:
        return FieldReading(notes=notes)
    if settings["kind"] not in ("identifier", "text") and not constraints.get("required"):
        settings["missing"] = True
    notes += [f"has '{key}', which is not carried over" for key in NOT_CARRIED if key in constraints]
    marks = [str(mark) for mark in field.get("missingValues") or () if str(mark).strip() not in MISSING_WORDS]
    if marks and settings["kind"] == "numeric":
        settings["missing_codes"] = marks
    elif marks:
        notes.append(
            f"has missing values {', '.join(marks)}, which are not carried over: name them in the mapping file"
        )
    return FieldReading([described(settings, field.get("description"), field.get("title"))], notes)


def _typed(name: str, field: Field, constraints: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the settings that type, format and constraints give, and notes."""
    type_, form = field.get("type", "string"), field.get("format", "default")
    options = field.get("categories") or constraints.get("enum")
    bounds = constraints.get("minimum"), constraints.get("maximum")
    if options and type_ in ("string", "integer", "number", "any"):
        return _categorical(name, options), []
    match type_:
        case "integer" | "year":
            return numeric(name, *bounds, 0)
        case "number":
            settings, notes = numeric(name, *bounds, None)
            return settings | ({"decimal": ","} if field.get("decimalChar") == "," else {}), notes
        case "boolean":
            words = [
                str((field.get(key) or [word])[0]) for key, word in (("trueValues", "true"), ("falseValues", "false"))
            ]
            return {"name": name, "kind": "boolean", "true": words[0], "false": words[1]}, []
        case "date" | "datetime":
            settings = dated(name, DATE_FORMATS[type_] if form in ("default", "any") else str(form))
            edges = {key: str(edge) for key, edge in zip(("lower", "upper"), bounds, strict=True) if edge is not None}
            return settings | edges, [] if form != "any" else ["may have any format: correct date_format"]
        case "string":
            return {"name": name, "kind": "text"}, [
                "has no list of labels: it is text, and never read; correct it if it holds labels"
            ]
        case _:
            return None, [f"is left out: no column holds the type '{type_}'"]


def _categorical(name: str, options: Sequence[Any]) -> dict[str, Any]:
    """Return labels, and their meanings where an option is a value with a label."""
    pairs = [
        (option.get("value"), option.get("label")) if isinstance(option, Mapping) else (option, None)
        for option in options
    ]
    meanings = {label_of(value): str(label) for value, label in pairs if label}
    settings = {"name": name, "kind": "categorical", "categories": labels_of(value for value, _ in pairs)}
    return settings | ({"meanings": meanings} if meanings else {})


def _write(entry: DictionaryEntry) -> dict[str, Any]:
    constraints: dict[str, Any] = {}
    field: dict[str, Any] = {"name": entry.name}
    match entry.kind:
        case "numeric":
            field["type"] = "number" if entry.value("decimals") else "integer"
            constraints = {"minimum": entry.value("lower"), "maximum": entry.value("upper")}
            if entry.value("decimal"):
                field["decimalChar"] = entry.value("decimal")
            if entry.value("missing_codes"):
                field["missingValues"] = ["", *entry.value("missing_codes")]
        case "boolean":
            field |= {"type": "boolean", "trueValues": [entry.value("true")], "falseValues": [entry.value("false")]}
        case "date" | "datetime" as kind:
            field |= {"type": kind, "format": entry.value("date_format")}
            constraints = {"minimum": entry.value("lower"), "maximum": entry.value("upper")}
        case "categorical":
            field["type"] = "string"
            constraints = {"enum": list(entry.value("categories"))}
        case _:
            field["type"] = "string"
    if not entry.value("missing"):
        constraints["required"] = True
    constraints = {key: value for key, value in constraints.items() if value is not None}
    if entry.value("description"):
        field["description"] = entry.value("description")
    return field | ({"constraints": constraints} if constraints else {})


def _wrap(fields: Sequence[tuple[str, Field]]) -> Mapping[str, Any]:
    return {"fields": [dict(field) for _, field in fields], "missingValues": [""]}


FRICTIONLESS = Standard(
    "Frictionless Table Schema", _recognizes, _unwrap, _read, wrap=_wrap, write=_write, extension="fedsynth"
)
