"""Warnings about identifiers among the columns that a study reads or a site freezes: for the table's owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from common.columns.base import TableColumn
from common.columns.date import Dated
from common.columns.drafting import ColumnEvidence
from common.columns.roles.categories import ColumnRole, Role, SafeHarbor
from common.columns.roles.roles import role_of
from common.study.schema import Schema

INVENTED, TIMES = 50, 4
"""Cells that are invented for a declared column, and how often each is repeated: what repeats is no identifier."""


def declared_role(column: TableColumn) -> ColumnRole:
    """Return the role of a declared column by its name and its declaration; no record is read."""
    if isinstance(column, Dated):
        return ColumnRole(Role.QUASI, SafeHarbor.DATES, "is declared as dates")
    values = column.invent(INVENTED, np.random.default_rng(0))
    cells = column.write(pd.DataFrame(values), {}).tolist() * TIMES
    return role_of(ColumnEvidence([*cells, column.outlying_cell], name=column.name))


def study_warnings(schema: Schema, raw: pd.DataFrame | None = None) -> list[str]:
    """Return a warning about each column that hospitals read and that identifies people, one about all that help to.

    Args:
        schema: the agreed columns. Columns that are never read, such as those of kind `identifier`, are no danger.
        raw: a hospital's table, whose cells say more than the declaration; None for none.
    """
    roles = {
        column.name: declared_role(column)
        if raw is None or column.name not in raw.columns
        else role_of(ColumnEvidence(raw[column.name].tolist(), name=column.name))
        for column in schema.columns
        if column.modeled
    }
    remedy = 'leave it out of the study, or declare kind = "identifier", which is never read'
    return [*_direct(roles, remedy), *_others(roles)]


def table_warnings(columns: Mapping[str, Iterable[str]], patient_column: str | None) -> list[str]:
    """Return warnings about the columns of a table that a site freezes.

    Args:
        columns: cells by column, of as many rows as are to be looked at.
        patient_column: column that identifies the patient, which has to be there.
    """
    roles = {
        name: role_of(ColumnEvidence(list(cells), name=name))
        for name, cells in columns.items()
        if name != patient_column
    }
    return [*_direct(roles, "export the table without it if no study needs it"), *_others(roles)]


def _direct(roles: Mapping[str, ColumnRole], remedy: str) -> list[str]:
    return [f"column '{name}' {role.sentence}; {remedy}" for name, role in roles.items() if role.is_direct]


def _others(roles: Mapping[str, ColumnRole]) -> list[str]:
    listed = [
        f"'{name}' ({role.category.letter})"
        for name, role in roles.items()
        if role.role is Role.QUASI and role.category is not None
    ]
    if not listed:
        return []
    return [
        f"HIPAA Safe Harbor lists dates, small places and ages above 89, as in {', '.join(listed)}; `fedsynth prepare` "
        "coarsens such columns before a table is used"
    ]
