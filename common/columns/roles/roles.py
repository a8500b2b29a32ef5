"""The role of a column, from the tables of names and of shapes. Roles are facts about records: for their owner only."""

from __future__ import annotations

import re
from collections.abc import Callable

from common.columns.drafting import ANSWERS, ColumnEvidence
from common.columns.roles.categories import Coarsening, ColumnRole, Role, SafeHarbor
from common.columns.roles.cells import FEW_CODES, CellFacts, is_address_of_a_host
from common.columns.roles.names import MEASURES, NAME_RULES, NameRule, Needs, words_of
from common.columns.roles.quasi_names import QUASI_RULES, SENSITIVE_RULE
from common.columns.roles.shapes import SHAPES, STREET

OLDEST = 89
"""Ages above this are identifiers of HIPAA Safe Harbor."""

MOST_ROWS = 50_000
"""Rows that are looked at, but for the largest age."""

SHORT_UNITS = re.compile(
    r"\b(?:months?|weeks?|days?|hours?|monate?n?|wochen?|tagen?|mois|semaines?|jours?|mes(?:es)?|dias?)\b"
)
"""Words of names of ages that are not in years."""


def _is_address(facts: CellFacts) -> bool:
    varies = facts.distinct > FEW_CODES or facts.distinct >= 0.5 * facts.evidence.present or facts.distinct == 1
    return facts.is_text and (varies or facts.fraction(STREET.fullmatch) > 0)


FITS: dict[Needs, Callable[[CellFacts], bool]] = {
    Needs.ANYTHING: lambda facts: True,
    Needs.TEXT: lambda facts: facts.is_text,
    Needs.ADDRESS: _is_address,
    Needs.NUMBER: lambda facts: facts.is_number or (facts.is_text and facts.is_unique),
    Needs.LONG_NUMBER: lambda facts: facts.is_long_number or (facts.is_text and facts.is_unique),
    Needs.UNIQUE_NUMBER: lambda facts: (
        facts.is_number and (facts.distinct >= 0.5 * facts.evidence.present or facts.is_long_number)
    ),
    Needs.EMAIL: lambda facts: facts.fraction(lambda text: "@" in text) > 0 or (facts.is_text and facts.is_unique),
    Needs.URL: lambda facts: facts.is_text and facts.fraction(lambda text: "." in text or "/" in text) > 0,
    Needs.IP: lambda facts: facts.fraction(is_address_of_a_host) > 0 or (facts.is_text and facts.is_unique),
    Needs.COORDINATE: lambda facts: facts.is_coordinate,
    Needs.POSTAL: lambda facts: facts.fraction(lambda text: len(text) >= 4 and any(map(str.isdigit, text))) >= 0.5,
    Needs.PLACE: lambda facts: not facts.answers_only,
    Needs.DEGREES: lambda facts: facts.is_degrees,
    Needs.CALENDAR: lambda facts: (
        facts.is_text or (facts.is_whole and 1 <= min(facts.numbers) <= max(facts.numbers) <= 12)
    ),
    Needs.FREE_TEXT: lambda facts: facts.is_free,
}
"""Whether the cells are what a name needs."""


def role_of(evidence: ColumnEvidence) -> ColumnRole:
    """Return the role of a column by its name and its cells. A column without cells has the role of its name."""
    facts = CellFacts(_first_rows(evidence))
    words = words_of(evidence.name)
    shape = next((shape for shape in SHAPES if shape.fits(facts)), None) if not facts.is_empty else None
    if shape is not None and shape.role is Role.DIRECT and shape.is_certain:
        return ColumnRole(shape.role, shape.category, shape.reason)
    if rule := next((rule for rule in NAME_RULES if _names(rule, words, facts)), None):
        return ColumnRole(rule.role, rule.category, rule.reason)
    rule = next((rule for rule in QUASI_RULES if _names(rule, words, facts)), None)
    if shape is not None and shape.role is Role.QUASI:
        is_birth = rule is not None and rule.coarsening in (Coarsening.BIRTH_YEAR, Coarsening.DATE_PART)
        coarsening = Coarsening.BIRTH_YEAR if is_birth else shape.coarsening
        return ColumnRole(shape.role, shape.category, shape.reason, coarsening=coarsening)
    if rule is not None:
        return _by_name(rule, words, evidence)
    if shape is not None:
        return ColumnRole(shape.role, shape.category, shape.reason, shape.is_certain)
    if SENSITIVE_RULE.compiled.search(words):
        return ColumnRole(Role.SENSITIVE, None, SENSITIVE_RULE.reason)
    return ColumnRole(Role.OTHER)


def _by_name(rule: NameRule, words: str, evidence: ColumnEvidence) -> ColumnRole:
    """Return the role of a quasi-identifier; ages count only above 89, and in years.

    Args:
        rule: the rule that matches its name.
        words: the words of its name.
        evidence: the whole column.
    """
    if rule.coarsening is not Coarsening.AGE:
        return ColumnRole(rule.role, rule.category, rule.reason, coarsening=rule.coarsening)
    if SHORT_UNITS.search(words) is None and CellFacts(evidence).oldest > OLDEST:
        return ColumnRole(rule.role, SafeHarbor.DATES, "holds ages above 89", coarsening=rule.coarsening)
    return ColumnRole(rule.role, None, rule.reason)


def _names(rule: NameRule, words: str, facts: CellFacts) -> bool:
    """Return whether a rule matches the name, and the cells do not contradict it."""
    if rule.compiled.search(words) is None or (rule.role is Role.DIRECT and MEASURES.search(words)):
        return False
    return facts.is_empty or FITS[rule.needs](facts)


def _first_rows(evidence: ColumnEvidence) -> ColumnEvidence:
    """Return the first rows, in which words such as NA are missing: none of them identifies anyone."""
    return ColumnEvidence(evidence.cells[:MOST_ROWS], name=evidence.name, markers=ANSWERS)
