"""Drafts of columns of codes: which systems of codes a draft knows, and how their codes roll up."""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.columns.drafting import FEW_NUMBERS, ColumnEvidence, Draft

MOST_CODES = 20_000
"""Codes of a drafted column; the rarer ones of a longer list count as their prefix."""

MATCHING = 0.95
"""Smallest fraction of the cells that a system's form has to match."""


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A system of codes.

    Attributes:
        name: its name, for people.
        form: one code.
        prefixes: lengths of the prefixes to which codes roll up.
        sign: what at least two codes hold, or the column's name says, where numbers look alike; None for nothing.
        hint: what a person should know besides.
    """

    name: str
    form: re.Pattern[str]
    prefixes: tuple[int, ...]
    sign: re.Pattern[str] | None = None
    hint: str = ""


DIAGNOSIS = re.compile(r"(^|[^a-z])(diag\w*|icd\w*|dx\d*)([^a-z]|$)", re.I)
"""Names of columns of diagnoses."""

CODE_SYSTEMS = (
    CodeSystem(
        "ATC",
        re.compile(r"[ABCDGHJLMNPRSV]\d\d(?:[A-Z](?:[A-Z](?:\d\d)?)?)?"),
        (1, 3, 4, 5),
        re.compile("[A-Z].*[A-Z]"),
    ),
    CodeSystem("ICD-10", re.compile(r"[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?[+*!]?"), (1, 3)),
    CodeSystem("ICD-9", re.compile(r"(?:\d{1,3}|[VE]\d{2,3})(?:\.\d{1,2})?"), (1, 3), re.compile("[VE]")),
    CodeSystem(
        "LOINC", re.compile(r"\d{1,5}-\d"), (1,), hint="their first digits mean nothing, so declare those that matter"
    ),
)
"""Asked in this order."""


def recognize_code(evidence: ColumnEvidence) -> Draft | None:
    """Return the codes of a column with more of them than a list of labels should have; None for any other column."""
    if evidence.is_target or len(evidence.texts) <= FEW_NUMBERS:
        return None
    system = next((system for system in CODE_SYSTEMS if _fits(system, evidence)), None)
    if system is None:
        return None
    ranked = sorted(evidence.texts, key=lambda text: (-evidence.texts[text], text))
    codes = sorted(ranked[:MOST_CODES])
    notices = [
        f"holds {len(ranked)} codes that look like {system.name}: where patients are few, they roll up to prefixes"
    ]
    if system.hint:
        notices.append(f"holds codes of {system.name}: {system.hint}")
    if len(ranked) > len(codes):
        notices.append(f"has more than {MOST_CODES} codes: rare ones count as their prefix")
    return Draft({"kind": "code", "codes": codes, "prefixes": _useful(system.prefixes, codes)}, tuple(notices))


def _fits(system: CodeSystem, evidence: ColumnEvidence) -> bool:
    """Return whether nearly all cells are codes of the system, and a sign tells them from numbers."""
    matching = {text for text in evidence.texts if system.form.fullmatch(text)}
    if sum(evidence.texts[text] for text in matching) < MATCHING * evidence.present:
        return False
    if system.sign is None:
        return True
    is_named = system.name == "ICD-9" and DIAGNOSIS.search(evidence.name) is not None
    return is_named or sum(system.sign.search(text) is not None for text in matching) >= 2


def _useful(prefixes: tuple[int, ...], codes: list[str]) -> list[int]:
    """Return the lengths that are shorter than the longest code; the shortest one at least."""
    longest = max(map(len, codes))
    return [length for length in prefixes if length < longest] or [prefixes[0]]


def draft_code(evidence: ColumnEvidence) -> Draft | None:
    """Return all codes, with prefixes of one and of three characters as the levels above them."""
    codes = sorted(evidence.texts)
    lengths = {len(code) for code in codes}
    if len(codes) < 2 or max(lengths) < 2:
        return None
    prefixes = [length for length in (1, 3) if length < max(lengths)]
    return Draft({"kind": "code", "codes": codes, "prefixes": prefixes}, ("rolls up to prefixes of these lengths",))
