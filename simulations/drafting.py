"""A draft of a study from a table. For public or simulated tables only: no epsilon covers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from common.columns.base import LONGEST_NAME
from common.columns.cells import count_rows, is_missing
from common.columns.drafting import ColumnEvidence, markers_of
from common.columns.drafting_commas import marked
from common.columns.kinds import KINDS
from common.errors import StudyError
from common.settings import unusable
from common.study.study import Study, parse_study
from common.tables.patients import first_rows
from common.tables.raw import near_name, refuse_empty
from simulations.drafting_columns import ColumnRefused, draft_columns
from simulations.drafting_notices import notices_of_left_out
from simulations.federation.hospitals import slugify

SHOWN = 60
"""Characters of a long name that a notice shows."""

SHARING = 3
"""Fewest sites with which a draft chooses shared noise."""


@dataclass(frozen=True, slots=True)
class NamedColumns:
    """What a person says of a table's columns.

    Attributes:
        target: column to predict.
        patient: column that identifies the patient. If it is None, every row is a patient; in a table of visits it is
            found by its name and its cells.
        site: column that names the hospital; None where there is none.
        time: column that orders the visits of a patient; None where every patient is one row.
        most_visits: most visits of a patient; chosen so that most patients keep all of theirs if None.
        kinds: column to the kind that it has, where a person knows better than the draft.
    """

    target: str
    patient: str | None = None
    site: str | None = None
    time: str | None = None
    most_visits: int | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, str | None]:
        """The columns that have a role besides being one of the study, by its name."""
        return {"target": self.target, "patient column": self.patient, "site column": self.site, "time": self.time}

    @property
    def not_drafted(self) -> dict[str, str]:
        """Columns that a study leaves out, and why."""
        named = {self.patient: "patient", self.site: "site"}
        return {column: f"it names the {role}" for column, role in named.items() if column is not None}


FEWEST_COLUMNS = 2
"""Fewest columns of a study."""

BYTE_ORDER_MARK = "\ufeff"
"""Stands before the header of each file that was joined to a longer one."""


@dataclass(frozen=True, slots=True)
class DraftedStudy:
    """A study that was drafted from a table.

    Attributes:
        study: the study.
        notices: what a person should read before using it.
        left_out: every column that is left out, and why.
    """

    study: Study
    notices: tuple[str, ...]
    left_out: Mapping[str, str]


def draft_study(
    raw: pd.DataFrame,
    name: str,
    named: NamedColumns,
    *,
    with_multiples: bool = True,
    has_decimal_comma: bool = False,
) -> DraftedStudy:
    """Return a study whose schema fits the table.

    Identifiers, constants, the patient column and the site column are left out. The target never counts as an
    identifier and is not missing: rows without it are not read, and have to be dropped from the table.

    Args:
        raw: a raw table; only the first row of each patient is read.
        name: name of the study, a slug.
        named: what a person says of the columns.
        with_multiples: let numeric columns declare steps of which many values are multiples.
        has_decimal_comma: the file's numbers had a decimal comma before they were read.

    Raises:
        DataError: the table has no rows.
        ColumnRefused: a kind does not fit its column, or the target cannot be predicted.
        StudyError: a named column is not in the table, a kind is unknown, or too little is left for a study.
    """
    refuse_empty(raw, name)
    raw, unnamed = with_usable_names(raw)
    check_roles(raw, named)
    markers = markers_of([raw[column].tolist() for column in raw.columns])
    raw, notices = _without_repeated_headers(raw)
    rows, of_rows = _rows_to_read(raw, has_target(raw[named.target].tolist(), markers), named)
    evidences = {
        column: ColumnEvidence(rows[column].tolist(), column == named.target, with_multiples, column, markers)
        for column in rows.columns
        if column not in named.not_drafted
    }
    columns, without, of_columns = draft_columns(evidences, named.kinds)
    left_out = named.not_drafted | without
    notices += [*of_rows, *unnamed, *notices_of_left_out(left_out), *of_columns]
    _refuse_few(len(columns), without)
    if has_decimal_comma:
        columns = [marked(entry) if entry.get("decimals") else entry for entry in columns]
        notices.append("numbers are written with a decimal comma, as in the table; without decimal, points are written")
    sites = _sites(raw, named)
    if sites >= SHARING:
        notices.append(f"{sites} sites share one draw of noise; for one site alone set [privacy] noise to 'local'")
    privacy = {"noise": "distributed" if sites >= SHARING else "local", "unit": _unit(named)}
    study = study_of(name, {"columns": columns}, privacy | {"delta": patient_delta(len(rows))}, named.target)
    return DraftedStudy(study, tuple(notices), left_out)


def _without_repeated_headers(raw: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table without rows that repeat its header, as joined files have them, and a notice of these rows."""
    is_header = np.full(len(raw), raw.shape[1] >= FEWEST_COLUMNS)
    for name in raw.columns:
        is_header &= np.array([cell.replace(BYTE_ORDER_MARK, "") == name for cell in raw[name]], dtype=bool)
        if not is_header.any():
            return raw, []
    rows = count_rows(int(is_header.sum()))
    notice = f"the header is repeated in {rows}, left out of the draft: remove the repeated header from the table"
    return raw[~is_header].reset_index(drop=True), [notice]


def _refuse_few(columns: int, left_out: Mapping[str, str]) -> None:
    """Raise `StudyError` if a draft keeps too few columns; the text says why the others are left out."""
    if columns >= FEWEST_COLUMNS:
        return
    reasons = "; ".join(f"'{column}': {reason}" for column, reason in left_out.items()) or "the table has no other"
    raise StudyError(
        f"a study needs {FEWEST_COLUMNS} columns, and the draft keeps {columns}: {reasons}; add a column, or name the "
        "kind of one with --kind COLUMN=KIND"
    )


def study_of(name: str, schema: Mapping[str, Any], privacy: Mapping[str, Any], target: str) -> Study:
    """Return a drafted study.

    Args:
        name: name of the study.
        schema: its section `[schema]`.
        privacy: its section `[privacy]`, but for epsilon.
        target: column to predict.

    Raises:
        StudyError: too little is left for a study.
    """
    document = {
        "study": {"name": name, "origin": "drafted"},
        "schema": schema,
        "privacy": {"epsilon": 3.0, **privacy},
        "federation": {"min_hospitals": 2},
        "evaluation": {"target": target},
    }
    return parse_study(tomli_w.dumps(document), source="the draft")


def study_name(table: Path) -> str:
    """Return the name of a study of this table where a person gives none: that of the file."""
    return slugify(table.name.split(".")[0]) or "study"


def with_usable_names(raw: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table without columns whose names no study can hold, and a notice about each."""
    notices, usable = [], []
    for index, name in enumerate(map(str, raw.columns)):
        problem = unusable(name, LONGEST_NAME)
        usable.append(problem is None)
        if problem is not None:
            shown = "".join(mark if mark.isprintable() else f"[U+{ord(mark):04X}]" for mark in name)
            shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
            notices.append(f"column {index + 1}, '{shown}', is left out: its name {problem}; rename it in the table")
    return raw.loc[:, usable], notices


def has_target(cells: list[str], markers: frozenset[str]) -> list[bool]:
    """Return which rows have a target; a word such as None may be one of its labels."""
    answers = ColumnEvidence(cells, markers=markers).answers
    return [cell.strip() in answers or not is_missing(cell) for cell in cells]


def _rows_to_read(raw: pd.DataFrame, is_known: list[bool], named: NamedColumns) -> tuple[pd.DataFrame, list[str]]:
    """Return the first row with a target of each patient, and notices about the table and the rows left out.

    Args:
        raw: a raw table.
        is_known: whether each row has a target.
        named: the target, and the column that identifies the patient.
    """
    blank, known = is_known.count(False), raw[is_known]
    rows = first_rows(known, named.patient)
    notices = [
        "the draft comes from the table: bounds, multiples, categories and missing flags are facts about its records"
    ]
    if blank:
        notices.append(
            f"target '{named.target}' is missing in {count_rows(blank)}, which were not read: drop them from the "
            "table, or declare missing = true"
        )
    if surplus := len(known) - len(rows):
        notices += [
            f"{count_rows(surplus)} not read: only the first of each patient is",
            "for a study of visits, name the column that orders them: --time COLUMN (docs/columns.md)",
        ]
    return rows, notices


def check_roles(raw: pd.DataFrame, named: NamedColumns) -> None:
    """Refuse a named column that is not in the table, a target with a second role, and an unknown kind.

    Raises:
        ColumnRefused: the target has a second role.
        StudyError: a column is not in the table, or a kind is unknown.
    """
    kinds = {f"--kind {column}={kind}: column": column for column, kind in named.kinds.items()}
    for role, column in (named.roles | kinds).items():
        if column is not None and column not in raw.columns:
            raise StudyError(f"{role} '{column}' is not in the table; {near_name(column, list(raw.columns))}")
    for role, column in named.roles.items():
        if role != "target" and column == named.target:
            raise ColumnRefused(named.target, f"target '{named.target}' is also the {role}; choose another")
    if named.time is not None and named.time == named.patient:
        raise StudyError(f"patient column '{named.time}' is also the time; choose another")
    for column, kind in named.kinds.items():
        if kind not in KINDS:
            raise StudyError(f"--kind {column}={kind}: there is no such kind; choose from {', '.join(KINDS)}")


def _unit(named: NamedColumns) -> str:
    return "record" if named.patient is None else "patient"


def _sites(raw: pd.DataFrame, named: NamedColumns) -> int:
    """Return the number of sites that the table names; 0 without a site column."""
    return 0 if named.site is None else len({cell.strip() for cell in raw[named.site] if not is_missing(cell)})


def patient_delta(rows: int) -> float:
    """Return delta: a power of ten, at most 1e-5 and at most a tenth of 1 / rows."""
    return min(1e-5, float(f"1e-{math.ceil(math.log10(max(rows, 1))) + 1}"))
