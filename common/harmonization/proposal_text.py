"""Write a proposed mapping as TOML, with a comment on everything that a person has to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w

from common.harmonization.proposing import MappingProposal
from common.harmonization.suggestion import Proposed

CHECK = "CHECK: "
"""Start of what a person has to check."""

HEAD = """\
# How this hospital's table becomes the columns of study '{study}'. This file stays at the hospital.
# Proposed from names, labels and values. Read every line; what the proposal is unsure of begins with `CHECK:`.
# All operations: docs/harmonize.md. Then run `fedsynth site import`, which shows what is not mapped.
"""


def proposal_text(proposal: MappingProposal, study: str) -> str:
    """Return the text of mapping.toml.

    Args:
        proposal: what is proposed.
        study: the study's name.
    """
    blocks = [HEAD.format(study=study)]
    if proposal.missing:
        blocks.append(_assignments({"missing": proposal.missing}))
    blocks += [_block(item) for item in proposal.columns]
    if proposal.unused:
        listed = "\n".join(f"#   {_readable(name)}" for name in proposal.unused)
        blocks.append(f"# Not used, and left out of the imported table:\n{listed}\n")
    return "\n".join(blocks)


def _block(item: Proposed) -> str:
    """Return the lines about one column."""
    title = tomli_w.dumps({"columns": {item.name: {}}}).strip().splitlines()[-1]
    if item.suggestion is None:
        near = f"; the nearest name is {_readable(item.nearest)} ({item.confidence} %)" if item.nearest else ""
        return f"# {CHECK}no local column resembles '{item.name}'{near}\n# {title}\n# from = \n"
    settings = dict(item.suggestion.settings)
    reasons = "; ".join((f"{item.confidence} %", *item.suggestion.reasons))
    lines = [f"# {_readable(text)}" for text in (reasons, *(CHECK + check for check in item.suggestion.checks))]
    tables = {key: settings.pop(key) for key in list(settings) if isinstance(settings[key], dict)}
    lines += [title, _assignments(settings).rstrip()]
    for key, table in tables.items():
        lines += [f"{title[:-1]}.{key}]", _assignments(table).rstrip()]
    if item.suggestion.unmapped:
        if "labels" not in tables:
            lines.append("# Not mapped:")
        unmapped = sorted(item.suggestion.unmapped.items())
        lines += [f"# {_assignment(text)}   # {CHECK}{_readable(remark)}" for text, remark in unmapped]
    return "\n".join(lines) + "\n"


def _assignment(text: str) -> str:
    return _readable(tomli_w.dumps({text: ""}).strip())


def _assignments(settings: Mapping[str, Any]) -> str:
    """Return keys and values as TOML, short lists in one line."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, list | tuple):
            name = tomli_w.dumps({key: 0}).rpartition(" = ")[0]
            lines.append(f"{name} = [{', '.join(tomli_w.dumps({'x': entry}).strip()[4:] for entry in value)}]\n")
        else:
            lines.append(tomli_w.dumps({key: value}))
    return "".join(lines)


def _readable(text: str) -> str:
    """Return a text that stays in one line of a comment."""
    return "".join(mark if mark.isprintable() else " " for mark in text)
