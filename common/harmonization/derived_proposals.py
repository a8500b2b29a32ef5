"""Proposals of columns that no local column holds as such: ages, stays, checked items; and the patient's identifier."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from rapidfuzz import fuzz

from common.columns.base import TableColumn
from common.harmonization.evidence import LocalColumn
from common.harmonization.headers import folded, header_of, meanings_of
from common.harmonization.suggestion import Proposed, Suggestion

RAW_CHOICE = "___"
"""Mark in the name of a column for one answer of a question with several, in a raw export of REDCap."""

DERIVED, ALIKE = 75, 82
"""Confidence in percent of a derived column, and similarity in percent of two names of an item."""

CHECKED = ("1", "Checked", "checked", "x", "X", "ja", "oui", "sí", "yes")
"""What a checked answer looks like."""


def derived(item: Proposed, column: TableColumn, local: Sequence[LocalColumn]) -> Proposed:
    """Return a proposal that computes the column of others; the item as it is where none does.

    Args:
        item: what was proposed for the column: nothing.
        column: the study's column.
        local: all local columns.
    """
    about = header_of(column.name).words
    if "items" in column.model_dump():
        suggestion = _checked(column, local)
    elif "age" in about:
        suggestion = _of_dates("age_at", ("birth", "admission"), local)
    elif "stay" in about:
        suggestion = _of_dates("time_between", ("admission", "discharge"), local)
    else:
        suggestion = None
    return item if suggestion is None else replace(item, suggestion=suggestion, confidence=DERIVED)


def _of_dates(operation: str, words: tuple[str, str], local: Sequence[LocalColumn]) -> Suggestion | None:
    """Return a recipe of two columns of dates whose names are about these words; None where one is not there."""
    columns = [_dated(word, local) for word in words]
    if columns[0] is None or columns[1] is None:
        return None
    sources = [column.name for column in columns if column is not None]
    forms = list(dict.fromkeys(column.date_forms[0] for column in columns if column is not None))
    settings = {"operation": operation, "from": sources, "date_format": forms[0] if len(forms) == 1 else forms}
    return Suggestion(settings, 1.0, (), ("no local column holds it: is it computed of the right dates?",))


def _dated(word: str, local: Sequence[LocalColumn]) -> LocalColumn | None:
    """Return the first column of dates whose name is about the word."""
    return next((column for column in local if word in column.header.words and column.date_forms), None)


def _checked(column: TableColumn, local: Sequence[LocalColumn]) -> Suggestion | None:
    """Return a recipe of one column per answer, where the names have REDCap's form; None where none fits."""
    settings = column.model_dump()
    about, items = header_of(column.name).words, {}
    for other in local:
        question, answer = _choice(other)
        if not answer or not header_of(question).words & about:
            continue
        item = _item(answer, settings["items"])
        if item is not None:
            items[item] = other.name
    if not items:
        return None
    texts = {text.strip() for other in local if other.name in items.values() for text in other.texts}
    recipe: dict[str, Any] = {"operation": "checked", "separator": settings["separator"]}
    if settings["empty"]:
        recipe["empty"] = settings["empty"]
    recipe |= {"checked": [text for text in CHECKED if text in texts] or ["1"]}
    recipe["items"] = {item: items[item] for item in settings["items"] if item in items}
    absent = [item for item in settings["items"] if item not in items]
    checks = ("is each column of the right answer?", *([f"no answer for {', '.join(absent)}"] if absent else []))
    return Suggestion(recipe, 1.0, (f"one column for each of {len(items)} answers",), checks)


def _choice(local: LocalColumn) -> tuple[str, str]:
    """Return question and answer of a column for one answer: from its name, or from the dictionary of a raw export."""
    label = local.described.label
    if RAW_CHOICE in local.name and ": " in label:
        question, _, answer = label.partition(": ")
        return question, answer
    body = local.name.rstrip()
    question, found, answer = body.removesuffix(")").rpartition("(choice=") if body.endswith(")") else ("", "", "")
    return (question, answer) if found else ("", "")


def _item(answer: str, items: Sequence[str]) -> str | None:
    """Return the study's item for an answer; None for none."""
    words = header_of(answer).words
    for item in items:
        if meanings_of(item) & meanings_of(answer) or header_of(item).words <= words:
            return item
    return next((item for item in items if fuzz.ratio(folded(item), folded(answer)) >= ALIKE), None)


def patient_identifier(
    local: Sequence[LocalColumn], patient_column: str | None, used: Collection[str]
) -> Proposed | None:
    """Return a proposal for the patient's identifier, which `patient_column` of site.toml names; None for none.

    Args:
        local: all local columns.
        patient_column: the local column that a person names; None leaves it to the names.
        used: local columns that hold something else.
    """
    if patient_column is not None:
        return Proposed("patient", Suggestion({"from": patient_column}, 1.0, ("as you say",)), 100)
    for column in local:
        if column.name in used or not (names := _identifies(column)):
            continue
        checks = ('does it identify the patient? Then write patient_column = "patient" in site.toml; else remove it',)
        return Proposed("patient", Suggestion({"from": column.name}, 1.0, (), checks), names)
    return None


def _identifies(column: LocalColumn) -> int:
    """Return the confidence that a column identifies patients: by its name, and where hardly any cell repeats."""
    rows = column.texts.total()
    is_own = rows > 0 and len(column.texts) >= 0.5 * rows
    return 80 if is_own and header_of(column.name).words & {"identifier", "patient"} else 0
