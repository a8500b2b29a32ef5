"""A draft of a study from a table. For public or simulated tables only: no epsilon covers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import tomli_w

from common.columns.base import LONGEST_NAME, UnreadColumn
from common.columns.cells import count_rows, is_missing
from common.columns.drafting import ColumnEvidence, Draft, LeftOut, markers_of
from common.columns.drafting_commas import marked
from common.columns.drafting_dates import draft_since
from common.columns.kinds import KINDS
from common.columns.roles.roles import role_of
from common.errors import StudyError
from common.settings import unusable
from common.study.study import Study, parse_study
from common.tables.patients import first_rows
from common.tables.raw import near_name, refuse_empty
from simulations.federation.hospitals import slugify

SAME = 3
"""Columns from which on one line names all of which the same is true."""

SHOWN = 60
"""Characters of a long name that a notice shows."""

UNREAD_KINDS = frozenset(name for name, kind in KINDS.items() if issubclass(kind, UnreadColumn))
"""Kinds of columns whose cells no hospital reads."""


class ColumnRefused(StudyError):
    """A column cannot be drafted in the way that a person asks for. `column` is its name."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


SHARING = 3
"""Fewest sites with which a draft chooses shared noise."""


def draft_study(
    raw: pd.DataFrame,
    *,
    target: str,
    name: str,
    patient_column: str | None = None,
    site_column: str | None = None,
    with_multiples: bool = True,
    kinds: Mapping[str, str] = MappingProxyType({}),
    has_decimal_comma: bool = False,
    left_out: dict[str, str] | None = None,
) -> tuple[Study, list[str]]:
    """Return a study whose schema fits the table, and notices that a person should read before using it.

    Identifiers, constants, the patient column and the site column are left out. The target never counts as an
    identifier and is not missing: rows without it are not read, and have to be dropped from the table.

    Args:
        raw: a raw table; only the first row of each patient is read.
        target: column to predict.
        name: name of the study, a slug.
        patient_column: column that identifies the patient; None where every row is a patient.
        site_column: column that names the hospital; None where there is none.
        with_multiples: let numeric columns declare steps of which many values are multiples.
        kinds: column to the kind that it has, where a person knows better than the draft.
        has_decimal_comma: the file's numbers had a decimal comma before they were read.
        left_out: gets every column that is left out, with the reason.

    Raises:
        DataError: the table has no rows.
        ColumnRefused: a kind does not fit its column, or the target cannot be predicted.
        StudyError: a named column is not in the table, a kind is unknown, or too little is left for a study.
    """
    refuse_empty(raw, name)
    raw, unnamed = with_usable_names(raw)
    roles = {"target": target, "patient column": patient_column, "site column": site_column}
    check_roles(raw, roles, kinds)
    markers = markers_of([raw[column].tolist() for column in raw.columns])
    is_known = has_target(raw[target].tolist(), markers)
    rows, notices = _rows_to_read(raw, is_known, target, patient_column)
    notices += unnamed
    named = {patient_column: "patient", site_column: "site"}
    columns, without, of_columns = draft_columns(
        {
            column: ColumnEvidence(rows[column].tolist(), column == target, with_multiples, column, markers)
            for column in rows.columns
            if column not in named
        },
        kinds,
    )
    without = {name: f"it names the {role}" for name, role in named.items() if name is not None} | without
    notices += [f"column '{name}' is left out: {reason}" for name, reason in without.items()]
    notices += of_columns
    if left_out is not None:
        left_out |= without
    if has_decimal_comma:
        columns = [marked(entry) if entry.get("decimals") else entry for entry in columns]
        notices.append("numbers are written with a decimal comma, as in the table; without decimal, points are written")
    sites = 0 if site_column is None else len({cell.strip() for cell in raw[site_column] if not is_missing(cell)})
    if sites >= SHARING:
        notices.append(f"{sites} sites share one draw of noise; for one site alone set [privacy] noise to 'local'")
    document = {
        "study": {"name": name, "origin": "drafted"},
        "schema": {"columns": columns},
        "privacy": {
            "epsilon": 3.0,
            "delta": patient_delta(len(rows)),
            "noise": _noise(sites),
            "unit": _unit(patient_column),
        },
        "federation": {"min_hospitals": 2},
        "evaluation": {"target": target},
    }
    return parse_study(tomli_w.dumps(document), source="the draft"), notices


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


def _rows_to_read(
    raw: pd.DataFrame, is_known: list[bool], target: str, patient_column: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the first row with a target of each patient, and notices about the table and the rows left out.

    Args:
        raw: a raw table.
        is_known: whether each row has a target.
        target: the column to predict.
        patient_column: column that identifies the patient; None where every row is a patient.
    """
    blank, known = is_known.count(False), raw[is_known]
    rows = first_rows(known, patient_column)
    notices = [
        "the draft comes from the table: bounds, multiples, categories and missing flags are facts about its records"
    ]
    if blank:
        notices.append(
            f"target '{target}' is missing in {count_rows(blank)}, which were not read: drop them from the table, "
            "or declare missing = true"
        )
    if surplus := len(known) - len(rows):
        notices += [
            f"{count_rows(surplus)} not read: only the first of each patient is",
            "for a study of visits, name the column that orders them: --time COLUMN (docs/columns.md)",
        ]
    return rows, notices


def check_roles(raw: pd.DataFrame, roles: Mapping[str, str | None], kinds: Mapping[str, str]) -> None:
    """Refuse a named column that is not in the table, a target with a second role, and an unknown kind."""
    roles = {**roles, **{f"--kind {column}={kind}: column": column for column, kind in kinds.items()}}
    for role, column in roles.items():
        if column is not None and column not in raw.columns:
            raise StudyError(f"{role} '{column}' is not in the table; {near_name(column, list(raw.columns))}")
    target = roles["target"]
    for role in ("patient column", "site column", "time"):
        if target is not None and target == roles.get(role):
            raise ColumnRefused(target, f"target '{target}' is also the {role}; choose another")
    if roles.get("time") is not None and roles["time"] == roles["patient column"]:
        raise StudyError(f"patient column '{roles['time']}' is also the time; choose another")
    for column, kind in kinds.items():
        if kind not in KINDS:
            raise StudyError(f"--kind {column}={kind}: there is no such kind; choose from {', '.join(KINDS)}")


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
    return columns, left_out, [*_in_few_lines(notices), *draft_since(columns, evidences)]


def _in_few_lines(notices: list[tuple[str, str]]) -> list[str]:
    """Return notices with the names of their columns: one line for `SAME` and more of which the same is true."""
    columns: dict[str, list[str]] = {}
    for column, notice in notices:
        columns.setdefault(notice, []).append(f"'{column}'")
    lines = []
    for notice, names in columns.items():
        listed = (
            [f"each of the columns {', '.join(names)}"] if len(names) >= SAME else [f"column {name}" for name in names]
        )
        lines += [f"{subject} {notice}" for subject in listed]
    return lines


def draft_text(study: Study, notices: list[str]) -> str:
    """Return the text of the study file, with a warning and the notices as comments at the top."""
    warning = (
        "DRAFTED FROM RECORDS: bounds, multiples, categories, missing flags come from a table. No epsilon covers",
        "them. Use this file with public or simulated tables only; hospitals refuse a drafted study. For real patients",
        'write the schema from the data dictionary, and only then remove origin = "drafted".',
        "",
        *(f"- {' '.join(notice.split())}" for notice in notices),
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in warning) + "\n" + study.to_toml()


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
        return LeftOut(f"it {role.sentence}")
    drafts = (kind.draft(evidence) for kind in KINDS.values())
    return next((draft for draft in drafts if draft is not None), LeftOut("no kind of column recognizes it"))


def _unit(patient_column: str | None) -> str:
    return "record" if patient_column is None else "patient"


def _noise(hospitals: int) -> str:
    """Return the noise mode: shared if there are enough hospitals."""
    return "distributed" if hospitals >= SHARING else "local"


def patient_delta(rows: int) -> float:
    """Return delta: a power of ten, at most 1e-5 and at most a tenth of 1 / rows."""
    return min(1e-5, float(f"1e-{math.ceil(math.log10(max(rows, 1))) + 1}"))
