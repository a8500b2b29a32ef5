"""Warnings about identifiers among the columns that a study reads or a site freezes: for the table's owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from common.columns.base import TableColumn
from common.columns.date import Dated
from common.columns.drafting import ColumnEvidence
from common.columns.numeric import Numeric
from common.columns.roles.categories import Coarsening, ColumnRole, Role, SafeHarbor
from common.columns.roles.roles import OLDEST, role_of
from common.images.cells import are_pixels
from common.study.schema import Schema
from common.tables.preparing import is_above_oldest, is_coarse

INVENTED, TIMES = 50, 4
"""Cells that are invented for a declared column, and how often each is repeated: what repeats is no identifier."""


def declared_role(column: TableColumn) -> ColumnRole:
    """Return the role of a declared column by its name and its declaration; no record is read."""
    if isinstance(column, Dated):
        return ColumnRole(Role.QUASI, SafeHarbor.DATES, "is declared as dates")
    return role_of(ColumnEvidence(_invented(column), name=column.name))


def _invented(column: TableColumn) -> list[str]:
    """Return cells that a declared column may hold."""
    values = column.invent(INVENTED, np.random.default_rng(0))
    return [*(column.write(pd.DataFrame(values), {}).tolist() * TIMES), column.outlying_cell]


def _finding(role: ColumnRole, *, is_coarse: bool) -> ColumnRole:
    """Return the role without its item of Safe Harbor where the column is coarse enough."""
    return replace(role, category=None) if is_coarse and role.role is Role.QUASI else role


def _declared_finding(column: TableColumn) -> ColumnRole:
    """Return the role of a declared column, with an item of Safe Harbor only where the declaration is too fine.

    Bounds of years of birth are rounded, so they do not say that anyone is above 89: only cells do.
    """
    role = declared_role(column)
    if isinstance(column, Dated):
        return role
    if isinstance(column, Numeric) and role.coarsening is Coarsening.AGE:
        is_bounded = column.above is not None and is_above_oldest(column.above) and column.upper <= OLDEST + 1
        return _finding(role, is_coarse=is_bounded)
    return _finding(role, is_coarse=is_coarse(_invented(column), role, this_year=OLDEST + 1))


def _cell_finding(name: str, cells: list[str]) -> ColumnRole:
    """Return the role of a column of a table, with an item of Safe Harbor only where `prepare` would change it.

    Pixels differ in every row and are no code of a person: a column of images has the role of its name.
    """
    if are_pixels(cells):
        return role_of(ColumnEvidence([], name=name))
    role = role_of(ColumnEvidence(cells, name=name))
    return _finding(role, is_coarse=is_coarse(cells, role))


def study_warnings(schema: Schema, raw: pd.DataFrame | None = None) -> list[str]:
    """Return a warning about each column that hospitals read and that identifies people, one about all that help to.

    Args:
        schema: the agreed columns. Columns that are never read, such as those of kind `identifier`, are no danger.
        raw: a hospital's table, whose cells say more than the declaration; None for none.
    """
    roles = {
        column.name: _declared_finding(column)
        if raw is None or column.name not in raw.columns
        else _cell_finding(column.name, raw[column.name].tolist())
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
    roles = {name: _cell_finding(name, list(cells)) for name, cells in columns.items() if name != patient_column}
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
    has_ages = any(role.category is not None and role.coarsening is Coarsening.AGE for role in roles.values())
    ages = '; in a study, such ages have upper = 89 and above = "90+"' if has_ages else ""
    return [
        f"HIPAA Safe Harbor lists dates, small places and ages above 89, as in {', '.join(listed)}; `fedsynth prepare` "
        f"coarsens such columns before a table is used{ages}"
    ]
