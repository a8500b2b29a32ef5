"""Drafts of columns of dates: the format that reads every cell and writes it back, and whole years as bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.columns.cells import count_rows, read_date
from common.columns.drafting import ColumnEvidence, Draft

DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d", "%d-%m-%Y", "%d-%b-%Y",
                "%d%b%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y")  # fmt: skip
"""Formats of days that a draft tries, in order."""

TIME_FORMATS = tuple(
    f"{date}{separator}{time}"
    for date in ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d")
    for separator in (" ", "T")
    for time in ("%H:%M", "%H:%M:%S", "%H:%M:%SZ")
)
"""Formats of days with a time that a draft tries, in order."""

YEARS = range(1880, 2101)
"""Years of a column that is taken for one of dates."""

TRIED = 20
"""Texts on which a format is tried before it is tried on all."""

LONGEST = 25
"""Characters of a date."""

MOST_EARLY = 0.01
"""Largest part of the rows in which a date may lie before the one from which it counts."""

MOST_WORDS = 0.05
"""Largest part of the cells that may be no dates; they become missing."""


def draft_date(evidence: ColumnEvidence, *, formats: Sequence[str] = DATE_FORMATS, kind: str = "date") -> Draft | None:
    """Return the format and bounds of a column of dates; None for any other column.

    Args:
        evidence: the column.
        formats: formats to try.
        kind: kind of column that is drafted.
    """
    texts = [text for text in evidence.texts if text[-1:].isdigit() or text[-1:] == "Z"]
    if len(texts) < 2 or any(len(text) > LONGEST or len(text) < 6 for text in texts):
        return None
    others = evidence.present - sum(evidence.texts[text] for text in texts)
    if others > MOST_WORDS * evidence.present:
        return None
    fitting = {
        form: years for form in formats if _years(texts[:TRIED], form) and (years := _years(texts, form)) is not None
    }
    if not fitting:
        return None
    form, *other_forms = fitting
    first, last = datetime(fitting[form][0], 1, 1), datetime(fitting[form][1], 12, 31, 23, 59, 59)
    settings = {"kind": kind, "date_format": form, "lower": first.strftime(form), "upper": last.strftime(form)}
    if kind == "datetime":
        settings["resolution"] = "seconds" if "%S" in form else "minutes"
    notices = [f"holds dates, read as '{form}'"]
    if other_forms:
        notices.append(f"could as well be read as '{other_forms[0]}': see that '{form}' is right")
    if others:
        notices.append(f"holds text that is not a date in {count_rows(others)}, which becomes missing")
    return Draft(settings, tuple(notices), missing=others > 0)


def draft_datetime(evidence: ColumnEvidence) -> Draft | None:
    """Return the format and bounds of a column of dates with a time of day; None for any other column."""
    return draft_date(evidence, formats=TIME_FORMATS, kind="datetime")


def _years(texts: Sequence[str], form: str) -> tuple[int, int] | None:
    """Return the first and the last year, or None where the format does not read and write every text."""
    years = set()
    for text in texts:
        date = read_date(text, form)
        if date is None or date.year not in YEARS or date.strftime(form).lower() != text.lower():
            return None
        years.add(date.year)
    return min(years), max(years)


def draft_since(entries: Sequence[dict[str, Any]], evidences: Mapping[str, ColumnEvidence]) -> list[str]:
    """Let dates that hardly ever lie before an earlier column of dates count from it; return a notice about each.

    Args:
        entries: drafted columns with their names; dates among them are changed.
        evidences: the cells of every column.
    """
    notices = []
    dates = [entry for entry in entries if entry["kind"] == "date"]
    for index, entry in enumerate(dates):
        for other in dates[:index]:
            if "since" in other or (other.get("missing", False) and not entry.get("missing", False)):
                continue
            span = _days_between(other, entry, evidences)
            if span is None:
                continue
            for bound in ("lower", "upper"):
                del entry[bound]
            entry |= {"since": other["name"], "least": span.least, "most": span.most}
            notices.append(span.notice(entry["name"], other["name"]))
            break
    return notices


@dataclass(frozen=True, slots=True)
class Span:
    """Days from one column of dates to another.

    Attributes:
        least, most: bounds in days; `most` has two digits.
        early: rows in which the second date lies before the first.
    """

    least: int
    most: int
    early: int

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
    return Span(min(0, least) if least >= -most else 0, math.ceil(most / step) * step, early)
