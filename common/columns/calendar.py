"""Numbers that count calendar units since 1970-01-01, shown as dates."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import dropwhile
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from common.arrays import Integers

Code = Literal["Y", "M", "D", "h", "m", "s"]

CODES: dict[str, Code] = {"months": "M", "days": "D", "hours": "h", "minutes": "m", "seconds": "s"}
"""numpy's codes of the units, which count from 1970-01-01, too."""

FEW, SEVERAL = 3, 4
"""Most ticks with a day in their text, and most of months or years."""

STEPS: tuple[tuple[Code, int, int], ...] = (
    *(("s", size, FEW) for size in (1, 2, 5, 10, 30)),
    *(("m", size, FEW) for size in (1, 2, 5, 10, 30)),
    *(("h", size, FEW) for size in (1, 2, 6, 12)),
    *(("D", size, FEW) for size in (1, 2, 7, 14)),
    *(("M", size, SEVERAL) for size in (1, 2, 4, 6)),
    *(("Y", size, SEVERAL) for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)),
)
"""Distances of ticks from fine to coarse: numpy's unit, how many of them, and most ticks."""


class Calendar(StrEnum):
    """The unit in which numbers count since 1970-01-01."""

    MONTHS = "months"
    DAYS = "days"
    HOURS = "hours"
    MINUTES = "minutes"
    SECONDS = "seconds"

    def text(self, count: float) -> str:
        """Return the date of a number: ISO 8601 to the unit, with a space before the time of day."""
        return _texts(_moments([round(count)], CODES[self]), CODES[self])[0]

    def span(self, low: float, high: float) -> str:
        """Return the first and last date between two numbers, or the only one."""
        first, last = self.text(math.ceil(low)), self.text(math.floor(high))
        return first if first == last else f"{first} to {last}"

    def ticks(self, low: float, high: float) -> tuple[list[float], list[str]]:
        """Return positions of at most four round dates from `low` to `high`, and their texts, as short as they can be.

        There is at least one tick where a whole number is in between.
        """
        within = _moments([math.ceil(low) - 1, math.floor(high)], CODES[self])
        for code, size, most in dropwhile(lambda step: step[0] != CODES[self], STEPS):
            offset = 1970 if code == "Y" else 0  # round years are those of the calendar
            before, last = (_counts(within, code) + offset).tolist()
            multiples = range(before // size + 1, last // size + 1)
            if len(multiples) <= most:
                dates = _moments([multiple * size - offset for multiple in multiples], code)
                return _counts(dates, CODES[self]).astype(np.float64).tolist(), _texts(dates, code)
        return [], []


def _moments(counts: list[int], code: Code) -> npt.NDArray[Any]:
    return np.array(counts, dtype=np.int64).astype(f"M8[{code}]")


def _counts(dates: npt.NDArray[Any], code: Code) -> Integers:
    return dates.astype(f"M8[{code}]").astype(np.int64)


def _texts(dates: npt.NDArray[Any], code: Code) -> list[str]:
    unit: Code = "m" if code == "h" else code
    return [str(text).replace("T", " ") for text in np.datetime_as_string(dates, unit=unit)]
