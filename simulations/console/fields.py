"""One setting of a study as a field of a form: how it is filled in, what it holds, and how that is written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from common.columns.kinds import KINDS
from common.settings import Place

Widget = Literal["number", "text", "lines", "choice"]

OWN = frozenset({"kind", "name", "missing", "per", "description"})
"""Settings of a column that have their own place in the form, or none."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One setting of a study in the form.

    Attributes:
        key: name of the field.
        place: where the setting is in the document.
        label: what a person reads.
        widget: how it is filled in; lines hold one value each.
        choices: values to choose from.
        hint: what a person should know.
        value: what is filled in.
        problem: what is wrong with it; "" for nothing.
    """

    key: str
    place: Place
    label: str
    widget: Widget = "text"
    choices: tuple[str, ...] = ()
    hint: str = ""
    value: str = ""
    problem: str = ""


def settings_of(kind: str, entry: Mapping[str, Any]) -> dict[str, Widget]:
    """Return the settings that the form shows of a column of this kind, and how each is filled in."""
    schema = schema_of(kind)
    required = set(schema.get("required", ())) - OWN
    shown = [key for key in schema["properties"] if key not in OWN and (key in required or key in entry)]
    return {key: _widget(schema["properties"][key]) for key in shown}


def filled(field: FormField, value: Any, given: Mapping[str, str] | None) -> FormField:
    """Return the field with what a person filled in, or the value of the document where nothing was given."""
    if given is not None and field.key in given:
        return replace(field, value=given[field.key].replace("\r\n", "\n"))
    return replace(field, value=text_of(value))


def text_of(value: Any) -> str:
    """Return a value of a document as a person writes it; one line for each value of a list."""
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(text_of, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def put(section: dict[str, Any], key: str, field: FormField, *, numbers: bool = False) -> None:
    """Write what a field says into a section; an empty field takes the key out."""
    section.pop(key, None)
    match field.widget:
        case "lines":
            lines = [line for line in field.value.splitlines() if line.strip()]
            value: Any = [_number(line.strip()) if numbers else line for line in lines]
        case "number":
            value = _number(field.value.strip()) if field.value.strip() else None
        case _:
            value = field.value or None
    if value is not None and value != []:
        section[key] = value


def _number(text: str) -> Any:
    """Return the number that a text writes; the text itself where it is none, which the study then refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@cache
def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON schema of the settings of a kind of column."""
    return KINDS[kind].model_json_schema()


def _plain(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a setting may be besides unset."""
    return next((option for option in facts.get("anyOf", ()) if option.get("type") != "null"), facts)


def choices_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of which a setting is one; empty where it is any text."""
    words = _plain(facts).get("enum", ())
    return ("", *words) if words and "anyOf" in facts else tuple(words)


def _widget(facts: Mapping[str, Any]) -> Widget:
    if choices_of(facts):
        return "choice"
    kind = _plain(facts).get("type")
    return "lines" if kind == "array" else "number" if kind in ("number", "integer") else "text"


def has_numbers(facts: Mapping[str, Any]) -> bool:
    """Return whether a setting is a list of numbers."""
    return _plain(facts).get("items", {}).get("type") in ("number", "integer")
