"""Columns whose cells are written in a form that no kind reads as it stands: why they are left out, and what helps."""

from __future__ import annotations

import re

from common.columns.drafting import MOSTLY, ColumnEvidence, Draft

BRACKETS = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)
"""A list as JSON or Python writes it."""

IMAGE_FILES = re.compile(
    r"[^;]+\.(?:png|jpe?g|npz|dcm|dicom|nii|nii\.gz)(?:#\d+)?(?:\s*;.*)?", re.IGNORECASE | re.DOTALL
)
"""Paths of image files with semicolons in between, the first with a usual ending."""

FORMS = (
    (
        re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})*(?:\.\d+)?"),
        "its numbers have a mark between thousands: declare it, as in --read thousands=, (docs/inputs.md)",
    ),
    (
        re.compile(r"[+-]?[1-9]\d{0,2}(?:['\u2019]\d{3})*(?:[.,]\d+)?"),
        "its numbers have a mark between thousands: declare it, as in --read thousands=apostrophe (docs/inputs.md)",
    ),
    (
        re.compile(r"[+-]?[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})*(?:[.,]\d+)?"),
        "its numbers have a mark between thousands: declare it, as in --read thousands=blank (docs/inputs.md)",
    ),
    (
        re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})*,\d+"),
        "its numbers have points between thousands: declare --read thousands=point --read decimal=comma "
        "(docs/inputs.md)",
    ),
    (
        re.compile(r"[+-]?\d+(?:\.\d+)?|\(\d+(?:\.\d+)?\)|\d+(?:\.\d+)?\s*[-\u2212]"),
        "its negative numbers are in parentheses or have their sign behind them: write it in front, as in -2.5",
    ),
    (
        re.compile(r"\d{2,3}\s*/\s*\d{2,3}(?:\s*/\s*\d{2,3})?"),
        "its cells hold several numbers, as in 120/80: make one column of each",
    ),
    (re.compile(r"[$€£¥]\s*\d[\d.,]*"), "its numbers have a currency in front: remove it from the table"),
    (
        re.compile(
            r"\d{4}-(?:\d\d|UN|UNK|XX)(?:-(?:\d\d|UN|UNK|XX))?|\d{4}-?W\d\d(?:-?[1-7])?|\d{1,2}[./]\d{1,2}[./]\d{4}"
            r"|\d{1,2}[./]\d{1,2}[./]\d{2,4},? \d{1,2}:\d\d(?::\d\d)?(?:\s*[AaPp]\.?[Mm]\.?)?"
            r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.,]*\s*(?:Z|[+-]\d\d:?\d\d|[AaPp][Mm])?"
            r"|\d{1,2}:\d\d(?::\d\d)?(?:\s*[AaPp][Mm])?|\d{1,2}\.? [^\W\d_]{3,12}\.? \d{4}"
        ),
        "it holds dates or times in a form that no date_format writes: write them as 2021-12-28 or "
        "2021-12-28 23:58, or map them (docs/harmonize.md)",
    ),
    (
        re.compile(
            r"-?P(?=[\dT])(?:\d+[YMWD])*(?:T(?:\d+(?:\.\d+)?[HMS])+)?|-?\d+ days?,? (?:\d+:\d\d(?::\d\d)?(?:\.\d+)?)?"
            r"|\d+:\d\d:\d\d"
        ),
        "it holds durations in words or in ISO 8601: write them as numbers of one unit, such as days",
    ),
    (
        IMAGE_FILES,
        "its cells name image files, which a draft does not open: declare it with --kind NAME=image (docs/images.md)",
    ),
    (BRACKETS, "it holds lists in brackets: write their items with a mark between them, as in a;b"),
)
"""Forms of cells, and what to do about each."""

DIGITS = re.compile(r"[+-]?\d+(?:\.\d+)?")
"""A plain number. A column of nothing else is in none of the forms."""

THREE_DECIMALS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
"""A number with three decimals, or with a point between thousands."""

DATE_NAME = re.compile(r"date|datum|fecha|(?:^|_)dt(?:_|$)|admi(?:ssion|tted)|discharged?|birth|dob", re.IGNORECASE)
EXCEL_DAYS = range(15_000, 60_001)
"""Days since the end of 1899 from 1941 to 2064."""

FEWEST = 20
"""Fewest distinct numbers about whose form something is said."""


def draft_images(evidence: ColumnEvidence, most_images: int) -> Draft | None:
    """Return the settings of a column whose cells name image files, which are not opened; None for any other column.

    Args:
        evidence: the column.
        most_images: most images of a patient that a study may declare.
    """
    named = {text: text.count(";") + 1 for text in evidence.texts if IMAGE_FILES.fullmatch(text)}
    if sum(evidence.texts[text] for text in named) < MOSTLY * max(1, evidence.present):
        return None
    most = min(max(named.values()), most_images)
    settings = {"kind": "image", "size": [28, 28]} | ({"most_images": most} if most > 1 else {})
    notice = (
        "names image files, which a draft does not open: write their rows and columns of pixels for size = [28, 28]"
    )
    return Draft(settings, (notice,), missing=evidence.has_missing)


def unread_form(evidence: ColumnEvidence) -> str | None:
    """Return why most cells are in a form that no kind reads, and what helps; None for any other column.

    Plain numbers may stand beside such cells: where all cells are numbers, some kind reads them.
    """
    for form, remedy in FORMS:
        of_form = [text for text in evidence.texts if form.fullmatch(text)]
        rows = sum(evidence.texts[text] for text in of_form)
        if rows >= MOSTLY * max(1, evidence.present) and not all(map(DIGITS.fullmatch, of_form)):
            return remedy
    return None


def doubts_about_numbers(evidence: ColumnEvidence) -> list[str]:
    """Return notices about numbers that may mean something else: thousands, or days as Excel counts them."""
    numbers = evidence.numbers
    if len(numbers) < FEWEST:
        return []
    if all(THREE_DECIMALS.fullmatch(text) for text in numbers):
        return ["has three decimals in every number; if the point stands between thousands, --read thousands=. says so"]
    is_days = all(number in EXCEL_DAYS for number in numbers.values())
    if is_days and DATE_NAME.search(evidence.name):
        return ["holds whole numbers such as Excel stores for days: format its cells as dates in the table"]
    return []
