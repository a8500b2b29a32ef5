"""The study that an agreement proposes: its file, with what people have to decide as comments beside the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomli_w

from common.columns.base import TableColumn
from common.dictionary.agreement import AgreedColumn, Agreement, DeclaredDifference
from common.dictionary.entry import parse_entry
from common.study.study import parse_study

SHARING = 3
"""Fewest hospitals for which shared noise is proposed, as in a draft."""

EPSILON, DELTA = 3.0, 1e-5
"""Privacy of the proposed study, per patient and hospital; people decide on it."""

MARK = "DECIDE"
"""Word that starts every comment on something that people have to decide."""


def study_text(agreement: Agreement, *, name: str, target: str | None = None) -> str:
    """Return the text of a valid study with all columns that are ready, and comments on everything else.

    Args:
        agreement: the compared dictionaries.
        name: name of the study, a slug.
        target: column to predict; None for the last of the columns with the fewest labels.

    Raises:
        StudyError: fewer than two columns are ready, or the target is not among them.
    """
    ready = [column for column in agreement.columns if column.is_ready]
    chosen = target or proposed_target([parse_entry(column.settings).column for column in ready])
    noise = "distributed" if len(agreement.hospitals) >= SHARING else "local"
    sections = [
        _heading(agreement),
        tomli_w.dumps({"study": {"name": name}}),
        *(_column_text(column) for column in ready),
        *(_comments(_left_out(column)) for column in agreement.columns if not column.is_ready),
        _comments([f"{MARK} with every hospital: epsilon is per patient and hospital."])
        + tomli_w.dumps({"privacy": {"epsilon": EPSILON, "delta": DELTA, "noise": noise, "unit": "record"}}),
        tomli_w.dumps({"federation": {"min_hospitals": 2}}),
        ("" if target else _comments([f"{MARK}: the column to predict; none was named (--target)."]))
        + tomli_w.dumps({"evaluation": {"target": chosen}}),
        _comments(["Add a [[hospitals]] section for each hospital: name, declared_rows, identity (docs/deploy.md)."]),
    ]
    text = "\n".join(sections)
    parse_study(text, source="the agreed study")
    return text


def proposed_target(columns: Sequence[TableColumn]) -> str:
    """Return the last of the columns with the fewest labels; without labels, the last column that is read."""
    modeled = [coded for column in columns for coded in column.modeled if coded.name == column.name]
    usable = [column for column in modeled if column.target_problem is None]
    labeled = [column for column in usable if column.labels]
    fewest = min((len(column.labels) for column in labeled), default=0)
    chosen = [column for column in labeled if len(column.labels) == fewest] or usable
    return chosen[-1].name if chosen else ""


def _heading(agreement: Agreement) -> str:
    state = "Nobody has to change anything."
    if not agreement.is_settled:
        state = f"Open differences: {agreement.open_findings}. Look for {MARK}. What stands here is a proposal."
    hospitals = ", ".join(agreement.hospitals)
    return _comments(
        [f"Made by `fedsynth study agree` from data dictionaries of {hospitals}; no record was read.", state]
    )


def _column_text(column: AgreedColumn) -> str:
    """Return the section of a column. `per` is a comment: it needs keys of [schema] that no dictionary has."""
    settings = {key: value for key, value in column.settings.items() if key != "per"}
    per = [f'per = "{column.settings["per"]}"  (once [schema] declares visits)'] if "per" in column.settings else []
    comments = [*(_sentence(finding) for finding in column.findings), *per]
    return _comments(comments) + section("schema.columns", settings)


def section(name: str, settings: Mapping[str, Any]) -> str:
    """Return one section of a list of tables, such as [[schema.columns]], as TOML."""
    return f"[[{name}]]\n" + tomli_w.dumps(settings)


def _left_out(column: AgreedColumn) -> Iterable[str]:
    open_keys = f": {', '.join(column.open_keys)} not known" if column.open_keys and column.is_kept else ""
    yield f"Left out: column '{column.name}'{open_keys}"
    yield from (f"  {_sentence(finding)}" for finding in column.findings)


def _sentence(finding: DeclaredDifference) -> str:
    declared = "; ".join(f"{hospital}: {text}" for hospital, text in finding.declared.items())
    mark = MARK if finding.is_open else "Settled"
    return f"{mark} {finding.title}: {finding.proposal}" + (f" ({declared})" if declared else "")


def _comments(lines: Iterable[str]) -> str:
    return "".join(f"# {line}\n" for line in lines)
