"""Values that other tools' descriptions hold, as the settings of a column: numbers, labels, dates and texts."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from common.columns.cells import text_of

GUESSED_DECIMALS = 2
"""Decimals of a number where a description says none: enough for most measurements, and a person is told."""

MOST_DECIMALS = 9
"""Most decimals of a column; bounds with more are rounded outward."""

LONGEST_DESCRIPTION = 1000
"""Characters of a description; the rest is cut."""

TIME_MARKS = re.compile(r"%-?[HIMSfpTRXcr]")
"""Marks of a date format that say a time of day."""

SCALE = (("%S", "seconds"), ("%T", "seconds"), ("%M", "minutes"), ("%R", "minutes"))
"""Resolution of a date format by the finest mark that it has; hours where it has none of these."""

TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def printable(text: object) -> str:
    """Return a text on one line, without characters that cannot be printed."""
    marks = (mark if mark.isprintable() or unicodedata.category(mark) == "Zs" else " " for mark in str(text))
    return " ".join("".join(marks).split())


def clean(text: object) -> str:
    """Return a text of a description on one line, without markup and not too long."""
    return printable(html.unescape(TAG.sub(" ", str(text))))[:LONGEST_DESCRIPTION]


def described(settings: dict[str, Any], *texts: object) -> dict[str, Any]:
    """Return the settings with the first text that is not empty as description."""
    description = next((clean(text) for text in texts if text and clean(text)), None)
    return settings if description is None else settings | {"description": description}


def label_of(value: object) -> str:
    """Return a label as a table has it: true, 1, 2.5 or a text."""
    return str(value).lower() if isinstance(value, bool) else text_of(value)


def labels_of(values: Iterable[object]) -> list[str]:
    """Return labels in order, each once, without missing."""
    return [label for label in dict.fromkeys(label_of(value) for value in values) if label]


def decimals_of(*numbers: float | None) -> int:
    """Return how many decimals the numbers are written with, at most `MOST_DECIMALS`."""
    texts = [text_of(float(number)) for number in numbers if number is not None]
    return min(MOST_DECIMALS, max((len(text.partition(".")[2]) for text in texts), default=0))


def number(value: object) -> float | None:
    """Return a number of a description, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except ValueError:
        return None
    return read if math.isfinite(read) and abs(read) < 1e15 else None


def numeric(name: str, lower: object, upper: object, decimals: int | None) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a numeric column, and notes.

    Args:
        name: the column.
        lower: smallest value, as the description has it; None where it says none.
        upper: largest value.
        decimals: digits after the point; None where the description says nothing.

    Returns:
        Settings, in which a bound may be open, and notes about what was guessed.
    """
    low, high, notes = number(lower), number(upper), []
    if decimals is None:
        decimals = max(GUESSED_DECIMALS, decimals_of(low, high))
        notes.append(f"does not say how many decimals; decimals = {decimals} is a guess: correct it")
    decimals = max(decimals, decimals_of(low, high))
    settings: dict[str, Any] = {"name": name, "kind": "numeric"}
    scale = 10**decimals
    if low is not None:
        settings["lower"] = round(math.floor(round(low * scale, 6)) / scale, decimals)
    if high is not None:
        settings["upper"] = round(math.ceil(round(high * scale, 6)) / scale, decimals)
    if decimals:
        settings["decimals"] = decimals
    return settings, notes


def dated(name: str, form: str) -> dict[str, Any]:
    """Return the settings of a date in this format, with a time where the format has one."""
    if not TIME_MARKS.search(form):
        return {"name": name, "kind": "date", "date_format": form}
    scale = next((word for mark, word in SCALE if mark in form), "hours")
    return {"name": name, "kind": "datetime", "date_format": form, "resolution": scale}


def pattern_of(regex: str) -> str | None:
    """Return the pattern of an identifier that a regular expression describes: [0-9], [A-Z] and plain text.

    None for any other expression.
    """
    symbols = []
    if re.search(r"(?<!\\)(?:\\\\)*\$$", regex):
        regex = regex[:-1]
    for match in re.finditer(REGEX_PART, regex.removeprefix("^")):
        if match["other"] is not None:
            return None
        mark = "#" if match["digit"] else "?" if match["capital"] else match["plain"].removeprefix("\\")
        count = int(match["count"] or 1)
        if (mark in "#?" and not (match["digit"] or match["capital"])) or count > 64:
            return None
        symbols.append(mark * count)
    return "".join(symbols) or None


REGEX_PART = re.compile(
    r"(?:(?P<digit>\\d|\[0-9\])|(?P<capital>\[A-Z\])|(?P<plain>\\[^\w\s]|[^\\\[\](){}.*+?|^$]))(?:\{(?P<count>\d{1,2})\})?"
    r"|(?P<other>.)",
    re.DOTALL,
)


def regex_of(pattern: str) -> str:
    """Return the regular expression of an identifier's pattern: `pattern_of` turns it back."""
    symbols = []
    for match in re.finditer(r"#+|\?+|[^#?]", pattern):
        text = match.group()
        if text[0] in "#?":
            symbols.append(("[0-9]" if text[0] == "#" else "[A-Z]") + f"{{{len(text)}}}")
        else:
            symbols.append(text if text.isalnum() or text in "-_ /:" else "\\" + text)
    return "".join(symbols)
