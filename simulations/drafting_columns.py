"""A draft of a table's columns: what each kind makes of the cells, and which columns are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.columns.base import UnreadColumn
from common.columns.drafting import OF_PATIENTS, ColumnEvidence, Draft, LeftOut
from common.columns.drafting_forms import unread_form
from common.columns.drafting_since import draft_since
from common.columns.kinds import KINDS
from common.columns.roles.roles import role_of
from common.errors import StudyError
from simulations.drafting_notices import in_few_lines

UNREAD_KINDS = frozenset(name for name, kind in KINDS.items() if issubclass(kind, UnreadColumn))
"""Kinds of columns whose cells no hospital reads."""


class ColumnRefused(StudyError):
    """A column cannot be drafted in the way that a person asks for. `column` is its name."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def draft_columns(
    evidences: Mapping[str, ColumnEvidence], kinds: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
    """Return the settings of every column that a kind recognizes, why others are left out, and notices.

    Args:
        evidences: the cells of every column that may be drafted, by its name.
        kinds: column to the kind that a person says it has.

    Raises:
        ColumnRefused: no kind recognizes the target, or a kind that a person names does not fit.
    """
    columns: list[dict[str, Any]] = []
    notices: list[tuple[str, str]] = []
    left_out: dict[str, str] = {}
    for column, evidence in evidences.items():
        match draft_column(evidence, kinds.get(column)):
            case Draft(settings, of_column, missing):
                allows = missing or (evidence.has_missing and KINDS[settings["kind"]].drafts_missing)
                columns.append({"name": column, **settings} | ({"missing": True} if allows else {}))
                notices += [(column, notice) for notice in of_column]
            case LeftOut(reason) if column in kinds:
                raise ColumnRefused(column, f"--kind {column}={kinds[column]}: {reason}; choose another kind")
            case LeftOut(reason) if evidence.is_target:
                raise ColumnRefused(column, f"target '{column}' cannot be predicted: {reason}; choose another")
            case LeftOut(reason):
                left_out[column] = reason
    return columns, left_out, [*in_few_lines(notices), *draft_since(columns, evidences)]


def draft_column(evidence: ColumnEvidence, kind: str | None) -> Draft | LeftOut:
    """Return what the first kind that recognizes the column drafts, or why the column is left out.

    Args:
        evidence: the column.
        kind: the only kind to ask; None for all.
    """
    if kind in UNREAD_KINDS:
        return KINDS[kind].forced(evidence) or LeftOut("its cells are not of this kind")
    role = role_of(evidence)
    if kind is not None:
        if role.is_direct and role.is_certain:
            return LeftOut(f"it {role.sentence}, which a draft never reads")
        return KINDS[kind].forced(evidence) or LeftOut("its cells are not of this kind")
    if evidence.is_constant:
        return LeftOut("it is constant")
    if evidence.repeats_identifiers:
        return LeftOut(
            "looks like an identifier of patients with several rows: --patient-column NAME keeps the first row of each"
        )
    if role.is_direct and (role.is_certain or not evidence.is_target):
        of_patients = "; --patient-column NAME counts patients by it" if OF_PATIENTS.fullmatch(evidence.name) else ""
        return LeftOut(unread_form(evidence) or f"it {role.sentence}{of_patients}")
    drafts = (kind.draft(evidence) for kind in KINDS.values())
    return next((draft for draft in drafts if draft is not None), LeftOut("no kind of column recognizes it"))
