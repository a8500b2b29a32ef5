"""JSON Schema of one record: an object whose properties are the columns, or a list of such objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.dictionary.entry import DictionaryEntry
from common.dictionary.standards.standard import Field, FieldReading, Fields, Standard
from common.dictionary.standards.values import (
    dated,
    decimals_of,
    described,
    label_of,
    labels_of,
    numeric,
    pattern_of,
    regex_of,
)
from common.errors import StudyError

FORMATS = {"date": "%Y-%m-%d", "date-time": "%Y-%m-%dT%H:%M:%SZ"}
"""Formats of JSON Schema as those of dates."""

PERSONAL = ("email", "idn-email", "uri", "hostname", "ipv4", "ipv6", "uuid")
"""Formats of texts that name a person or a machine."""

NOT_CARRIED = ("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "default", "examples", "if", "allOf")
"""Keys that no column has."""


def _recognizes(document: Any) -> bool:
    return isinstance(document, Mapping) and (
        "properties" in document or (document.get("type") == "array" and isinstance(document.get("items"), Mapping))
    )


def _unwrap(document: Any) -> Fields:
    definitions = {**(document.get("definitions") or {}), **(document.get("$defs") or {})}
    record = _resolved(document.get("items", document) if "properties" not in document else document, definitions)
    properties = record.get("properties")
    if not isinstance(properties, Mapping):
        raise StudyError("the JSON Schema has no properties; give the schema of one record")
    required = record.get("required") or ()
    fields = [
        (name, {**_resolved(field, definitions), "is_required": name in required})
        for name, field in properties.items()
        if isinstance(field, Mapping)
    ]
    notes = [
        f"'{key}' is not carried over"
        for key in ("allOf", "anyOf", "oneOf", "if", "dependentRequired")
        if key in record
    ]
    return Fields(fields, notes)


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a property with its reference and its choice between a type and null resolved."""
    name = str(field.get("$ref", "")).rpartition("/")[2]
    resolved = {**definitions.get(name, {}), **{key: value for key, value in field.items() if key != "$ref"}}
    for key in ("anyOf", "oneOf"):
        choices = [choice for choice in resolved.get(key) or () if isinstance(choice, Mapping)]
        typed = [choice for choice in choices if choice.get("type") != "null"]
        if len(typed) == 1:
            merged = {**_resolved(typed[0], definitions), **{k: v for k, v in resolved.items() if k != key}}
            return merged | {"is_nullable": len(choices) > 1}
        if typed and all("const" in choice for choice in typed):
            resolved |= {"choices": typed, "is_nullable": len(typed) < len(choices)}
    return resolved


def _types(field: Field) -> list[str]:
    types = field.get("type", [])
    return [types] if isinstance(types, str) else [str(type_) for type_ in types]


def _read(name: str, field: Field) -> FieldReading:
    types = _types(field)
    options = [option for option in field.get("enum") or () if option is not None]
    is_nullable = field.get("is_nullable") or "null" in types or None in (field.get("enum") or ())
    settings, notes = _typed(name, field, [type_ for type_ in types if type_ != "null"], options)
    if settings is None:
        return FieldReading(notes=notes)
    if settings["kind"] not in ("identifier", "text") and (is_nullable or not field.get("is_required")):
        settings["missing"] = True
    notes += [f"has '{key}', which is not carried over" for key in NOT_CARRIED if key in field]
    return FieldReading([described(settings, field.get("description"), field.get("title"))], notes)


def _typed(
    name: str, field: Field, types: Sequence[str], options: Sequence[Any]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the settings that types, format and options give, and notes.

    Args:
        name: the column.
        field: the property.
        types: its types without null.
        options: its listed values without null.
    """
    if choices := field.get("choices"):
        meanings = {label_of(choice["const"]): str(choice["title"]) for choice in choices if choice.get("title")}
        labels = labels_of(choice["const"] for choice in choices)
        return {"name": name, "kind": "categorical", "categories": labels} | (
            {"meanings": meanings} if meanings else {}
        ), []
    if options:
        return {"name": name, "kind": "categorical", "categories": labels_of(options)}, []
    bounds = field.get("minimum"), field.get("maximum")
    step = field.get("multipleOf")
    match list(types):
        case ["integer"]:
            return numeric(name, *bounds, 0)
        case ["number"] | ["integer", "number"] | ["number", "integer"]:
            return numeric(name, *bounds, None if not isinstance(step, int | float) else decimals_of(step))
        case ["boolean"]:
            return {"name": name, "kind": "boolean", "true": "true", "false": "false"}, []
        case ["string"]:
            return _text(name, str(field.get("format", "")), str(field.get("pattern", "")))
        case _:
            return None, [f"is left out: no column holds the type '{' or '.join(types) or 'any'}'"]


def _text(name: str, form: str, pattern: str) -> tuple[dict[str, Any] | None, list[str]]:
    if form in FORMATS:
        return dated(name, FORMATS[form]), []
    if form in PERSONAL:
        return None, [f"is left out: '{form}' names a person or a machine"]
    if (marks := pattern_of(pattern)) is not None and set(marks) & set("#?"):
        return {"name": name, "kind": "identifier", "pattern": marks}, []
    notes = ["has no list of labels: it is text, and never read; correct it if it holds labels"]
    return {"name": name, "kind": "text"}, notes + (["has a pattern, which is not carried over"] if pattern else [])


def _write(entry: DictionaryEntry) -> dict[str, Any]:
    field: dict[str, Any]
    match entry.kind:
        case "numeric":
            bounds = {"minimum": entry.value("lower"), "maximum": entry.value("upper")}
            decimals = entry.value("decimals")
            step = {"multipleOf": float(f"1e-{decimals}")} if decimals else {}
            field = {"type": "number" if decimals else "integer", **bounds, **step}
        case "boolean":
            field = {"type": "boolean"}
        case "date" | "datetime" if entry.value("date_format") in FORMATS.values():
            field = {"type": "string", "format": "date" if entry.kind == "date" else "date-time"}
        case "categorical":
            field = {"type": "string", "enum": list(entry.value("categories"))}
        case "identifier":
            field = {"type": "string", "pattern": f"^{regex_of(entry.value('pattern'))}$"}
        case _:
            field = {"type": "string"}
    if entry.value("missing"):
        field["type"] = [field["type"], "null"]
        if "enum" in field:
            field["enum"].append(None)
    if entry.value("description"):
        field["description"] = entry.value("description")
    return field | {"is_required": not entry.value("missing")}


def _wrap(fields: Sequence[tuple[str, Field]]) -> Mapping[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            name: {key: value for key, value in field.items() if key != "is_required"} for name, field in fields
        },
        "required": [name for name, field in fields if field.get("is_required")],
    }


JSON_SCHEMA = Standard("JSON Schema", _recognizes, _unwrap, _read, wrap=_wrap, write=_write, extension="x-fedsynth")
