"""Drafts of columns of dates: the format that reads every cell and writes it back, and whole years as bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from common.columns.cells import OFFSET, count_rows, read_date, standard_date
from common.columns.drafting import ColumnEvidence, Draft

DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d", "%d-%m-%Y", "%d-%b-%Y",
                "%d%b%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%B %d, %Y",
                "%b %d, %Y", "%d%m%Y", "%m%d%Y", "%y%m%d", "%d%m%y")  # fmt: skip
"""Formats of days that a draft tries, in order."""

TIME_FORMATS = tuple(
    f"{date}{separator}{time}"
    for date in ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d")
    for separator in (" ", "T")
    for time in ("%H:%M", "%H:%M:%S", "%H:%M:%SZ")
)
"""Formats of days with a time that a draft tries, in order."""

MONTH_FORMATS = ("%Y-%m", "%m/%Y", "%Y/%m", "%m.%Y", "%b %Y", "%B %Y")
"""Formats of months that a draft tries, in order."""

DIGITS_ONLY = re.compile(r"\d+")
"""A date without marks, which a number may be by chance."""

LEAST_DIGITS_ONLY = 10
"""Fewest distinct dates of a column of dates without marks and without century."""

YEARS = range(1880, 2101)
"""Years in which the dates of a drafted column lie."""

MIDNIGHT = " 00:00:00"
"""End of the text of a date that a typed file holds as a time."""

FRACTION = re.compile(r"(?<=:\d\d)\.\d+")
"""A fraction of a second."""

ANY_OFFSET = re.compile(r"(?<=:\d\d) ?(?:Z|[+-]\d\d(?::?\d\d)?)$")
"""An offset from UTC behind a time."""

TRIED = 20
"""Texts on which a format is tried before it is tried on all."""

SHORTEST, LONGEST = 6, 25
"""Characters of a date."""

MOST_MARKERS, MOST_MARKED = 3, 0.3
"""Texts that are no dates and stand for a missing one, and the largest fraction of the cells that they may be."""

LEADING_ZERO = re.compile(r"\b0(?=\d)")
"""The zero before a day or month of one digit, which some programs leave out."""

USUAL_MARKERS = ("01-01", "12-31", "12-30", "11-11", "09-09")
"""Days that stand for an unknown date, such as 1900-01-01, where they are far from the others."""

FAR = 2
"""A day is far from the others if it is further off than this many times their range."""

MOST_WORDS = 0.05
"""Largest fraction of the cells that are not dates; they become missing."""


def draft_date(evidence: ColumnEvidence, *, formats: Sequence[str] = DATE_FORMATS, kind: str = "date") -> Draft | None:
    """Return the format and bounds of a column of dates; None for any other column.

    Args:
        evidence: the column.
        formats: formats to try.
        kind: kind of column that is drafted.
    """
    texts = [
        text for text in evidence.texts if SHORTEST <= len(text) <= LONGEST and (text[-1].isdigit() or text[-1] == "Z")
    ]
    if len(texts) < 2:
        return None
    fitting = {form: odd for form in formats if (odd := _odd_texts(evidence, texts, form)) is not None}
    if not fitting:
        return None
    form, *other_forms = fitting
    odd = fitting[form]
    days = {text: day for text in texts if text not in odd and (day := read_date(text, form)) is not None}
    first, last = datetime(min(days.values()).year, 1, 1), datetime(max(days.values()).year, 12, 31, 23, 59, 59)
    settings = {"kind": kind, "date_format": form, "lower": first.strftime(form), "upper": last.strftime(form)}
    if kind == "datetime":
        settings["resolution"] = "seconds" if "%S" in form else "minutes"
    notices = [f"holds dates, read as '{form}'"]
    if other_forms:
        notices.append(f"could as well be read as '{other_forms[0]}': see that '{form}' is right")
    if "%y" in form:
        notices.append("has years of two digits: 69 to 99 are read as 1969 to 1999, the others as 2000 to 2068")
    if any(day.strftime(form).lower() != text.lower() for text, day in days.items()):
        notices.append(f"has days or months without a zero in front, written as '{form}' writes them")
    notices += _of_odd_texts(evidence, form, odd) + _of_far_days(evidence, days)
    return Draft(settings, tuple(notices), missing=any(read_date(text, form) is None for text in odd))


def draft_day(evidence: ColumnEvidence) -> Draft | None:
    """Return the format and bounds of a column of days; None for any other column.

    Times that are always midnight make a column of days, as typed files hold them.
    """
    moments = _moments(evidence)
    if not moments or not all(text.endswith(MIDNIGHT) for text in moments):
        return draft_date(evidence)
    draft = draft_date(_rewritten(evidence, {text: text[:10] for text in moments}))
    return _with_notice(draft, "has times of day that are all midnight, and is taken for dates")


def draft_month(evidence: ColumnEvidence) -> Draft | None:
    """Return the format and bounds of a column of months; None for any other column."""
    draft = draft_date(evidence, formats=MONTH_FORMATS)
    return None if draft is None else replace(draft, settings=draft.settings | {"resolution": "months"})


def draft_datetime(evidence: ColumnEvidence) -> Draft | None:
    """Return the format and bounds of a column of dates with a time of day; None for any other column."""
    return draft_date(evidence, formats=TIME_FORMATS, kind="datetime") or _draft_standard(evidence)


def _draft_standard(evidence: ColumnEvidence) -> Draft | None:
    """Return the settings of a column of times with offsets from UTC or fractions of a second; None for any other.

    An offset that all times have becomes part of the format; of several, none does.
    """
    parts = {text: FRACTION.sub("", text) for text in _moments(evidence)}
    if not parts:
        return None
    offsets = {match[0] if (match := OFFSET.search(text)) else "" for text in parts}
    offset = offsets.pop() if len(offsets) == 1 else ""
    if not offset:
        parts = {text: ANY_OFFSET.sub("", plain) for text, plain in parts.items()}
    formats = tuple(f"%Y-%m-%d{separator}{form}{offset}" for separator in " T" for form in ("%H:%M", "%H:%M:%S"))
    draft = draft_date(_rewritten(evidence, parts), formats=formats, kind="datetime")
    return draft if offset else _with_notice(draft, "has offsets from UTC or fractions of seconds, which are left out")


def _moments(evidence: ColumnEvidence) -> list[str]:
    """Return the texts of a column that have the form `STANDARD` of `common.columns.cells`, with a time of day."""
    return [text for text in evidence.texts if len(text) > len("2020-01-31") and standard_date(text) is not None]


def _rewritten(evidence: ColumnEvidence, texts: Mapping[str, str]) -> ColumnEvidence:
    """Return the column with other texts for some of its texts."""
    return replace(evidence, cells=[texts.get(cell.strip(), cell) for cell in evidence.cells])


def _with_notice(draft: Draft | None, notice: str) -> Draft | None:
    """Return the draft with one more notice."""
    return None if draft is None else replace(draft, notices=(*draft.notices, notice))


def _odd_texts(evidence: ColumnEvidence, texts: Sequence[str], form: str) -> frozenset[str] | None:
    """Return the texts that are no dates of the column; None where they are too many for one of this format.

    Args:
        evidence: the column.
        texts: those that may be dates.
        form: the format.
    """
    some = texts[:TRIED]
    if sum(_is_date(text, form) for text in some) < len(some) / 2:
        return None
    fitting = {text for text in texts if _is_date(text, form)}
    if len(fitting) < (LEAST_DIGITS_ONLY if "%y" in form and DIGITS_ONLY.fullmatch(some[0]) else 2):
        return None
    odd = frozenset(evidence.texts.keys() - fitting)
    cells = sum(evidence.texts[text] for text in odd)
    is_few = cells <= MOST_WORDS * evidence.present or (
        len(odd) <= MOST_MARKERS and cells <= MOST_MARKED * evidence.present
    )
    return odd if is_few else None


def _is_date(text: str, form: str) -> bool:
    """Return whether the format reads the text, as a day of our times, and writes it back, but for zeros in front."""
    date = read_date(text, form)
    if date is None or date.year not in YEARS:
        return False
    again, text = date.strftime(form).lower(), text.lower()
    return again == text or LEADING_ZERO.sub("", again) == LEADING_ZERO.sub("", text)


def _of_odd_texts(evidence: ColumnEvidence, form: str, odd: Iterable[str]) -> list[str]:
    """Return notices about the texts that are no dates of the column.

    Args:
        evidence: the column.
        form: its format.
        odd: these texts.
    """
    words = [text for text in odd if read_date(text, form) is None]
    notices = [
        f"holds '{text}' in {count_rows(evidence.texts[text])}, a day in no year of our times, which moves to a bound; "
        "if it means missing, remove it from the table"
        for text in sorted(set(odd) - set(words))
    ]
    if rows := sum(evidence.texts[text] for text in words):
        named = ", such as '" + "', '".join(sorted(words)) + "'" if len(words) <= MOST_MARKERS else ""
        notices.append(f"holds text that is not a date in {count_rows(rows)}{named}, which becomes missing")
    return notices


def _of_far_days(evidence: ColumnEvidence, days: Mapping[str, datetime]) -> list[str]:
    """Return notices about days such as 1900-01-01, in several rows and far from all others.

    Args:
        evidence: the column.
        days: the day of every text that is one.
    """
    usual = {text for text, day in days.items() if day.strftime("%m-%d") in USUAL_MARKERS and evidence.texts[text] > 1}
    others = [day for text, day in days.items() if text not in usual]
    if len(others) < 2:
        return []
    first, last = min(others), max(others)
    reach = FAR * (last - first)
    return [
        f"holds '{text}' in {count_rows(evidence.texts[text])}, far from the other dates: it stays a date and moves a "
        "bound; if it means missing, remove it from the table"
        for text in sorted(usual)
        if first - days[text] > reach or days[text] - last > reach
    ]
