"""What a draft of a column's settings reads: its cells. For public or simulated tables only: no epsilon covers them.

Each kind of column says what it recognizes (`Column.draft`); kinds are asked in the order of `common.columns.kinds`. A
cell stays text until its kind is known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from common.arrays import Floats
from common.columns.cells import each, is_missing, number_of

FEW_NUMBERS = 12
"""Up to this many distinct numbers are labels; more are measurements."""

MOSTLY = 0.8
"""Smallest fraction of the cells of a column of numbers that are numbers."""

LEAST_CODED = 0.01
"""Smallest fraction of the cells that are written as codes in a column of codes; rarer ones are odd numbers."""

LONGEST_NUMBER = 15
"""Most digits of a number that floating point holds exactly."""

ANSWERS = frozenset({"None", "NA", "N/A", "n/a", "null", "NULL"})
"""Words that mean missing in many files and an answer in some."""

LEADING_ZERO = re.compile(r"[+-]?0\d.*")
"""A number that is written as codes are: 02139."""

OF_PATIENTS = re.compile(
    r"id|(?:patient|pat|subject|subj|person|participant|case|study)[ _.-]?(?:id|nr|no|num|number|nbr|key|code)"
    r"|pid|subject|mrn|medical[ _.-]?record[ _.-]?number|usubjid|patient|patienten?[ _.-]?(?:nummer|nr|id)"
    r"|fall(?:nummer|nr|[ _.-]?id)|identifier",
    re.IGNORECASE,
)
"""Names of columns that identify patients."""

IDENTIFYING = re.compile(r"(?=.*\d)[\w./-]+(?<!\.)(?:\.0)?")
"""A text that may be an identifier: one word with a digit, such as P-2025-001 or 17."""


@dataclass(frozen=True)
class ColumnEvidence:
    """The cells of one column, one per patient.

    Attributes:
        cells: raw cells, missing ones included.
        is_target: whether the column is the target of predictions, which is never taken for an identifier.
        with_multiples: whether the draft may name steps of round numbers.
        name: the column's name.
        markers: words that mean missing elsewhere in the table, because they stand among numbers there.
    """

    cells: Sequence[str]
    is_target: bool = False
    with_multiples: bool = True
    name: str = ""
    markers: frozenset[str] = frozenset()

    @cached_property
    def counts(self) -> Counter[str]:
        """Return the number of cells of each text, without surrounding blanks."""
        return Counter(each(self.cells, str.strip))

    @cached_property
    def texts(self) -> dict[str, int]:
        """Return the number of cells of each text that is not missing, "None" and "NA" among them where they answer."""
        answers = self.answers
        return {text: count for text, count in self.counts.items() if text in answers or not is_missing(text)}

    @cached_property
    def answers(self) -> dict[str, int]:
        """Return the words of `ANSWERS` that are labels here: in a column of labels, and no marker elsewhere."""
        plain = {text: count for text, count in self.counts.items() if not is_missing(text)}
        if not plain or _fraction_of_numbers(plain) >= MOSTLY:
            return {}
        return {text: count for text, count in self.counts.items() if text in ANSWERS - self.markers}

    @cached_property
    def present(self) -> int:
        """Return the number of cells that are not missing."""
        return sum(self.texts.values())

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Return the number that each text writes, for texts that are numbers and not written as codes are."""
        if self.has_codes:
            return {}
        numbers = {text: number_of(text) for text in self.texts}
        return {text: number for text, number in numbers.items() if not np.isnan(number)}

    @cached_property
    def has_codes(self) -> bool:
        """Return whether some numbers are written as codes: with a zero in front, or with more digits than count."""
        coded = sum(count for text, count in self.texts.items() if _is_code(text))
        return coded > 0 and coded >= LEAST_CODED * self.present

    @cached_property
    def words(self) -> dict[str, int]:
        """Return the number of cells of each text that is no number."""
        return {text: count for text, count in self.texts.items() if text not in self.numbers}

    @property
    def is_mostly_numeric(self) -> bool:
        """Return whether most present cells are numbers."""
        return self.present > 0 and self.present - sum(self.words.values()) >= MOSTLY * self.present

    @property
    def repeats_identifiers(self) -> bool:
        """Return whether the column is named as one of patients, and its texts look like identifiers that repeat.

        They do if more than two are different, and each is one word with a digit.
        """
        if self.is_target or OF_PATIENTS.fullmatch(self.name.strip()) is None:
            return False
        return 2 < len(self.texts) < self.present and all(map(IDENTIFYING.fullmatch, self.texts))

    @property
    def has_missing(self) -> bool:
        """Return whether any cell is missing."""
        return self.present < len(self.cells)

    @property
    def is_constant(self) -> bool:
        """Return whether the cells have fewer than two distinct values; missing counts as one."""
        return not self.texts or len(self.texts) + self.has_missing < 2

    def values(self, texts: Sequence[str]) -> Floats:
        """Return the numbers of these texts, each as often as it occurs."""
        return np.repeat([self.numbers[text] for text in texts], [self.texts[text] for text in texts]).astype(float)


def _fraction_of_numbers(counts: dict[str, int]) -> float:
    numbers = sum(count for text, count in counts.items() if not np.isnan(number_of(text)))
    return numbers / sum(counts.values())


def _is_code(text: str) -> bool:
    if np.isnan(number_of(text)):
        return False
    is_long = text.isdigit() and len(text) > LONGEST_NUMBER and len(text.rstrip("0")) > LONGEST_NUMBER
    return LEADING_ZERO.fullmatch(text) is not None or is_long


def markers_of(columns: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the words of `ANSWERS` that stand among numbers in some column: there they mean missing."""
    markers: set[str] = set()
    for cells in columns:
        counts = Counter(each(cells, str.strip))
        plain = {text: count for text, count in counts.items() if not is_missing(text)}
        if plain and _fraction_of_numbers(plain) >= MOSTLY:
            markers |= counts.keys() & ANSWERS
    return frozenset(markers)


@dataclass(frozen=True, slots=True)
class Draft:
    """A kind recognizes the column.

    Attributes:
        settings: the column's entry in the schema but for name and missing.
        notices: what a person should know about the column.
        missing: whether missing is allowed although no cell is empty.
    """

    settings: dict[str, Any]
    notices: tuple[str, ...] = ()
    missing: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A kind recognizes the column as one that does not belong in a study."""

    reason: str
