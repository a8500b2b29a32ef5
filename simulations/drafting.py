"""A first draft of a study, read off a table. For public or simulated tables: no epsilon covers it."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tomli_w

from common.columns.cells import count_rows, each, is_missing, number_of, text_of
from common.columns.value_grid import MAX_GRID_SIZE
from common.errors import StudyError
from common.study.study import Study, parse_study
from common.tables.patients import first_rows
from common.tables.raw import refuse_empty

FEW = 12
"""Up to this many distinct numbers are labels; more are measurements."""
MOST_LABELS = 50
MOST_DECIMALS = 4
MOST_MULTIPLES = 4
SURPLUS = 0.1
"""A step is named where so many more of the values are its multiples than would be by chance."""
OTHER = "other"
SHARING = 3
"""With so many sites a draft shares the noise between them."""


def draft_study(
    raw: pd.DataFrame,
    *,
    target: str,
    name: str,
    patient_column: str | None = None,
    site_column: str | None = None,
    with_multiples: bool = True,
) -> tuple[Study, list[str]]:
    """A study whose schema fits the table, and what a person should look at before using it.

    Identifiers, constants, the patient column and the site column are left out. The target never counts as an
    identifier and is not missing: rows without it are not read, and have to be dropped from the table.

    Args:
        raw: a raw table; of several rows of a patient the first is read.
        name: of the study, a slug.
        with_multiples: say of numbers which steps they are often multiples of.

    Raises:
        DataError: the table has no rows.
        StudyError: a named column is not in the table, the target is constant, or too little is left for a study.
    """
    refuse_empty(raw, name)
    roles = {"target": target, "patient column": patient_column, "site column": site_column}
    for role, column in roles.items():
        if column is not None and column not in raw.columns:
            near = difflib.get_close_matches(column, list(raw.columns), n=1)
            hint = f"did you mean '{near[0]}'?" if near else "choose one of its columns"
            raise StudyError(f"{role} '{column}' is not in the table; {hint}")
    if target in (patient_column, site_column):
        raise StudyError(f"target '{target}' is the patient or site column as well; choose another")
    blank = sum(map(is_missing, raw[target]))
    known = raw[[not is_missing(cell) for cell in raw[target]]]
    rows = first_rows(known, patient_column)
    notices = [
        "the draft was read off the table: bounds, multiples, categories and missing flags are facts about its records"
    ]
    if blank:
        notices.append(
            f"target '{target}' is missing in {count_rows(blank)}, which were not read: drop them from the table, "
            "or declare missing = true"
        )
    if surplus := len(known) - len(rows):
        notices.append(f"{count_rows(surplus)} not read: only the first of each patient is")
    columns: list[dict[str, Any]] = []
    for column in rows.columns:
        if column in (patient_column, site_column):
            role = "patient" if column == patient_column else "site"
            notices.append(f"column '{column}' is left out: it names the {role}")
            continue
        drafted = _draft_column(column, rows[column].tolist(), is_target=column == target)
        if isinstance(drafted, dict):
            if not with_multiples:
                drafted.pop("multiples", None)
            columns.append(drafted)
            if "fallback" in drafted:
                notices.append(f"column '{column}' has more than {MOST_LABELS} labels: rare ones become '{OTHER}'")
        elif column == target:
            raise StudyError(f"target '{target}' cannot be predicted: {drafted}; choose another")
        else:
            notices.append(f"column '{column}' is left out: {drafted}")
    several = 0 if site_column is None else len({cell.strip() for cell in raw[site_column] if not is_missing(cell)})
    if several >= SHARING:
        notices.append(f"{several} sites share one draw of noise; for one site alone set [privacy] noise to 'local'")
    document = {
        "study": {"name": name, "origin": "drafted"},
        "schema": {"columns": columns},
        "privacy": {"epsilon": 3.0, "delta": _delta(len(rows)), "noise": _noise(several)},
        "federation": {"min_hospitals": 2},
        "evaluation": {"target": target},
    }
    return parse_study(tomli_w.dumps(document), source="the draft"), notices


def draft_text(study: Study, notices: list[str]) -> str:
    """The study file, headed by a warning and by the notices as comments."""
    warning = (
        "DRAFTED FROM RECORDS: bounds, multiples, categories, missing flags were read off a table. No epsilon covers",
        "them. Use this file with public or simulated tables only; hospitals refuse a drafted study. For real patients",
        'write the schema from the data dictionary, and only then remove origin = "drafted".',
        "",
        *(f"- {' '.join(notice.split())}" for notice in notices),
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in warning) + "\n" + study.to_toml()


def _draft_column(name: str, cells: list[str], *, is_target: bool) -> dict[str, Any] | str:
    """The column's entry in the schema, or why it is left out."""
    present = [cell.strip() for cell in cells if not is_missing(cell)]
    is_gappy = len(present) < len(cells)  # never the target, whose missing rows were not read
    numbers = np.array(each(present, number_of), dtype=np.float64)
    is_numeric = not bool(np.isnan(numbers).any())
    labels = Counter(each(numbers.tolist(), text_of) if is_numeric else present)
    if len(labels) + is_gappy < 2 or not labels:
        return "it is constant"
    if is_numeric and len(labels) > FEW:
        if not is_target and len(labels) == len(cells) and bool((numbers == np.round(numbers)).all()):
            return "it is a different whole number in every row, like an identifier"
        entry = _draft_bounds(numbers)
    elif not is_numeric and not is_target and len(labels) > len(present) / 2:
        return "more than half of its labels are distinct, like an identifier or free text"
    else:
        entry = _draft_categories(labels, is_numeric=is_numeric)
    return {"name": name, **entry} | ({"missing": True} if is_gappy else {})


def _draft_bounds(numbers: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Bounds rounded outwards to multiples of the power of ten just below the range (28 to 77 becomes 20 to 80),
    decimals and multiples."""
    tolerance = 1e-9 * np.maximum(1.0, np.abs(numbers))
    decimals = 0
    while decimals < MOST_DECIMALS and bool((np.abs(np.round(numbers, decimals) - numbers) > tolerance).any()):
        decimals += 1
    low, high = float(numbers.min()), float(numbers.max())
    step = 10.0 ** max(math.floor(math.log10(high - low)), -decimals)
    lower, upper = (round(edge * step, decimals) for edge in (math.floor(low / step), math.ceil(high / step)))
    entry = {"kind": "numeric", "lower": lower, "upper": upper, "decimals": decimals}
    can_count = max(abs(lower), abs(upper)) <= MAX_GRID_SIZE * 10.0**-decimals
    multiples = _draft_multiples(numbers, decimals, upper - lower) if can_count else []
    return entry | ({"multiples": multiples} if multiples else {})


def _draft_multiples(numbers: npt.NDArray[np.float64], decimals: int, span: float) -> list[float]:
    """Powers of ten, and five times them, that more values are multiples of than the steps found before explain.

    Zero, which is a multiple of everything, does not count.
    """
    values = np.round(numbers[numbers != 0] * 10.0**decimals)
    steps = [digit * 10**power for power in range(decimals + 3) for digit in (1, 5)]
    shares = {step: float((values % step == 0).mean()) for step in steps if 1 < step < span * 10.0**decimals}
    found: list[int] = []  # coarse to fine
    while len(found) < MOST_MULTIPLES:
        surplus = {step: share - _explained(step, found, shares) for step, share in shares.items() if step not in found}
        best = max(surplus, key=lambda step: surplus[step], default=None)
        if best is None or surplus[best] < SURPLUS:
            break
        found = sorted([*found, best], reverse=True)
    return [round(step / 10.0**decimals, decimals) for step in found]


def _explained(step: int, found: list[int], shares: dict[int, float]) -> float:
    """The share of multiples of a step if values between the next coarser and the next finer one found were evenly
    spread; everything where the three do not divide each other."""
    coarser = min((one for one in found if one > step), default=None)
    finer = max((one for one in found if one < step), default=1)
    if step % finer or (coarser is not None and coarser % step):
        return 1.0
    rare, above = (1 / coarser, shares[coarser]) if coarser is not None else (0.0, 0.0)
    below = shares.get(finer, 1.0)
    return above + (below - above) * (1 / step - rare) / (1 / finer - rare)


def _draft_categories(labels: Counter[str], *, is_numeric: bool) -> dict[str, Any]:
    """All labels in order; of more than `MOST_LABELS` the most frequent and "other"."""
    chosen = list(labels)
    if len(labels) > MOST_LABELS:
        ranked = sorted((label for label in labels if label != OTHER), key=lambda label: (-labels[label], label))
        chosen = ranked[: MOST_LABELS - 1]
    categories = sorted(chosen, key=number_of if is_numeric else None)
    if len(labels) > MOST_LABELS:
        return {"kind": "categorical", "categories": [*categories, OTHER], "fallback": OTHER}
    return {"kind": "categorical", "categories": categories}


def _noise(hospitals: int) -> str:
    """Shared where enough hospitals are known to take part."""
    return "distributed" if hospitals >= SHARING else "local"


def _delta(rows: int) -> float:
    """At most 1e-5, and a power of ten at most a tenth of 1 / rows."""
    return min(1e-5, float(f"1e-{math.ceil(math.log10(max(rows, 1))) + 1}"))
