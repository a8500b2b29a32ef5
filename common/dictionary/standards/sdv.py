"""SDV metadata of one table, as JSON: `SINGLE_TABLE_V1`, or `V1` and `V2` with one table.

SDV knows which columns are numbers, dates, booleans, categories and identifiers. It does not know bounds, decimals,
units, missing values or descriptions, and refuses a column with a key of another tool. `V2` holds ranges, values and
decimals, which SDV takes from the records of a table: they are never carried over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.dictionary.entry import DictionaryEntry
from common.dictionary.standards.standard import Field, FieldReading, Fields, Standard
from common.dictionary.standards.values import dated, labels_of, numeric, pattern_of, regex_of
from common.errors import StudyError

VERSION = "METADATA_SPEC_VERSION"
BESIDE = ("alternate_keys", "sequence_key", "sequence_index", "column_relationships", "relationships")
"""What metadata says beside the columns."""

OF_RECORDS = ("range_min", "range_max", "range_values", "range_is_nullable", "decimal_places", "high_cardinality")
"""What SDV detects in a table. No record may decide a schema."""


def _recognizes(document: Any) -> bool:
    return isinstance(document, Mapping) and VERSION in document


def _unwrap(document: Any) -> Fields:
    table, notes = document, [key for key in BESIDE if document.get(key)]
    if "tables" in document:
        tables = document["tables"]
        if not isinstance(tables, Mapping) or len(tables) != 1:
            raise StudyError("SDV metadata of several tables describes no single table; export the metadata of one")
        (table,) = tables.values()
    columns = table.get("columns") if isinstance(table, Mapping) else None
    if not isinstance(columns, Mapping):
        raise StudyError("SDV metadata has no columns; export it with `save_to_json`")
    fields = [(name, field if isinstance(field, Mapping) else {}) for name, field in columns.items()]
    detected = [key for key in OF_RECORDS if any(key in field for _, field in fields)]
    listed = [f"'{key}' is not carried over" for key in notes]
    if detected:
        listed.append(
            f"{', '.join(detected)} are not carried over, since SDV takes them from records: give bounds, decimals and "
            "labels from the data dictionary"
        )
    return Fields(fields, listed)


def _read(name: str, field: Field) -> FieldReading:
    match field.get("sdtype"):
        case "numerical":
            representation = str(field.get("computer_representation", ""))
            settings, notes = numeric(name, None, None, 0 if "Int" in representation else None)
        case "datetime" if isinstance(field.get("datetime_format"), str):
            settings, notes = dated(name, field["datetime_format"]), []
        case "datetime":
            settings, notes = (
                {"name": name, "kind": "date"},
                ["does not say its format; %Y-%m-%d is a guess: correct it"],
            )
        case "boolean":
            settings, notes = {"name": name, "kind": "boolean", "true": "True", "false": "False"}, []
        case "categorical" | "ordinal":
            settings, notes = {"name": name, "kind": "categorical"}, []
            if labels := labels_of(field.get("order") or ()):
                settings["categories"] = labels
        case "id":
            return _identifier(name, str(field.get("regex_format") or ""))
        case sdtype:
            return FieldReading(notes=[f"is left out: '{sdtype}' holds personal data or is unknown"])
    return FieldReading([settings | {"missing": True}], [*notes, "may be missing, since SDV does not say: correct it"])


def _identifier(name: str, regex: str) -> FieldReading:
    settings, pattern = {"name": name, "kind": "identifier"}, pattern_of(regex)
    if pattern is None:
        return FieldReading([settings], ["is an identifier without a pattern that is understood: give one"])
    return FieldReading([settings | {"pattern": pattern}])


def _write(entry: DictionaryEntry) -> dict[str, Any]:
    match entry.kind:
        case "numeric":
            return {"sdtype": "numerical", "computer_representation": "Float" if entry.value("decimals") else "Int64"}
        case "date" | "datetime":
            return {"sdtype": "datetime", "datetime_format": entry.value("date_format")}
        case "boolean" if (entry.value("true"), entry.value("false")) == ("True", "False"):
            return {"sdtype": "boolean"}
        case "boolean":  # SDV takes no other words for a boolean
            return {"sdtype": "categorical"}
        case "categorical":
            return {"sdtype": "categorical", "order": list(entry.value("categories"))}
        case "identifier":
            return {"sdtype": "id", "regex_format": regex_of(entry.value("pattern"))}
        case "code" | "set":
            return {"sdtype": "categorical"}
        case _:
            return {"sdtype": "unknown", "pii": True}


def _wrap(fields: Sequence[tuple[str, Field]]) -> Mapping[str, Any]:
    return {VERSION: "SINGLE_TABLE_V1", "columns": {name: dict(field) for name, field in fields}}


SDV = Standard("SDV metadata", _recognizes, _unwrap, _read, wrap=_wrap, write=_write)
