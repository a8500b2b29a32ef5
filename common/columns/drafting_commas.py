"""Drafts of numbers with a decimal comma: they are drafted as if they had a point, and written as they came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from common.columns.cells import each
from common.columns.drafting import MOSTLY, ColumnEvidence, Draft, LeftOut

COMMA = re.compile(r"[<>=≤≥ ]*[+-]?\d+,\d+(?:[eE][+-]?\d+)?(?:\s*[^\d\s.,][^\d]*)?\+?")
"""A number with a decimal comma, perhaps with a sign before it or a unit behind it."""

GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
"""A number that may also have commas between groups of three digits."""

TEXTS = ("below", "above")
NOTICE = "is written with a decimal comma, as it came; without decimal, points are written"


def has_decimal_comma(evidence: ColumnEvidence) -> bool:
    """Return whether texts are mostly numbers if commas are decimal marks, and not all may be groups of thousands."""
    commas = {text for text in evidence.texts if COMMA.fullmatch(text)}
    if not commas or all(GROUPED.fullmatch(text) for text in commas):
        return False
    plain = {text for text in evidence.numbers if "." not in text}
    return sum(evidence.texts[text] for text in commas | plain) >= MOSTLY * evidence.present


def with_points(evidence: ColumnEvidence) -> ColumnEvidence:
    """Return the column with decimal points."""
    cells = each(evidence.cells, lambda cell: cell.replace(",", ".") if COMMA.fullmatch(cell.strip()) else cell)
    return replace(evidence, cells=cells)


def with_decimal_comma(draft: Draft | LeftOut | None, evidence: ColumnEvidence) -> Draft | LeftOut | None:
    """Return the draft with the decimal mark of the cells, and declared texts as they came.

    Args:
        draft: what was drafted from the column with points.
        evidence: the column as it came.
    """
    if not isinstance(draft, Draft) or draft.settings["kind"] != "numeric":
        return draft
    original = {text.replace(",", "."): text for text in evidence.texts}
    settings = marked(draft.settings)
    for key in TEXTS:
        if key in settings:
            settings[key] = original.get(settings[key], settings[key])
    if codes := settings.get("missing_codes"):
        settings["missing_codes"] = [original.get(code, code) for code in codes]
    return replace(draft, settings=settings, notices=(*draft.notices, NOTICE))


def marked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a numeric column that is written with a decimal comma."""
    return {**settings, "decimal": ","}
