"""A mapping for one hospital: what it has to change for the agreed study, as far as the dictionaries say.

A column that needs a decision first, or a number that the dictionaries do not hold, stands as a comment: without it the
import of the hospital's table fails, and no value enters the study under another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w

from common.dictionary.agreement import AgreedColumn, Agreement, DeclaredDifference
from common.dictionary.entry import DictionaryEntry, parse_entry, reason_of
from common.dictionary.labels import UNDECIDED
from common.dictionary.resolution import spelled
from common.harmonization.operations import parse_recipe
from common.harmonization.units import is_same

LACKING = {"operation": "constant", "value": ""}
"""What a hospital writes for a column that it lacks: missing in every row."""


HEADING = (
    "Mapping of '{hospital}', proposed by `fedsynth study agree` from data dictionaries alone. Check each column, add",
    "a column for the patient if the study counts patients, and complete what stands as a comment.",
)


def mapping_text(agreement: Agreement, hospital: str) -> str:
    """Return the text of a mapping with every column of the study that is read from the hospital's table.

    Args:
        agreement: the compared dictionaries.
        hospital: the hospital.
    """
    sections = ["".join(f"# {line}\n" for line in HEADING).format(hospital=hospital)]
    for column in agreement.columns:
        agreed = parse_entry(column.settings) if column.is_ready else None
        if agreed is None or not agreed.column.modeled:
            continue
        own = column.entries.get(hospital)
        tasks = [_task(finding, agreed, own, hospital) for finding in column.findings if hospital in finding.tasks]
        sections.append("".join(f"# {task}\n" for task in tasks) + _section(column, agreed, hospital))
    return "\n".join(sections)


def _is_renamed(agreed: DictionaryEntry, own: DictionaryEntry) -> bool:
    """Return whether a hospital only has another word for the study's unit, such as Jahre for years."""
    unit, wanted = own.value("unit"), agreed.value("unit")
    return unit is not None and wanted is not None and (spelled(unit) == spelled(wanted) or is_same(unit, wanted))


def _task(finding: DeclaredDifference, agreed: DictionaryEntry, own: DictionaryEntry | None, hospital: str) -> str:
    """Return what a hospital has to do about a finding: another word for a unit is not to be converted.

    Args:
        finding: the finding, with a task for the hospital.
        agreed: what is agreed.
        own: what the hospital declares; None where it lacks the column.
        hospital: its name.
    """
    if finding.title == "unit" and own is not None and _is_renamed(agreed, own):
        return f"write the unit as {agreed.value('unit')} instead of {own.value('unit')}; values stay"
    return finding.tasks[hospital]


def _section(column: AgreedColumn, agreed: DictionaryEntry, hospital: str) -> str:
    """Return the section of a column, as a comment where something is open."""
    own = column.entries.get(hospital)
    recipe = LACKING if own is None else _recipe(column, agreed, own, hospital)
    text = tomli_w.dumps({"columns": {column.name: dict(recipe)}})
    problem = None if own is None else _problem(recipe, agreed, own)
    if problem is None:
        return text
    return f"# OPEN: {problem}\n" + "".join(f"# {line}\n" for line in text.splitlines())


def _problem(recipe: Mapping[str, Any], agreed: DictionaryEntry, own: DictionaryEntry) -> str | None:
    """Return why the recipe cannot be used as it is; None if it can."""
    if own.kind != agreed.kind:
        return f"yours is {own.kind}, and the study's {agreed.kind}: choose an operation of docs/harmonize.md"
    if own.value("unit") is None and agreed.value("unit") is not None:
        return f"the study's unit is {agreed.value('unit')}, and your dictionary gives none: confirm it or convert"
    if UNDECIDED in recipe.get("labels", {}).values():
        return "a label means something else at another hospital: choose the study's label for it"
    try:
        parse_recipe(recipe)
    except ValueError as error:
        return reason_of(error)
    return None


def _recipe(column: AgreedColumn, agreed: DictionaryEntry, own: DictionaryEntry, hospital: str) -> dict[str, Any]:
    """Return how the hospital's column becomes the agreed one.

    Args:
        column: the agreed column, with what hospitals have to rename.
        agreed: what is agreed.
        own: what the hospital declares.
        hospital: its name.
    """
    base: dict[str, Any] = {"from": own.name}
    if own.kind != agreed.kind:
        return base
    form, agreed_form = own.value("date_format"), agreed.value("date_format")
    if form != agreed_form:
        return {"operation": "date", **base, "date_format": form, "study_format": agreed_form}
    unit, agreed_unit = own.value("unit"), agreed.value("unit")
    if unit is not None and agreed_unit is not None and not _is_renamed(agreed, own):
        converted = {"unit": unit, "study_unit": agreed_unit, "decimals": agreed.value("decimals")}
        return {"operation": "number", **base, **converted}
    if labels := _labels(column, agreed, own, hospital):
        return {"operation": "labels", **base, "labels": labels}
    return base


def _labels(column: AgreedColumn, agreed: DictionaryEntry, own: DictionaryEntry, hospital: str) -> dict[str, str]:
    """Return the agreed label of each of the hospital's labels; empty where none changes."""
    if any(finding.title == "words" and hospital in finding.tasks for finding in column.findings):
        return {own.value(word): agreed.value(word) for word in ("true", "false")}
    renames = {label: new for finding in column.findings for label, new in finding.renames.get(hospital, {}).items()}
    listed = own.value("categories") or own.value("codes") or ()
    return {label: renames.get(label, label) for label in listed} if renames else {}
