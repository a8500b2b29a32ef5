"""The data dictionary of a REDCap project, as the CSV file that REDCap exports: one row per field.

Its columns are those of REDCap's raw export: codes and not their labels, dates as YYYY-MM-DD whatever the form shows,
and one column of 0 and 1 per answer of a checkbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common.dictionary.standards.standard import Field, FieldReading, Fields, Standard
from common.dictionary.standards.values import clean, described, numeric
from common.errors import StudyError

HEADINGS = {
    "variable / field name": "field_name",
    "form name": "form_name",
    "section header": "section_header",
    "field type": "field_type",
    "field label": "field_label",
    "choices calculations or slider labels": "select_choices_or_calculations",
    "field note": "field_note",
    "text validation type or show slider number": "text_validation_type_or_show_slider_number",
    "text validation min": "text_validation_min",
    "text validation max": "text_validation_max",
    "identifier?": "identifier",
    "branching logic (show field only if...)": "branching_logic",
    "required field?": "required_field",
    "field annotation": "field_annotation",
}
"""Headings of the exported file as the names that REDCap's API gives the same columns."""

NUMBERS = {"integer": 0, "number": None, "number_1dp": 1, "number_2dp": 2, "number_3dp": 3, "number_4dp": 4}
"""Validations of numbers and their decimals; None where there may be any number of them."""

DATES = {
    "date": ("date", "%Y-%m-%d"),
    "datetime": ("datetime", "%Y-%m-%d %H:%M"),
    "datetime_seconds": ("datetime", "%Y-%m-%d %H:%M:%S"),
}
"""Validations of dates, without the order of their parts, as kinds and the formats of a raw export."""

UNIT = re.compile(r"[A-Za-zµμ°%‰][\w/%µμ°^.·*²³()-]{0,15}|%")
"""A field note that reads like a unit."""

NO_COLUMN = ("descriptive", "file", "signature", "sql")
"""Types of fields that hold no value of a table."""

SLIDER = (0, 100)
"""Bounds of a slider without bounds of its own."""


def recognizes_header(header: list[str]) -> bool:
    """Return whether the first row of a CSV file is that of a REDCap data dictionary."""
    headings = {_heading(cell) for cell in header}
    return {"field_name", "field_type"} <= headings and bool({"field_label", "form_name"} & headings)


def _heading(cell: str) -> str:
    plain = cell.strip().lstrip("\N{ZERO WIDTH NO-BREAK SPACE}").lower().replace(",", "")
    return HEADINGS.get(plain, plain)


def _recognizes(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and recognizes_header(document[0])


def _unwrap(document: Any) -> Fields:
    headings = [_heading(cell) for cell in document[0]]
    rows = [dict(zip(headings, row, strict=False)) for row in document[1:] if any(cell.strip() for cell in row)]
    if not rows:
        raise StudyError("the REDCap data dictionary has no fields; export it with all instruments")
    beside = [
        "layout (form names, section headers, matrix groups, alignment) is not carried over",
        "columns are those of a raw export (codes, not labels; dates as YYYY-MM-DD)",
    ]
    fields = [(row.get("field_name", "").strip(), {**row, "is_first": not index}) for index, row in enumerate(rows)]
    return Fields(fields, beside)


def _read(name: str, field: Field) -> FieldReading:
    type_ = str(field.get("field_type", "")).strip().lower()
    if type_ in NO_COLUMN:
        return FieldReading(notes=[f"is left out: a field of type '{type_}' is not a column"])
    if field["is_first"]:
        return FieldReading(notes=["is left out: it names the record"])
    if str(field.get("identifier", "")).strip().lower() == "y":
        return FieldReading(notes=["is left out: it is marked as an identifier"])
    if type_ == "checkbox":
        return _checkbox(name, field)
    settings, notes = _typed(name, type_, field)
    if settings is None:
        return FieldReading(notes=notes)
    if field.get("branching_logic", "").strip():
        notes.append("has branching logic, which is not carried over: it may be missing")
    is_required = str(field.get("required_field", "")).strip().lower() == "y"
    if settings["kind"] != "text" and not (is_required and not field.get("branching_logic", "").strip()):
        settings["missing"] = True
    if str(field.get("field_annotation", "")).strip():
        notes.append("has a field annotation, which is not carried over")
    note = clean(field.get("field_note", ""))
    if settings["kind"] == "numeric" and UNIT.fullmatch(note):
        settings["unit"] = note
        notes.append(f"takes its unit, {note}, from the field note: check it")
    elif note:
        notes.append("has a field note, which is not carried over")
    return FieldReading([described(settings, field.get("field_label"))], notes)


def _typed(name: str, type_: str, field: Field) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the settings that type and validation give, and notes."""
    bounds = field.get("text_validation_min"), field.get("text_validation_max")
    match type_:
        case "yesno" | "truefalse":
            return {"name": name, "kind": "boolean", "true": "1", "false": "0"}, []
        case "radio" | "dropdown":
            return _choices(name, field)
        case "slider":
            low, high = (str(bound or "").strip() or limit for bound, limit in zip(bounds, SLIDER, strict=True))
            return numeric(name, low, high, 0)
        case "calc":
            settings, notes = numeric(name, None, None, None)
            return settings, [*notes, "is calculated: its formula is not carried over"]
        case "text":
            return _validated(name, field, bounds)
        case "notes":
            return {"name": name, "kind": "text"}, ["is free text, which is never read"]
        case _:
            return None, [f"is left out: the field type '{clean(type_)}' is not known"]


def _validated(name: str, field: Field, bounds: tuple[Any, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    validation = str(field.get("text_validation_type_or_show_slider_number", "")).strip().lower()
    if not validation:
        return {"name": name, "kind": "text"}, ["is free text, which is never read"]
    plain = validation.removesuffix("_comma_decimal")
    if plain in NUMBERS:
        low, high = (str(bound or "").strip().replace(",", ".") for bound in bounds)
        settings, notes = numeric(name, low, high, NUMBERS[plain])
        for key, bound in (("lower", low), ("upper", high)):
            if bound and key not in settings:
                notes.append(f"has a bound that is not a number, which is not carried over: give {key}")
        return settings | ({} if plain == validation else {"decimal": ","}), notes
    stem = re.sub(r"_(ymd|mdy|dmy)$", "", validation)
    if stem not in DATES:
        return None, [f"is left out: text validated as '{clean(validation)}' is personal, or no column holds it"]
    kind, form = DATES[stem]
    settings = {"name": name, "kind": kind, "date_format": form}
    if form.endswith("%S"):
        settings["resolution"] = "seconds"
    notes = []
    for key, bound in zip(("lower", "upper"), (str(bound or "").strip() for bound in bounds), strict=True):
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", bound):
            settings[key] = bound
        elif bound:
            notes.append(f"has a bound that is not a fixed date, which is not carried over: give {key}")
    return settings, notes


def _options(field: Field) -> tuple[dict[str, str], list[str]]:
    """Return code and label of every choice, and notes about choices that are none."""
    text, options, notes = str(field.get("select_choices_or_calculations", "")), dict[str, str](), []
    for choice in text.split("|"):
        code, comma, label = choice.partition(",")
        if comma and code.strip() and clean(code) not in options:
            options[clean(code)] = clean(label) or clean(code)
        elif choice.strip():
            notes.append("has a choice without a code of its own, which is left out")
    return options, notes


def _choices(name: str, field: Field) -> tuple[dict[str, Any] | None, list[str]]:
    options, notes = _options(field)
    settings: dict[str, Any] = {"name": name, "kind": "categorical"}
    if not options:
        return settings, [*notes, "has no choices: list its labels"]
    return settings | {"categories": list(options), "meanings": options}, notes


def _checkbox(name: str, field: Field) -> FieldReading:
    """Return one yes-or-no column per answer, as a raw export has it: `name___code`."""
    options, notes = _options(field)
    columns: list[Mapping[str, Any]] = []
    for code, label in options.items():
        column = f"{name}___{re.sub(r'[^a-z0-9_]', '_', code.lower())}"
        text = f"{clean(field.get('field_label', ''))}: {label}".removeprefix(": ")
        columns.append(described({"name": column, "kind": "boolean", "true": "1", "false": "0"}, text))
    return FieldReading(columns, [*notes, f"is a checkbox: {len(columns)} columns, one per answer"])


REDCAP = Standard("REDCap data dictionary", _recognizes, _unwrap, _read)
