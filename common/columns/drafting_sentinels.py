"""Numbers that stand for missing: which ones a draft takes for such."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from common.columns.cells import count_rows
from common.columns.drafting import ColumnEvidence

SENTINEL = re.compile(r"-?(?:9{2,}(?:\.(?:0+|9+))?|9+[678](?:\.0+)?|8{2,}(?:\.(?:0+|8+))?|7{2,}(?:\.(?:0+|7+))?"
                      r"|[1-9](?:\.0+)?)")  # fmt: skip
"""Numbers that stand for missing in many files: 999, 999.9, 98, 888, -9, -99, -1."""

NEGATIVE = frozenset({-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999, -99999})
"""Numbers that stand for missing where no other number is below 0."""

LEAST_FAR = 77
"""Smallest size of a number that stands for missing because it is far from the others."""

LEAST_POSITIVE = 2
"""Smallest other number of a column whose zeros may mean missing. 0, 1 and 2 are counts."""

LEAST_GAP = 0.2
"""Least distance of such zeros from the other numbers, as a fraction of their range."""

LEAST_DISTINCT, OFTEN = 13, 3
"""Fewest distinct numbers of a column whose largest may mean missing; least ratio of its rows to those of any other."""


def find_sentinels(numbers: Mapping[str, float], evidence: ColumnEvidence) -> tuple[list[str], list[str]]:
    """Return texts such as 999 and -9 that lie far outside the other numbers; the second list where each is in one row.

    Each is compared with the numbers that are nearer to 0, so that 777, 888 and 999 do not hide each other.
    """
    candidates = {text: numbers[text] for text in numbers if SENTINEL.fullmatch(text)}
    plain = [number for text, number in numbers.items() if text not in candidates]
    chosen: set[float] = set()
    ordered = sorted(set(candidates.values()), key=abs)
    for index, number in enumerate(ordered):
        nearer = [*plain, *(other for other in ordered[:index] if other not in chosen)]
        nearer += [other for other in ordered[index + 1 :] if other * number < 0 and other not in NEGATIVE]
        if len(set(nearer)) < 2:
            continue
        low, high = min(nearer), max(nearer)
        is_low = number in NEGATIVE and low >= 0 and all(other in NEGATIVE for other in ordered if other < 0)
        if is_low or (abs(number) >= LEAST_FAR and not 2 * low - high <= number <= 2 * high - low):
            chosen.add(number)
    rows = Counter[float]()
    for text, number in candidates.items():
        rows[number] += evidence.texts[text]
    texts = [text for text, number in candidates.items() if number in chosen]
    is_repeated = any(rows[numbers[text]] > 1 for text in texts)
    return (texts, []) if is_repeated else ([], texts)


def frequent_last(plain: Mapping[str, float], evidence: ColumnEvidence) -> list[str]:
    """Return a notice about a largest number such as 99 that is at least `OFTEN` times as frequent as any other."""
    rows = Counter[float]()
    for text, number in plain.items():
        rows[number] += evidence.texts[text]
    if len(rows) < LEAST_DISTINCT:
        return []
    last = max(rows)
    next_most = max(count for number, count in rows.items() if number != last)
    looks_missing = last >= LEAST_FAR and SENTINEL.fullmatch(f"{last:g}") is not None
    if not looks_missing or rows[last] < OFTEN * next_most:
        return []
    return [
        f"holds {last:g} in {count_rows(rows[last])}, more often than any other number: if it means missing, declare "
        "it under missing_codes"
    ]


def far_zeros(plain: Mapping[str, float], evidence: ColumnEvidence) -> list[str]:
    """Return a notice about zeros of several rows that lie far below all other numbers: a pulse of 0 is none."""
    others = [number for number in plain.values() if number != 0]
    zeros = sum(evidence.texts[text] for text, number in plain.items() if number == 0)
    if zeros < 2 or not others or min(others) < max(LEAST_POSITIVE, LEAST_GAP * (max(others) - min(others))):
        return []
    return [f"holds 0 in {count_rows(zeros)}, far below the rest: if it means missing, declare it under missing_codes"]
