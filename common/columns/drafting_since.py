"""Drafts of dates that count from another date of the same row: which ones, and within which bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.cells import count_rows, date_of, each
from common.columns.drafting import ColumnEvidence

MOST_EARLY = 0.01
"""Largest fraction of the rows in which a date may lie before the one from which it counts."""


def draft_since(entries: Sequence[dict[str, Any]], evidences: Mapping[str, ColumnEvidence]) -> list[str]:
    """Let dates that hardly ever lie before another column of dates count from it; return a notice about each.

    The nearest pairs come first: a discharge counts from the admission, not from the birth. A column from which others
    count keeps its bounds. A date counts from another only where that narrows it: admissions of four years are known
    better as such than as a birth and an age.

    Args:
        entries: drafted columns with their names; dates among them are changed.
        evidences: the cells of every column.
    """
    dates = {entry["name"]: entry for entry in entries if entry["kind"] == "date" and "resolution" not in entry}
    days = {name: _days_of(entry, evidences[name]) for name, entry in dates.items()}
    spans = {
        (name, other): span
        for name, other in permutations(dates, 2)
        if dates[name].get("missing", False) or not dates[other].get("missing", False)
        if (span := _days_between(days[other], days[name])) is not None
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


def _days_of(entry: Mapping[str, Any], evidence: ColumnEvidence) -> Floats:
    """Return the days of a column of dates, counted from year 1, shape (rows,); NaN where a cell is no date.

    Args:
        entry: settings of the column.
        evidence: its cells.
    """
    dates = each(evidence.cells, partial(date_of, form=entry["date_format"]))
    return np.array([math.nan if date is None else date.toordinal() for date in dates], dtype=np.float64)


def _days_between(first: Floats, second: Floats) -> Span | None:
    """Return the days from the first date to the second; None where more than `MOST_EARLY` rows have another order.

    A second date without a first one would be lost. Rows out of order further than the others reach are mistakes.
    None, too, where the days apart reach as far as the second date itself.

    Args:
        first, second: the days of the two columns, as `_days_of` returns them.
    """
    is_known = ~np.isnan(second)
    if (np.isnan(first) & is_known).any():
        return None
    apart = (second - first)[is_known]
    if not (apart > 0).any() or apart.max() >= np.ptp(second[is_known]):
        return None
    least, most, early = int(apart.min()), int(apart.max()), int((apart < 0).sum())
    if early > MOST_EARLY * len(apart):
        return None
    step = int(10 ** max(0, math.floor(math.log10(most)) - 1))
    bound = min(0, least) if least >= -most else 0
    return Span(bound, math.ceil(most / step) * step, early, float(np.median(apart)))
