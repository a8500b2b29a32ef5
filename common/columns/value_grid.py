"""The value grid of a column of numbers: lower, lower + step, ..., upper with step = 10^-decimals.

Values are counted and cut in grid points, which are integers, so that no rounding error moves a patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.calendar import Calendar

MAX_GRID_SIZE = 2**50
"""Most distinct values a column of numbers may take; beyond 2^50, float64 cannot represent neighbors."""

SKEW = 20.0
"""How strongly cells crowd at the lower bound, where clinical values do; 0 would be a uniform grid."""

STRATA = 4
"""Equal parts of the declared range by which a partition deals patients out."""


def strata_of(values: pd.Series, lower: float, upper: float) -> list[str]:
    """Return the quarter of the declared bounds that each value is in, in words.

    Args:
        values: conformed numbers, shape (rows,); NaN is missing.
        lower, upper: the declared bounds, in the column's unit.
    """
    quarters = np.floor((values - lower) / (upper - lower) * STRATA).clip(0, STRATA - 1)
    return ["missing" if np.isnan(quarter) else f"quarter {quarter + 1:.0f}" for quarter in quarters]


@dataclass(frozen=True, slots=True)
class ValueGrid:
    """The numbers that a column can take, bounds included.

    Attributes:
        lower: smallest value, a multiple of 10^-decimals.
        upper: largest value, a multiple of 10^-decimals.
        decimals: digits after the point.
        unit: unit of the values, for people; None where the study gives none.
        below: whether the first point stands for all values below the second, such as those below detection.
        above: whether the last point stands for all values above the one before.
        calendar: what values count since 1970-01-01, where people are shown dates; None where they are shown numbers.
    """

    lower: float
    upper: float
    decimals: int
    unit: str | None = None
    below: bool = False
    above: bool = False
    calendar: Calendar | None = None

    @property
    def shown_unit(self) -> str | None:
        """The unit beside values that people are shown: dates have none."""
        return self.unit if self.calendar is None else None

    def text(self, value: float) -> str:
        """Return a value as people are shown it: a date, or a number with the grid's decimals."""
        return f"{value:.{self.decimals}f}" if self.calendar is None else self.calendar.text(value)

    @property
    def step(self) -> float:
        """The distance of neighboring values."""
        return 10.0**-self.decimals

    @property
    def size(self) -> int:
        """How many values there are."""
        return round((self.upper - self.lower) * 10.0**self.decimals) + 1

    @property
    def first(self) -> int:
        """The lower bound in steps from zero."""
        return round(self.lower * 10.0**self.decimals)

    def points(self, values: Floats) -> Integers:
        """Return the number of every value on the grid, 0 for the lower bound; values are present."""
        points = np.round((values - self.lower) * 10**self.decimals)
        return np.asarray(np.clip(points, 0, self.size - 1), dtype=np.int64)

    def values(self, points: Integers) -> Floats:
        """Return the value at every grid point."""
        return np.asarray(np.round(self.lower + points / 10**self.decimals, self.decimals), dtype=np.float64)

    def clamp(self, numbers: Floats) -> Floats:
        """Return the numbers clamped to the bounds and rounded to the grid's decimals; NaN stays NaN."""
        # Adding zero turns -0.0 into 0.0.
        return np.asarray(np.round(np.clip(numbers, self.lower, self.upper), self.decimals) + 0.0, dtype=np.float64)

    def cell_starts(self, cells: int) -> Integers:
        """Return the first grid point of every cell, then the grid's size: shape (cells + 1,), strictly increasing.

        A short grid gets a cell for each point. Else cells widen from the lower bound on (asinh spacing), are at least
        one point wide, and number at most `cells`.
        """
        if self.size <= cells:
            return np.arange(self.size + 1)
        first, last = int(self.below), self.size - self.above
        spread = np.sinh(np.linspace(0, np.arcsinh(SKEW), cells - self.below - self.above + 1)) / SKEW
        inner = np.unique(first + np.round(spread * (last - first)).astype(np.int64))
        ends = ([0] if self.below else [], [self.size] if self.above else [])
        return np.concatenate([ends[0], inner, ends[1]]).astype(np.int64)
