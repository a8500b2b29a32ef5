"""What the cells of a column look like: the facts on which roles rest. No fact holds the text of a cell."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.columns.cells import censored, number_of
from common.columns.drafting import ColumnEvidence
from common.columns.drafting_dates import draft_date, draft_datetime
from common.columns.drafting_lists import draft_set
from common.columns.words import FALSE_WORDS, TRUE_WORDS

MOST_TEXTS = 2000
"""Distinct texts whose shape is looked at; they are spread over all."""

GLANCED = 20
"""Texts of which at least one has to pass a test before all are tried."""

NEARLY_UNIQUE = 0.95
"""Least part of the cells that are different in a column that names single rows."""

FEWEST_UNIQUE = 10
"""Fewest cells of such a column: by chance a few cells are all different."""

FEW_CODES = 12
"""Up to this many distinct short codes are a list of codes, not of people."""

LONG_DIGITS = 5
"""Fewest digits of a number that is given to one person or thing."""

LONG_NUMBER = 7
"""Digits of whole numbers that name single rows where all have the same number of digits."""

EXPECTED_TWINS = 5
"""Numbers that fall together by chance, from which on a column without any is one of numbers given out once."""

LONGEST = 200
"""Characters of a text that are looked at. Every shape but free text is shorter, and patterns that look for a shape in
a text can take time that grows with the square of its length."""

FREE_WORDS, LONG_TEXT = 3, 60
"""Mean words, and mean characters, of free text."""

DIGITS = re.compile(r"\d")
LETTER = re.compile(r"[^\W\d_]")
FIRST_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
"""The first number of a text: 95 of "95 years", 90 of "[90-100)"."""

TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?")
NUMBER = r"(?!0\d)\d+(?:[.,]\d+)? ?[^\d\s]{0,12}"
MEASURED = re.compile(rf"[\[(<>=≤≥~±]*\s*[+-]?{NUMBER}(?:\s*(?:-|/|to|bis)\s*[<>]?{NUMBER})?")
"""A number with a sign before it or a unit behind it, a range, or two numbers: "3,5", "12 mg/L", "120/80", "[0-10)"."""


@dataclass(frozen=True)
class CellFacts:
    """Facts about the cells of one column."""

    evidence: ColumnEvidence

    @cached_property
    def texts(self) -> list[str]:
        """At most `MOST_TEXTS` distinct texts that are not missing, each up to `LONGEST` characters."""
        texts = sorted({text[:LONGEST] for text in self.evidence.texts})
        return texts[:: max(1, len(texts) // MOST_TEXTS)]

    def fraction(self, test: Callable[[str], object]) -> float:
        """Return the part of the texts that pass a test; 0 where there are none."""
        return sum(bool(test(text)) for text in self.texts) / max(1, len(self.texts))

    def mostly(self, test: Callable[[str], object], least: float) -> bool:
        """Return whether at least this part of the texts passes a test; a few texts of which none does decide."""
        few = self.texts[:: max(1, len(self.texts) // GLANCED)]
        return any(map(test, few)) and self.fraction(test) >= least

    @property
    def is_empty(self) -> bool:
        """Whether all cells are missing: only the name counts."""
        return not self.texts

    @property
    def distinct(self) -> int:
        """Number of distinct texts."""
        return len(self.evidence.texts)

    @cached_property
    def answers_only(self) -> bool:
        """Whether the cells say yes or no."""
        return all(text.lower() in TRUE_WORDS | FALSE_WORDS | {"x", "unknown"} for text in self.texts)

    @cached_property
    def numbers(self) -> list[float]:
        """The numbers among the texts."""
        return [number for text in self.texts if not np.isnan(number := _number(text))]

    @cached_property
    def is_whole(self) -> bool:
        """Whether all texts are whole numbers."""
        return bool(self.texts) and len(self.numbers) == len(self.texts) and all(n == int(n) for n in self.numbers)

    @cached_property
    def is_measured(self) -> bool:
        """Whether the cells are measurements: mostly numbers, not whole ones, or numbers with units and signs."""
        return not self.is_whole and self.mostly(is_measurement, 0.8)

    @cached_property
    def is_text(self) -> bool:
        """Whether the cells are words: letters, and no numbers, answers, dates and times."""
        return (
            not self.answers_only and not self.is_date and self.fraction(LETTER.search) >= 0.8 and not self.is_measured
        )

    @cached_property
    def is_date(self) -> bool:
        """Whether the cells are days, with or without a time."""
        if any(draft(self.evidence) is not None for draft in (draft_date, draft_datetime)):
            return True
        return (
            self.distinct == 1
            and re.fullmatch(r"\d{4}-\d\d-\d\d.*|\d\d?[./]\d\d?[./]\d{2,4}", self.texts[0]) is not None
        )

    @cached_property
    def is_time(self) -> bool:
        """Whether the cells are times of the day or durations."""
        return self.mostly(TIME.fullmatch, 0.8)

    @cached_property
    def is_list(self) -> bool:
        """Whether the cells are lists of items that recur."""
        return draft_set(self.evidence) is not None

    @cached_property
    def is_few_codes(self) -> bool:
        """Whether a few short codes recur, such as those of a type."""
        few = 1 < self.distinct <= FEW_CODES and self.evidence.present >= 4 * self.distinct
        return few and max(map(len, self.texts)) <= LONG_DIGITS

    @cached_property
    def is_number(self) -> bool:
        """Whether the cells may be numbers of things: whole, or one word with a digit."""
        if self.answers_only or self.is_measured or self.is_date or self.is_time or self.is_few_codes:
            return False
        return self.is_whole or self.fraction(lambda text: DIGITS.search(text) and len(text.split()) <= 3) >= 0.5

    @cached_property
    def is_long_number(self) -> bool:
        """Whether most cells are numbers of five digits and more, or long words."""
        return self.is_number and self.fraction(lambda text: len(DIGITS.findall(text)) >= LONG_DIGITS) >= 0.5

    @cached_property
    def is_unique(self) -> bool:
        """Whether nearly all cells are different."""
        return self.evidence.present >= FEWEST_UNIQUE and self.distinct >= NEARLY_UNIQUE * self.evidence.present

    @cached_property
    def numbers_rows(self) -> bool:
        """Whether whole numbers are given out one by one: nearly all different, and consecutive, long, or so many that
        measurements of this range would repeat."""
        if not self.is_whole or not self.is_unique or min(self.numbers) < 0:
            return False
        lengths = {len(text) for text in self.texts}
        if len(lengths) == 1 and lengths.pop() >= LONG_NUMBER:
            return int(np.gcd.reduce(np.array([int(number) for number in self.numbers], dtype=object))) == 1
        present, possible = self.evidence.present, max(self.numbers) - min(self.numbers) + 1
        all_differ = self.distinct == present
        return all_differ and (possible <= 2 * present or present**2 / (2 * possible) >= EXPECTED_TWINS)

    @cached_property
    def is_free(self) -> bool:
        """Whether the cells are sentences: several words in the mean, and no lists of items that recur."""
        if not self.is_text or self.is_list:
            return False
        words = np.mean([len(text.split()) for text in self.texts])
        return bool(words >= FREE_WORDS) and self.distinct > min(5, self.evidence.present / 4)

    @cached_property
    def is_long_text(self) -> bool:
        """Whether most texts are long, and many are different."""
        is_long = self.is_free and float(np.mean([len(text) for text in self.texts])) >= LONG_TEXT
        return is_long and self.distinct > max(12, 0.2 * self.evidence.present)

    @cached_property
    def is_degrees(self) -> bool:
        """Whether the cells are numbers in the range of degrees."""
        return len(self.numbers) == len(self.texts) > 0 and all(abs(number) <= 180 for number in self.numbers)

    @cached_property
    def is_coordinate(self) -> bool:
        """Whether degrees are written to a hundred meters or closer."""
        places = [len(text.partition(".")[2]) for text in self.texts]
        return self.is_degrees and float(np.median(places)) >= 3

    @cached_property
    def oldest(self) -> float:
        """Largest number or lower end of a range; "> 89" is one more than 89, and no numbers are 0."""
        return max(map(age_of, self.evidence.texts), default=0.0)


def is_measurement(text: str) -> bool:
    """Return whether a text is a number, perhaps with a sign, a unit or a second number; without a zero in front."""
    return MEASURED.fullmatch(text) is not None or censored(text) is not None


def _number(text: str) -> float:
    """Return the number that a text writes with a decimal point or comma, else NaN."""
    number = number_of(text)
    return number_of(text.replace(",", ".")) if np.isnan(number) and text.count(",") == 1 else number


def age_of(text: str) -> float:
    """Return the number that a text writes first, with a unit or not, or 90 for "> 89"; 0 for no number."""
    limit = censored(text)
    if limit is not None:
        return limit[1] + (limit[0] > 0 and "=" not in text and "≥" not in text and "+" not in text)
    first = FIRST_NUMBER.search(text)
    return 0.0 if first is None else float(first.group().replace(",", "."))


def is_address_of_a_host(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return False
    return True
