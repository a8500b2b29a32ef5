"""A pandera schema, as the YAML or JSON that `to_yaml` and `to_json` write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.dictionary.standards.standard import Field, FieldReading, Fields, Standard
from common.dictionary.standards.values import described, labels_of, numeric
from common.errors import StudyError

BOUNDS = {
    "greater_than_or_equal_to": (("min_value", "value"), "lower"),
    "less_than_or_equal_to": (("max_value", "value"), "upper"),
}
"""Checks that are bounds: under which of these names the number stands, and which bound it is."""

CHECKS = (*BOUNDS, "greater_than", "less_than", "in_range", "isin", "str_length", "str_matches")
"""Checks that some versions write beside the type instead of under `checks`."""


def _recognizes(document: Any) -> bool:
    return isinstance(document, Mapping) and "schema_type" in document


def _unwrap(document: Any) -> Fields:
    columns = document.get("columns")
    if document["schema_type"] != "dataframe" or not isinstance(columns, Mapping) or not columns:
        raise StudyError("the pandera schema describes no columns of a table; export a DataFrameSchema")
    notes = [f"'{key}' is not carried over" for key in ("checks", "index", "unique") if document.get(key)]
    return Fields([(str(name), field if isinstance(field, Mapping) else {}) for name, field in columns.items()], notes)


def _checks(field: Field) -> dict[str, Any]:
    """Return the checks by name, with their values, however the version of pandera writes them."""
    checks = field.get("checks") or {name: field[name] for name in CHECKS if field.get(name) is not None}
    if isinstance(checks, list):
        named = [check for check in checks if isinstance(check, Mapping)]
        return {str((check.get("options") or {}).get("check_name", "?")): check for check in named}
    return {str(name): value for name, value in checks.items()} if isinstance(checks, Mapping) else {}


def _value(check: Any, *names: str) -> Any:
    if not isinstance(check, Mapping):
        return check
    return next((check[name] for name in names if name in check), None)


def _read(name: str, field: Field) -> FieldReading:
    checks, dtype = _checks(field), str(field.get("dtype") or field.get("pandas_dtype") or "").lower()
    bounds: dict[str, Any] = {}
    for check, (names, key) in BOUNDS.items():
        if check in checks:
            bounds[key] = _value(checks.pop(check), *names)
    if "in_range" in checks:
        check = checks.pop("in_range")
        bounds |= {"lower": _value(check, "min_value"), "upper": _value(check, "max_value")}
    options = _value(checks.pop("isin", None), "allowed_values", "value")
    notes = [f"has check '{check}', which is not carried over" for check in checks]
    settings, of_type = _typed(name, dtype, bounds, options)
    if settings is None:
        return FieldReading(notes=of_type)
    if settings["kind"] != "text" and field.get("nullable"):
        settings["missing"] = True
    if field.get("regex"):
        return FieldReading(notes=["is left out: it is a pattern of names; describe each column"])
    return FieldReading([described(settings, field.get("description"), field.get("title"))], [*notes, *of_type])


def _typed(name: str, dtype: str, bounds: Mapping[str, Any], options: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the settings that type and checks give, and notes.

    Args:
        name: the column.
        dtype: its type in lower case, such as int64.
        bounds: `lower` and `upper`, where there are checks for them.
        options: listed values; None where there are none.
    """
    if isinstance(options, list) and options:
        return {"name": name, "kind": "categorical", "categories": labels_of(options)}, []
    if "int" in dtype or "float" in dtype:
        return numeric(name, bounds.get("lower"), bounds.get("upper"), 0 if "int" in dtype else None)
    if dtype in ("bool", "boolean"):
        return {"name": name, "kind": "boolean", "true": "True", "false": "False"}, []
    if dtype.startswith("datetime"):
        return {"name": name, "kind": "date"}, ["does not say its format; %Y-%m-%d is a guess: correct it"]
    if dtype == "category":
        return {"name": name, "kind": "categorical"}, ["has no list of labels: list them"]
    if dtype.startswith(("str", "object")):
        note = "has no list of labels: it is text, and never read; correct it if it holds labels"
        return {"name": name, "kind": "text"}, [note]
    return None, [f"is left out: no column holds the type '{dtype}'"]


PANDERA = Standard("pandera schema", _recognizes, _unwrap, _read)
