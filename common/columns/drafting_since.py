"""Drafts of dates that count from another date of the same row: which ones, and within which bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import median
from typing import Any

from common.columns.cells import count_rows, read_date
from common.columns.drafting import ColumnEvidence

MOST_EARLY = 0.01
"""Largest part of the rows in which a date may lie before the one from which it counts."""


def draft_since(entries: Sequence[dict[str, Any]], evidences: Mapping[str, ColumnEvidence]) -> list[str]:
    """Let dates that hardly ever lie before another column of dates count from it; return a notice about each.

    The nearest pairs come first: a discharge counts from the admission, not from the birth. A column from which others
    count keeps its bounds.

    Args:
        entries: drafted columns with their names; dates among them are changed.
        evidences: the cells of every column.
    """
    dates = {entry["name"]: entry for entry in entries if entry["kind"] == "date"}
    spans = {
        (name, other): span
        for name, other in permutations(dates, 2)
        if dates[name].get("missing", False) or not dates[other].get("missing", False)
        if (span := _days_between(dates[other], dates[name], evidences)) is not None
    }
    chosen: dict[str, str] = {}
    for name, other in sorted(spans, key=lambda pair: spans[pair].usual):
        if name not in chosen and name not in chosen.values() and other not in chosen:
            chosen[name] = other
    notices = []
    for name, entry in dates.items():
        if name in chosen:
            span = spans[name, chosen[name]]
            for bound in ("lower", "upper"):
                del entry[bound]
            entry |= {"since": chosen[name], "least": span.least, "most": span.most}
            notices.append(span.notice(name, chosen[name]))
    return notices


@dataclass(frozen=True, slots=True)
class Span:
    """Days from one column of dates to another.

    Attributes:
        least, most: bounds in days; `most` has two digits.
        early: rows in which the second date lies before the first.
        usual: median of the days.
    """

    least: int
    most: int
    early: int
    usual: float

    def notice(self, name: str, other: str) -> str:
        """Return the notice about the columns of these names."""
        if not self.early:
            return f"column '{name}' is never before '{other}' and counts from it"
        fate = (
            f"least = {self.least} allows it; set least = 0 where it is a mistake" if self.least else "moved to its day"
        )
        return f"column '{name}' is before '{other}' in {count_rows(self.early)} only and counts from it: {fate}"


def _days_between(
    first: Mapping[str, Any], second: Mapping[str, Any], evidences: Mapping[str, ColumnEvidence]
) -> Span | None:
    """Return the days from the first date to the second; None where more than `MOST_EARLY` rows have another order.

    A second date without a first one would be lost. Rows out of order further than the others reach are mistakes.

    Args:
        first, second: settings of the two columns.
        evidences: the cells of every column.
    """
    read: tuple[dict[str, int | None], dict[str, int | None]] = ({}, {})
    apart = []
    rows = zip(evidences[first["name"]].cells, evidences[second["name"]].cells, strict=True)
    for row in rows:
        days: list[int | None] = []
        for cell, column, known in zip(row, (first, second), read, strict=True):
            if cell not in known:
                date = read_date(cell, column["date_format"])
                known[cell] = None if date is None else date.toordinal()
            days.append(known[cell])
        if days[0] is None and days[1] is not None:
            return None
        if days[0] is not None and days[1] is not None:
            apart.append(days[1] - days[0])
    least, most = min(apart, default=0), max(apart, default=0)
    early = sum(days < 0 for days in apart)
    if most <= 0 or early > MOST_EARLY * len(apart):
        return None
    step = int(10 ** max(0, math.floor(math.log10(most)) - 1))
    bound = min(0, least) if least >= -most else 0
    return Span(bound, math.ceil(most / step) * step, early, median(apart))
