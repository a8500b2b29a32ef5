"""A study as a form: its settings as fields that a person fills in, and back. Every problem names its field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from common.columns.kinds import KINDS
from common.settings import Place
from common.study.problems import problems_of

Widget = Literal["number", "text", "lines", "choice"]

Document = dict[str, Any]

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


@dataclass(frozen=True, slots=True)
class ColumnFields:
    """One column of the study in the form: `settings` are those that its kind needs or that are set."""

    name: str
    keep: FormField
    kind: FormField
    missing: FormField
    settings: tuple[FormField, ...]
    more: FormField

    @property
    def has_problem(self) -> bool:
        return any(field.problem for field in (self.keep, self.kind, self.missing, *self.settings, self.more))


@dataclass(frozen=True, slots=True)
class StudyForm:
    """The form of a study.

    Attributes:
        settings: fields of the whole study.
        columns: in the study's order.
        document: the study that the form describes; not valid while there are problems.
        problems: what is wrong and has no field.
    """

    settings: tuple[FormField, ...]
    columns: tuple[ColumnFields, ...]
    document: Document
    problems: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, str]:
        """The kind that a person chose for each column that stays."""
        return {column.name: column.kind.value for column in self.columns if column.keep.value}

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that a person leaves out."""
        return tuple(column.name for column in self.columns if not column.keep.value)

    @property
    def is_valid(self) -> bool:
        has_problem = any(field.problem for field in self.settings) or any(c.has_problem for c in self.columns)
        return not (has_problem or self.problems)


SETTINGS = (
    FormField("description", ("study", "description"), "What the study is for (optional)"),
    FormField("target", ("evaluation", "target"), "Target: the column that models predict", "choice"),
    FormField(
        "epsilon", ("privacy", "epsilon"), "Epsilon of each hospital", "number",
        hint="how much what leaves a hospital may tell about one of its records; smaller is more private, from about 1",
    ),
    FormField("delta", ("privacy", "delta"), "Delta", "number", hint="chance of more; below a tenth of 1 / records"),
    FormField(
        "noise", ("privacy", "noise"), "Noise", "choice", ("local", "distributed", "none"),
        hint="each hospital's own, one draw that hospitals share under encryption, or none, for comparison only",
    ),
    FormField(
        "holdout", ("evaluation", "holdout_fraction"), "Fraction held out for the report", "number",
        hint="from 0 to below 1",
    ),
    FormField("seed", ("study", "seed"), "Seed of what protects nobody", "number", hint="a whole number"),
)  # fmt: skip
"""The settings of a whole study that the form shows. Others stay as they are in the study file."""

BY_SECTION: dict[Place, str] = {("privacy",): "epsilon", ("evaluation",): "holdout"}
"""The field that shows what is wrong with a section and with none of its keys."""


def form_of(document: Document, given: Mapping[str, str] | None = None) -> StudyForm:
    """Return the form of a study.

    Args:
        document: the study as it was saved.
        given: what a person filled in; None shows the document. A field that is absent keeps the document's value.

    Returns:
        the form, with its problems where something was given.
    """
    names = tuple(entry["name"] for entry in document["schema"]["columns"])
    changed: Document = {section: dict(keys) if isinstance(keys, dict) else keys for section, keys in document.items()}
    settings = []
    for rule in SETTINGS:
        field = replace(rule, choices=names) if rule.key == "target" else rule
        section, key = field.place
        field = _filled(field, document.get(section, {}).get(key), given)
        settings.append(field)
        _put(changed.setdefault(section, {}), key, field)
    columns, entries = [], []
    for index, entry in enumerate(document["schema"]["columns"]):
        fields, new = _column(index, entry, given)
        columns.append(fields)
        if fields.keep.value:
            entries.append(new)
    changed["schema"] = {**document["schema"], "columns": entries}
    form = StudyForm(tuple(settings), tuple(columns), changed)
    return form if given is None else _checked(form)


def settings_of(kind: str, entry: Mapping[str, Any]) -> dict[str, Widget]:
    """Return the settings that the form shows of a column of this kind, and how each is filled in."""
    schema = _schema(kind)
    required = set(schema.get("required", ())) - OWN
    shown = [key for key in schema["properties"] if key not in OWN and (key in required or key in entry)]
    return {key: _widget(schema["properties"][key]) for key in shown}


def _column(index: int, entry: Mapping[str, Any], given: Mapping[str, str] | None) -> tuple[ColumnFields, Document]:
    """Return the fields of one column, and its entry in the study as the form says it."""
    at = f"column.{index}"
    place = ("schema", "columns", index)
    keep = FormField(f"{at}.keep", (*place, "name"), f"{entry['name']} is in the study", value="yes")
    if given is not None and keep.key not in given:
        keep = replace(keep, value="")
    kind = _filled(FormField(f"{at}.kind", (*place, "kind"), "Kind", "choice", tuple(KINDS)), entry["kind"], given)
    missing = FormField(
        f"{at}.missing", (*place, "missing"), "May be missing", value="yes" if entry.get("missing") else ""
    )
    if given is not None:
        missing = replace(missing, value=given.get(missing.key, ""))
    new: Document = {key: entry[key] for key in ("name", "description", "per") if key in entry}
    new["kind"] = entry["kind"]  # another kind is drafted again: its settings are others
    if missing.value:
        new["missing"] = True
    settings = []
    for key, widget in settings_of(entry["kind"], entry).items():
        facts = _schema(entry["kind"])["properties"][key]
        rule = FormField(f"{at}.{key}", (*place, key), key.replace("_", " "), widget, _choices(facts))
        field = _filled(rule, entry.get(key), given)
        settings.append(field)
        _put(new, key, field, numbers=_has_numbers(facts))
    more = _filled(FormField(f"{at}.more", place, "Further settings, as in a study file", "lines"), None, given)
    try:
        further = tomllib.loads(more.value)
    except (ValueError, RecursionError):  # TOML that is none, or a number of thousands of digits
        more = replace(more, problem='write one setting a line, such as unit = "mmHg"')
    else:
        if taken := sorted(further.keys() & {"name", "kind"}):
            more = replace(more, problem=f"{taken[0]} is not a further setting; leave it out")
        else:
            new |= further
    return ColumnFields(entry["name"], keep, kind, missing, tuple(settings), more), new


def _checked(form: StudyForm) -> StudyForm:
    """Return the form with every problem of its document at the field that it is about."""
    kept = [index for index, column in enumerate(form.columns) if column.keep.value]
    problems: dict[str, str] = {}
    general: list[str] = []
    by_place = {field.place: field.key for field in form.settings}
    for index, column in enumerate(form.columns):
        by_place |= {field.place: field.key for field in (column.kind, column.missing, *column.settings)}
        by_place[("schema", "columns", index)] = column.kind.key
    for place, text in problems_of(form.document):
        if place[:2] == ("schema", "columns") and len(place) > 2:
            place = ("schema", "columns", kept[place[2]], *place[3:])
        places = [place[:length] for length in range(len(place), 0, -1)]
        key = next((by_place[part] for part in places if part in by_place), BY_SECTION.get(place))
        if key is None:
            general.append(text)
        else:
            problems[key] = "; ".join(filter(None, (problems.get(key), text)))

    def marked(field: FormField) -> FormField:
        return replace(field, problem=field.problem or problems.get(field.key, ""))

    columns = tuple(
        replace(
            column,
            kind=marked(column.kind),
            missing=marked(column.missing),
            settings=tuple(map(marked, column.settings)),
        )
        for column in form.columns
    )
    return replace(form, settings=tuple(map(marked, form.settings)), columns=columns, problems=tuple(general))


def with_problem(form: StudyForm, column: str, text: str) -> StudyForm:
    """Return the form with a problem of one of its columns, at the column's kind."""
    columns = tuple(
        replace(each, kind=replace(each.kind, problem=text)) if each.name == column else each for each in form.columns
    )
    return replace(form, columns=columns)


def _filled(field: FormField, value: Any, given: Mapping[str, str] | None) -> FormField:
    if given is not None and field.key in given:
        return replace(field, value=given[field.key].replace("\r\n", "\n"))
    return replace(field, value=_text(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(_text, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _put(section: Document, key: str, field: FormField, *, numbers: bool = False) -> None:
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
def _schema(kind: str) -> dict[str, Any]:
    return KINDS[kind].model_json_schema()


def _plain(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a setting may be besides unset."""
    return next((option for option in facts.get("anyOf", ()) if option.get("type") != "null"), facts)


def _choices(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of which a setting is one; empty where it is any text."""
    words = _plain(facts).get("enum", ())
    return ("", *words) if words and "anyOf" in facts else tuple(words)


def _widget(facts: Mapping[str, Any]) -> Widget:
    if _choices(facts):
        return "choice"
    kind = _plain(facts).get("type")
    return "lines" if kind == "array" else "number" if kind in ("number", "integer") else "text"


def _has_numbers(facts: Mapping[str, Any]) -> bool:
    return _plain(facts).get("items", {}).get("type") in ("number", "integer")
