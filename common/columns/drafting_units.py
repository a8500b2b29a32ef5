"""What stands behind the numbers of a column: a unit, another unit in some cells, marks of a laboratory such as H."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from common.columns.cells import FLAGGED, censored, count_rows, flagged, number_of, one_micro, without_unit
from common.columns.drafting import ColumnEvidence

SHORT_TIMES = re.compile(
    r"(?:months?|mos?|monate?n?|mois|mes(?:es)?|weeks?|wks?|wochen?|semaines?|semanas?|days?|tage?n?|jours?|d[ií]as?"
    r"|hours?|hrs?|h|stunden?|std|heures?|horas?)\.?",
    re.IGNORECASE,
)
"""Units of time that are shorter than a year. In less than half of a column's cells they are not its unit: ages of
infants."""

WITH_UNIT = re.compile(r"(?>[+-]?\d(?:[\d.eE+-]*\d)?)(?=\D*\Z)[.eE+-]*\s*([^\d\s.,+-]\D*)")
"""A number with a unit behind it. The last digit is fixed first, so that long cells take no time."""

MOST_UNITS = 2
"""Units of a column of numbers: with more, the cells are something else."""


@dataclass(frozen=True, slots=True)
class CellNumbers:
    """The numbers in the cells of a column.

    Attributes:
        numbers: the number of each text that is one, with or without a unit behind or a mark beside it.
        words: how often each other text occurs.
        unit: the unit that stands in the cells; None for none.
        elsewhere: those of `words` that are numbers in another unit.
        notices: what is said of units and marks.
    """

    numbers: dict[str, float]
    words: dict[str, int]
    unit: str | None = None
    elsewhere: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()


def numbers_in(evidence: ColumnEvidence) -> CellNumbers:
    """Return the numbers in a column's cells, without units behind and marks beside them."""
    numbers, words = dict(evidence.numbers), dict(evidence.words)
    if evidence.has_codes:
        return CellNumbers(numbers, words)
    suffixes = {text: suffix for text in words if (suffix := _suffix(text)) is not None}
    counts = Counter[str]()
    for text, suffix in suffixes.items():
        counts[suffix] += words[text]
    half = evidence.present / 2
    short = [suffix for suffix, count in counts.items() if SHORT_TIMES.fullmatch(suffix) and count <= half]
    units = [
        suffix
        for suffix, count in counts.most_common()
        if suffix not in short and (not _is_mark(suffix) or (suffix.isalpha() and count > half))
    ]
    unit = units[0] if 0 < len(units) <= MOST_UNITS else None
    notices = []
    if unit is not None:
        _move(numbers, words, {text: number_of(without_unit(text, unit)) for text in words})
        notices.append(f"holds the unit '{unit}' in its cells, which is left off in the synthetic table")
    if marked := _move(numbers, words, {text: flagged(text) for text in words}):
        notices.append(f"holds a mark such as H, * or ~ beside the number in {count_rows(marked)}, which is left off")
    others = short + (units[1:] if unit is not None else [])
    elsewhere = frozenset(text for text in words if suffixes.get(text) in others)
    if elsewhere:
        rows, named = count_rows(sum(words[text] for text in elsewhere)), "', '".join(others)
        notices.append(
            f"holds numbers in another unit, '{named}', in {rows}, which become missing: a mapping converts them "
            "(docs/harmonize.md)"
        )
    return CellNumbers(numbers, words, unit, elsewhere, tuple(notices))


def _suffix(text: str) -> str | None:
    """Return what stands behind a number; None where that is nothing, or says that the number is a limit."""
    match = WITH_UNIT.fullmatch(text)
    return None if match is None or censored(text) is not None else one_micro(match[1])


def _is_mark(suffix: str) -> bool:
    return FLAGGED.fullmatch(f"1{suffix}") is not None


def _move(numbers: dict[str, float], words: dict[str, int], parsed: dict[str, float]) -> int:
    """Move texts with a number from words to numbers; return in how many cells they stand.

    Args:
        numbers: number of each text that is one; gets the texts that are moved.
        words: how often each other text occurs; loses them.
        parsed: the number in each text, NaN for none.
    """
    texts = [text for text, number in parsed.items() if not math.isnan(number)]
    numbers |= {text: parsed[text] for text in texts}
    return sum(words.pop(text) for text in texts)
