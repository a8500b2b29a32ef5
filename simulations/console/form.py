"""A study as a form: its settings as fields that a person fills in, and back. Every problem names its field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.columns.kinds import KINDS
from common.settings import Place
from common.study.problems import problems_of
from simulations.console.fields import FormField, choices_of, filled, has_numbers, put, schema_of, settings_of
from simulations.console.rule_lines import read_rule_lines, rule_lines

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ColumnFields:
    """One column of the study in the form: `settings` are those that its kind needs or that are set.

    `per` says whether it is of the patient or of the visit; None where rows are no visits, and for the time of visits.
    """

    name: str
    keep: FormField
    kind: FormField
    missing: FormField
    per: FormField | None
    settings: tuple[FormField, ...]
    more: FormField

    @property
    def fields(self) -> tuple[FormField, ...]:
        per = () if self.per is None else (self.per,)
        return (self.keep, self.kind, self.missing, *per, *self.settings, self.more)

    @property
    def has_problem(self) -> bool:
        return any(field.problem for field in self.fields)


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

VISITS_SETTINGS = (
    FormField(
        "most_visits", ("schema", "most_visits"), "Most visits of a patient", "number",
        hint="all visits of a patient together weigh as much as one patient; more visits mean more noise",
    ),
    FormField(
        "keep_visits", ("schema", "keep_visits"), "Which visits are kept where a patient has more", "choice",
        ("", "first", "last", "thinned"), hint="the first ones where nothing is chosen",
    ),
    FormField(
        "interval", ("schema", "interval"), "Time between visits that follow a clock (optional)", "number",
        hint="in the unit of the time; left empty, times in between are synthesized",
    ),
)  # fmt: skip
"""The settings that a study of visits has besides."""

RULES = FormField(
    "rules", ("rules",), "Rules that every synthetic row meets, one a line", "lines",
    hint="between columns of numbers, such as: diastolic < systolic",
)  # fmt: skip

COURSES = replace(
    RULES, label="Rules that every synthetic patient meets, one a line",
    hint="between columns of numbers at every visit, such as: diastolic < systolic; from visit to visit: "
    "stage never decreases, weight never increases, status ends with dead",
)  # fmt: skip

BY_SECTION: dict[Place, str] = {("privacy",): "epsilon", ("evaluation",): "holdout"}
"""The field that shows what is wrong with a section and with none of its keys."""


def form_of(document: Document, given: Mapping[str, str] | None = None, shown: range | None = None) -> StudyForm:
    """Return the form of a study.

    Args:
        document: the study as it was saved.
        given: what a person filled in; None shows the document. A field that is absent keeps the document's value.
        shown: the columns that a person saw; others stay as in the document. None for all.

    Returns:
        the form, with its problems where something was given.
    """
    names = tuple(entry["name"] for entry in document["schema"]["columns"])
    changed: Document = {section: dict(keys) if isinstance(keys, dict) else keys for section, keys in document.items()}
    settings = []
    has_visits = document["schema"].get("time") is not None
    for rule in (*SETTINGS, *(VISITS_SETTINGS if has_visits else ())):
        field = replace(rule, choices=names) if rule.key == "target" else rule
        section, key = field.place
        field = filled(field, document.get(section, {}).get(key), given)
        settings.append(field)
        put(changed.setdefault(section, {}), key, field)
    settings.append(_rules(COURSES if has_visits else RULES, changed, given))
    columns, entries = [], []
    for index, entry in enumerate(document["schema"]["columns"]):
        is_of_visits = has_visits and entry["name"] != document["schema"]["time"]
        is_shown = shown is None or index in shown
        fields, new = _column(index, entry, given if is_shown else None, is_of_visits=is_of_visits)
        columns.append(fields)
        if fields.keep.value:
            entries.append(new)
    changed["schema"]["columns"] = entries
    form = StudyForm(tuple(settings), tuple(columns), changed)
    return form if given is None else _checked(form)


def _rules(rule: FormField, changed: Document, given: Mapping[str, str] | None) -> FormField:
    """Return the field of rules and courses; what it says replaces those of the changed document."""
    listed = changed.get("rules", []), changed.get("courses", [])
    field = filled(rule, rule_lines(*listed), given)
    rules, courses, problem = read_rule_lines(field.value, *listed)
    for section, entries in (("rules", rules), ("courses", courses)):
        changed.pop(section, None)
        if entries:
            changed[section] = entries
    return replace(field, problem=problem)


def _column(
    index: int, entry: Mapping[str, Any], given: Mapping[str, str] | None, *, is_of_visits: bool
) -> tuple[ColumnFields, Document]:
    """Return the fields of one column, and its entry in the study as the form says it."""
    at = f"column.{index}"
    place = ("schema", "columns", index)
    keep = FormField(f"{at}.keep", (*place, "name"), f"{entry['name']} is in the study", value="yes")
    if given is not None and keep.key not in given:
        keep = replace(keep, value="")
    kind = filled(FormField(f"{at}.kind", (*place, "kind"), "Kind", "choice", tuple(KINDS)), entry["kind"], given)
    missing = FormField(
        f"{at}.missing", (*place, "missing"), "May be missing", value="yes" if entry.get("missing") else ""
    )
    if given is not None:
        missing = replace(missing, value=given.get(missing.key, ""))
    new: Document = {key: entry[key] for key in ("name", "description") if key in entry}
    per = None
    if is_of_visits:
        at_visit = entry.get("per", "visit")
        per = filled(FormField(f"{at}.per", (*place, "per"), "Of", "choice", ("visit", "patient")), at_visit, given)
        if per.value != "visit":  # a column of the visit does not say so
            new["per"] = per.value
    new["kind"] = entry["kind"]  # another kind is drafted again: its settings are others
    if missing.value:
        new["missing"] = True
    settings = []
    for key, widget in settings_of(entry["kind"], entry).items():
        facts = schema_of(entry["kind"])["properties"][key]
        rule = FormField(f"{at}.{key}", (*place, key), key.replace("_", " "), widget, choices_of(facts))
        field = filled(rule, entry.get(key), given)
        settings.append(field)
        put(new, key, field, numbers=has_numbers(facts))
    more = filled(FormField(f"{at}.more", place, "Further settings, as in a study file", "lines"), None, given)
    try:
        further = tomllib.loads(more.value)
    except (ValueError, RecursionError):  # TOML that is none, or a number of thousands of digits
        more = replace(more, problem='write one setting a line, such as unit = "mmHg"')
    else:
        if taken := sorted(further.keys() & {"name", "kind"}):
            more = replace(more, problem=f"{taken[0]} is not a further setting; leave it out")
        else:
            new |= further
    return ColumnFields(entry["name"], keep, kind, missing, per, tuple(settings), more), new


def _checked(form: StudyForm) -> StudyForm:
    """Return the form with every problem of its document at the field that it is about."""
    kept = [index for index, column in enumerate(form.columns) if column.keep.value]
    problems: dict[str, str] = {}
    general: list[str] = []
    by_place = {field.place: field.key for field in form.settings} | {("courses",): RULES.key}
    for index, column in enumerate(form.columns):
        by_place |= {field.place: field.key for field in column.fields}
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
            per=None if column.per is None else marked(column.per),
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
