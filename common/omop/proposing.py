"""Propose `[[features]]` for the names of concepts, from the vocabulary alone: a person checks and completes them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from common.omop.domains import EVENTS, EntryDomain

LONGEST_NAME = 40
"""Most characters of a proposed name of a feature."""

MOST_LISTED = 5
"""Most further concepts that are listed beside the proposed one."""

DOMAINS = {EVENTS[domain].omop_domain: domain for domain in get_args(EntryDomain)}
"""Domain of a feature by the domain of its concept."""

OF_VALUES = (
    '# of its values instead: summary = "last", units = { UNIT_CONCEPT = 1.0 }, unit, lower, upper, decimals;',
    "# or values = { LABEL = CONCEPT }",
)


@dataclass(frozen=True, slots=True)
class ConceptMatch:
    """A standard concept of the vocabulary whose name holds the words that a person wrote.

    Attributes:
        concept: concept id.
        name: its name.
        omop_domain: its `domain_id`.
        below: number of concepts below it in `concept_ancestor`.
    """

    concept: int
    name: str
    omop_domain: str
    below: int


def ranked(text: str, matches: Sequence[ConceptMatch]) -> list[ConceptMatch]:
    """Return concepts, those first that a person most likely means: the name itself, then short names with more below.

    Args:
        text: what the person wrote.
        matches: concepts whose names hold all of its words.
    """
    wanted = text.strip().casefold()
    return sorted(matches, key=lambda each: (each.name.casefold() != wanted, len(each.name), -each.below, each.concept))


def feature_text(text: str, matches: Sequence[ConceptMatch]) -> str:
    """Return the `[[features]]` of the first of some ranked concepts, as TOML, with the others as comments.

    Args:
        text: what the person wrote.
        matches: the concepts, at least one.
    """
    first, *others = ranked(text, matches)
    domain = DOMAINS[first.omop_domain]
    lines = [f"# {_line(first)}"]
    if others:
        lines.append(f"# not taken, of {len(others)} more:")
        lines += [f"#   {_line(other)}" for other in others[:MOST_LISTED]]
    lines += [
        "[[features]]",
        f"name = {json.dumps(_name(first.name))}",
        f"domain = {json.dumps(domain)}",
        f"concepts = [{first.concept}]",
        "window = [-365, -1]",
        'summary = "any"',
        *(OF_VALUES if EVENTS[domain].has_values else ()),
    ]
    return "\n".join(lines) + "\n"


def _line(match: ConceptMatch) -> str:
    name = "".join(mark if mark.isprintable() else " " for mark in match.name)
    return f"{match.concept} {name} ({match.omop_domain.lower()}, {match.below} below)"


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:LONGEST_NAME].rstrip("_") or "feature"
