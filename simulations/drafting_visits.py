"""A draft of a study of visits from a table. For public or simulated tables only: no epsilon covers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.columns.cells import count_rows, is_missing, number_of
from common.columns.drafting import ColumnEvidence, Draft, LeftOut, markers_of
from common.errors import StudyError
from common.study.schema import FEWEST_VISITS, LONGEST_HISTORY
from common.tables.patients import first_rows
from common.tables.raw import refuse_empty
from common.tables.visits import moment
from simulations.drafting import (
    DraftedStudy,
    NamedColumns,
    check_roles,
    has_target,
    patient_delta,
    study_of,
    with_usable_names,
)
from simulations.drafting_columns import ColumnRefused, draft_column, draft_columns
from simulations.drafting_notices import notices_of_left_out

IN_FULL = 0.95
"""Fraction of patients whose visits are all kept where the draft chooses `most_visits`."""

HARDLY = 0.02
"""Fraction of patients with several visits; a column that varies within fewer may be meant as one of the patient."""

OF_RECORDS = (
    "the draft comes from the table: bounds, categories, missing flags, and what varies, are facts about records"
)
"""The first notice of every draft."""

TIMES = ("numeric", "date", "datetime")
"""Kinds of columns that can be the time of visits."""

NOT_OF_TIMES = ("missing_codes", "multiples", "below", "above")
"""Settings that the time of visits cannot have."""


def draft_visits(raw: pd.DataFrame, name: str, named: NamedColumns) -> DraftedStudy:
    """Return a study of visits whose schema fits the table.

    Every row is read. A column whose cells vary within no patient is one of the patient, any other one of the visit.

    Args:
        raw: a raw table, one row per visit.
        name: name of the study, a slug.
        named: what a person says of the columns, the time among them.

    Raises:
        DataError: the table has no rows.
        ColumnRefused: a kind does not fit its column, or the target cannot be predicted.
        StudyError: a named column is not in the table or cannot be used, no patient has several rows, or too little is
            left for a study.
    """
    time = named.time
    assert time is not None, "a table of visits"
    refuse_empty(raw, name)
    raw, notices = with_usable_names(raw)
    patient = named.patient or _patient_of(raw, time)
    named = replace(named, patient=patient)
    check_roles(raw, named)
    rows = _rows_of_patients(raw.drop(columns=[] if named.site is None else [named.site]), patient, notices)
    owners, _ = pd.factorize(pd.Series([cell.strip() for cell in rows[patient]], dtype=object))
    visits = np.bincount(owners)
    if not len(visits) or visits.max() < 2:
        raise StudyError(f"no patient has several rows by column '{patient}'; name another one, or leave out --time")
    most, of_length = _most_visits(visits, named.most_visits)
    time_columns, of_time, only_order = _time_column(rows, time, named.kinds)
    columns, of_columns, others = _columns(rows, owners, named)
    columns = sorted([*columns, *time_columns], key=lambda column: list(raw.columns).index(column["name"]))
    schema = {"patient": patient, "time": time, "most_visits": most, "columns": columns}
    privacy = {"delta": patient_delta(len(visits)), "noise": "local", "unit": "patient"}
    study = study_of(name, schema, privacy, named.target)
    left_out = {patient: named.not_drafted[patient]} | only_order | others | named.not_drafted
    of_clock = _clock(rows[time].tolist(), owners, time) if time_columns else []
    return DraftedStudy(study, (OF_RECORDS, *notices, *of_length, *of_time, *of_clock, *of_columns), left_out)


def _rows_of_patients(raw: pd.DataFrame, patient: str, notices: list[str]) -> pd.DataFrame:
    """Return the rows that have a patient; the notices get how many have none."""
    is_known = [not is_missing(cell) for cell in raw[patient]]
    if blank := is_known.count(False):
        notices.append(f"{count_rows(blank)} without a patient not read: hospitals refuse such a table")
    return raw[is_known].reset_index(drop=True)


def _patient_of(raw: pd.DataFrame, time: str) -> str:
    """Return the one column that looks like the identifier of patients with several rows, or raise `StudyError`."""
    names = [name for name in raw.columns if name != time]
    candidates = [name for name in names if ColumnEvidence(raw[name].tolist(), False, False, name).repeats_identifiers]
    if len(candidates) != 1:
        which = f"any of {', '.join(candidates)}" if candidates else "no column"
        raise StudyError(f"--time needs --patient-column: {which} looks like the identifier of patients; name it")
    return str(candidates[0])


def _most_visits(visits: Integers, asked: int | None) -> tuple[int, list[str]]:
    """Return the most visits of a patient that are kept, and a notice about patients with more.

    Args:
        visits: number of visits of every patient.
        asked: what a person asked for.
    """
    usual = math.ceil(float(np.quantile(visits, IN_FULL, method="higher")))
    most = min(max(usual, FEWEST_VISITS), LONGEST_HISTORY) if asked is None else asked
    surplus = int((visits > most).sum())
    lines = [f"most_visits = {most}: patients have {visits.min()} to {visits.max()} visits"]
    if surplus:
        lines.append(
            f"{surplus} of {len(visits)} patients have more than {most} visits, of which the first are kept: "
            'keep_visits = "last" or "thinned" keeps others'
        )
    return most, lines


def _time_column(
    rows: pd.DataFrame, time: str, kinds: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str], dict[str, str]]:
    """Return the time as a declared column, or as none where it only orders the visits; notices; why it is left out.

    Args:
        rows: a raw table of visits.
        time: its time column.
        kinds: kinds that a person names.
    """
    cells = rows[time].tolist()
    drafted = draft_column(ColumnEvidence(cells, False, False, time), kinds.get(time))
    match drafted:
        case Draft(settings, of_column, _) if settings["kind"] in TIMES:
            plain = {key: value for key, value in settings.items() if key not in NOT_OF_TIMES}
            lines = [f"column '{time}' {notice}" for notice in of_column]
            return [{"name": time, **plain}], [*lines, f"'{time}' is the time of the visits and is synthesized"], {}
        case LeftOut(reason):
            why = reason
        case _:
            why = f"it would be {drafted.settings['kind']}"
    if time in kinds:
        raise ColumnRefused(time, f"--kind {time}={kinds[time]}: as the time of the visits, {why}; choose another kind")
    if all(math.isnan(moment(cell)) for cell in cells):
        raise StudyError(
            f"time '{time}' cannot be read; write numbers or dates such as 2024-02-15, or name its kind with "
            f"--kind {time}=date"
        )
    only = f"only orders the visits and is not synthesized: {why}"
    return [], [f"'{time}' {only}"], {time: f"it {only}"}


def _clock(cells: list[str], owners: Integers, time: str) -> list[str]:
    """Return a notice where the times are numbers, and equally far apart within every patient.

    Args:
        cells: the time of every row.
        owners: number of the patient of every row.
        time: name of the time column.
    """
    moments = np.array([number_of(cell) for cell in cells])
    order = np.lexsort((moments, owners))
    between = np.unique(np.diff(moments[order])[np.diff(owners[order]) == 0].round(9))
    if len(between) != 1 or not between[0] > 0:  # a time that is no number gives NaN
        return []
    return [
        f"'{time}' is {between[0]:g} apart from row to row of every patient: interval = {between[0]:g} under [schema] "
        "keeps synthetic times so and spends no budget on them (docs/columns.md)"
    ]


def _columns(
    rows: pd.DataFrame, owners: Integers, named: NamedColumns
) -> tuple[list[dict[str, Any]], list[str], dict[str, str]]:
    """Return the columns of the patient and of the visit, notices, and why columns are left out.

    Args:
        rows: a raw table of visits.
        owners: number of the patient of every row.
        named: the target, the columns of patient and time, and kinds that a person names.
    """
    markers = markers_of([rows[column].tolist() for column in rows.columns])
    names = [name for name in rows.columns if name not in (named.patient, named.time)]
    varying = {name: _varying(rows[name].tolist(), owners) for name in names}
    static = {name: count == 0 for name, count in varying.items()}
    first = first_rows(rows, named.patient)
    known = has_target(rows[named.target].tolist(), markers)
    columns, notices, without = list[dict[str, Any]](), list[str](), dict[str, str]()
    for is_static, table in ((True, first), (False, rows)):
        cells = {name: table[name].tolist() for name in names if static[name] is is_static}
        if named.target in cells:
            is_known = has_target(cells[named.target], markers)
            cells[named.target] = [cell for cell, holds in zip(cells[named.target], is_known, strict=True) if holds]
        evidences = {
            name: ColumnEvidence(texts, name == named.target, True, name, markers) for name, texts in cells.items()
        }
        drafted, left_out, lines = draft_columns(evidences, named.kinds)
        columns += [column | ({"per": "patient"} if is_static else {}) for column in drafted]
        without |= left_out
        notices += notices_of_left_out(left_out) + lines
    if blank := known.count(False):
        columns = [column | ({"missing": True} if column["name"] == named.target else {}) for column in columns]
        notices.append(f"target '{named.target}' is missing at {count_rows(blank)}: it is declared with missing = true")
    held = [column["name"] for column in columns if column.get("per") == "patient"]
    listed = f"no cells vary within a patient in: {', '.join(held)}" if held else "every column varies within a patient"
    returning = int((np.bincount(owners) > 1).sum())
    hardly = [f"{name} ({count})" for name, count in varying.items() if 0 < count < HARDLY * returning]
    if hardly:
        notices.append(
            f"of the visit, but vary within few of the {returning} patients with several visits: {', '.join(hardly)}; "
            'declare per = "patient" where it is meant, and varying says which visit counts'
        )
    return columns, [listed, *notices], without


def _varying(cells: list[str], owners: Integers) -> int:
    """Return within how many patients the cells of a column vary."""
    numbers, _ = pd.factorize(pd.Series([cell.strip() for cell in cells], dtype=object))
    pairs = np.unique(np.stack([owners, numbers]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())
