"""Preparing a table: direct identifiers are dropped, quasi-identifiers of HIPAA Safe Harbor are made coarser.

This is preprocessing and gives no guarantee: rare combinations of what stays can still single out a person.

Source: 45 CFR 164.514(b)(2)(i)(B) and (C); the prefixes of three digits that hold 20,000 people or fewer in the Census
of 2000 are those of the guidance of the US Department of Health and Human Services of 2012.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from common.columns.cells import censored, date_of, each, is_missing
from common.columns.drafting import ANSWERS, ColumnEvidence
from common.columns.drafting_dates import draft_datetime, draft_day
from common.columns.roles.categories import Coarsening, ColumnRole
from common.columns.roles.cells import age_of
from common.columns.roles.roles import OLDEST, role_of
from common.errors import StudyError
from common.tables.raw import near_name

SMALL_PREFIXES = frozenset(
    {
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    }
)
"""ZIP prefixes with 20,000 people or fewer; Safe Harbor writes 000 for them."""

OLD = "90+"
"""What is written for ages above 89."""

YEAR = re.compile(r"(?<!\d)(?:18|19|20|21)\d\d(?!\d)")
LONG_ZIP = re.compile(r"(\d{5})-?\d{4}")


@dataclass(frozen=True, slots=True)
class PreparedColumn:
    """What was done to one column.

    Attributes:
        column: its name.
        role: its role.
        action: what was done, in words; it holds no cell.
    """

    column: str
    role: ColumnRole
    action: str


def prepare_table(
    raw: pd.DataFrame, *, keep: Collection[str] = (), this_year: int | None = None
) -> tuple[pd.DataFrame, list[PreparedColumn]]:
    """Return the table without direct identifiers and with coarser quasi-identifiers, and one step per column.

    Args:
        raw: a raw table.
        keep: columns that stay as they are, because a person knows better.
        this_year: the year from which birth years of people above 89 are told; None for the present one.

    Raises:
        StudyError: a column to keep is not in the table, or no column is left.
    """
    for name in keep:
        if name not in raw.columns:
            raise StudyError(f"--keep '{name}' is not a column of the table; {near_name(name, list(raw.columns))}")
    year = this_year or date.today().year
    columns: dict[str, list[str]] = {}
    steps = []
    for name in raw.columns:
        cells = raw[name].tolist()
        role = role_of(ColumnEvidence(cells, name=name))
        coarser, action = (cells, "kept, as asked") if name in keep else _prepared(cells, role, year)
        steps.append(PreparedColumn(name, role, action))
        if coarser is not None:
            columns[name] = coarser
    if not columns:
        raise StudyError("every column is a direct identifier, so nothing is left; --keep COLUMN keeps one")
    return pd.DataFrame(columns, index=raw.index, dtype=object), steps


def is_coarse(cells: Sequence[str], role: ColumnRole, this_year: int | None = None) -> bool:
    """Return whether a quasi-identifier is as coarse as `prepare_table` makes it.

    Args:
        cells: cells of one column.
        role: its role.
        this_year: as in `prepare_table`.
    """
    if role.coarsening is None:
        return False
    texts = [cell.strip().removesuffix(".0") for cell in set(cells) if not is_missing(cell)]
    if role.coarsening is Coarsening.AGE:
        return all(age_of(text) <= OLDEST or is_above_oldest(text) for text in texts)
    coarser, _ = COARSEN[role.coarsening](texts, this_year or date.today().year)
    return coarser == texts


def is_above_oldest(text: str) -> bool:
    """Return whether a text says that an age is above 89 and no more, such as "90+" or "> 89"."""
    limit = censored(text)
    return limit is not None and limit[0] > 0 and age_of(text) == OLDEST + 1


def _prepared(cells: list[str], role: ColumnRole, year: int) -> tuple[list[str] | None, str]:
    """Return the new cells, None for none, and what was done.

    Args:
        cells: cells of one column.
        role: its role.
        year: the present year.
    """
    if role.is_direct:
        return None, "dropped"
    if role.coarsening is None:
        return cells, "kept"
    return COARSEN[role.coarsening](cells, year)


def _years(cells: list[str], year: int) -> tuple[list[str], str]:
    return each(cells, _year_of(cells)), "dates cut to the year; other texts emptied"


def _birth_years(cells: list[str], year: int) -> tuple[list[str], str]:
    """Return years of birth; those of people who may be above 89 become the latest of them."""
    latest = year - OLDEST - 1
    year_of = _year_of(cells)

    def bounded(cell: str) -> str:
        born = year_of(cell)
        return str(max(int(born), latest)) if born else ""

    return each(
        cells, bounded
    ), f"dates cut to the year, {latest} for earlier ones (above {OLDEST}); other texts emptied"


def _year_of(cells: Sequence[str]) -> Callable[[str], str]:
    """Return a function that gives the year of a cell, "" where it holds none; the column's format decides."""
    evidence = ColumnEvidence(cells, markers=ANSWERS)
    draft = draft_day(evidence) or draft_datetime(evidence)
    form = None if draft is None else str(draft.settings["date_format"])

    def year_of(cell: str) -> str:
        moment = None if form is None else date_of(cell, form)
        if moment is not None:
            return str(moment.year)
        years = YEAR.findall(cell)
        return years[0] if len(years) == 1 else ""

    return year_of


def _ages(cells: list[str], year: int) -> tuple[list[str], str]:
    return each(
        cells, lambda cell: OLD if age_of(cell.strip()) > OLDEST else cell
    ), f"ages above {OLDEST} written as {OLD}"


def _postal(cells: list[str], year: int) -> tuple[list[str], str]:
    """Return the first three digits of codes of five, 000 for `SMALL_PREFIXES`, and two characters of others."""
    lengths = {len(cell.strip()) for cell in cells if cell.strip().isdigit()}
    lost_zero = 5 in lengths and lengths <= {3, 4, 5}

    def coarser(cell: str) -> str:
        text = cell.strip()
        if is_missing(text):
            return ""
        if lost_zero and text.isdigit():
            text = text.zfill(5)
        if match := LONG_ZIP.fullmatch(text):
            text = match.group(1)
        if text.isdigit() and len(text) == 5:
            return "000" if text[:3] in SMALL_PREFIXES else text[:3]
        return text[:2]

    return each(cells, coarser), "first three digits (000 where few live), or the first two characters of other codes"


def _drop(cells: list[str], year: int) -> tuple[None, str]:
    return None, "dropped: no coarser place is known"


def _drop_part(cells: list[str], year: int) -> tuple[None, str]:
    return None, "dropped: a month or a day without its year cannot be cut to a year"


COARSEN: dict[Coarsening, Callable[[list[str], int], tuple[list[str] | None, str]]] = {
    Coarsening.YEAR: _years,
    Coarsening.BIRTH_YEAR: _birth_years,
    Coarsening.AGE: _ages,
    Coarsening.POSTAL: _postal,
    Coarsening.DROP: _drop,
    Coarsening.DATE_PART: _drop_part,
}
"""What is done to cells, given the present year."""
