"""Numbers that stand for missing: which ones a draft takes for such."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from common.columns.drafting import FEW_NUMBERS, ColumnEvidence

SENTINEL = re.compile(r"-?(9{2,}|8{2,}|7{2,}|[1-9])(\.0*)?")
"""Numbers that stand for missing in many files: 999, 9999, 888, -9, -99, -1."""


def find_sentinels(numbers: Mapping[str, float], evidence: ColumnEvidence) -> tuple[list[str], list[str]]:
    """Return texts such as 999 and -9 that lie far outside the other numbers: those of several rows, and of one row."""
    chosen: list[str] = []
    candidates = [text for text in numbers if SENTINEL.fullmatch(text)]
    for text in sorted(candidates, key=lambda text: -abs(numbers[text])):
        rest = [number for other, number in numbers.items() if other not in chosen and other != text]
        if len(set(rest)) <= FEW_NUMBERS:
            break
        low, high, number = min(rest), max(rest), numbers[text]
        is_low = number < 0 <= low and number in (-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999)
        is_far = abs(number) >= 77 and (number > high + (high - low) or number < low - (high - low))
        if is_low or is_far:
            chosen.append(text)
    repeated = _with_others([text for text in chosen if evidence.texts[text] > 1], candidates, numbers)
    return repeated, [text for text in chosen if text not in repeated]


def _with_others(chosen: list[str], candidates: Sequence[str], numbers: Mapping[str, float]) -> list[str]:
    """Return the chosen sentinels and those that equal them in value: 999 and 999.0."""
    values = {numbers[text] for text in chosen}
    return [text for text in candidates if numbers[text] in values]
