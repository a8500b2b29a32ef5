"""Numeric columns: numbers with declared bounds and decimals."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.arrays import Integers
from common.columns.base import Column
from common.columns.binning import Binning
from common.columns.cells import each, is_missing, missing_notice, notice, number_of
from common.columns.compact import Compact, is_present, pack
from common.columns.drafting import ColumnEvidence, Draft, LeftOut, draft_numeric
from common.columns.grid_code import GridCode, GridHistogram, points_of
from common.columns.value_grid import MAX_GRID_SIZE, ValueGrid
from common.settings import Readable, is_unset

STRATA = 4
"""Equal parts of the declared range by which a partition deals patients out."""


class Numeric(Column):
    """A number with declared, inclusive bounds, rounded to a declared number of decimals.

    `multiples` lists steps of which many values are multiples (`common.columns.rounding`), coarse to fine, such as [1,
    0.1].
    """

    kind: Literal["numeric"] = "numeric"
    lower: float
    upper: float
    decimals: int = Field(default=0, ge=0, le=9)
    multiples: tuple[float, ...] = Field(default=(), max_length=8, strict=False, exclude_if=is_unset)
    unit: Readable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"column '{self.name}': lower must be below upper; swap or widen the bounds")
        step = 10.0**-self.decimals
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if abs(round(value, self.decimals) - value) > 1e-9 * max(1.0, abs(value)):
                raise ValueError(
                    f"column '{self.name}': {name} has more than {self.decimals} decimals; "
                    f"round it to a multiple of {step:g} or raise decimals"
                )
        if self.grid.size > MAX_GRID_SIZE:
            raise ValueError(f"column '{self.name}' can take more than 2^50 values; lower its decimals or its range")
        self._check_multiples(step)
        return self

    def _check_multiples(self, step: float) -> None:
        if self.multiples and max(abs(self.lower), abs(self.upper)) > MAX_GRID_SIZE * step:
            raise ValueError(
                f"column '{self.name}': its values have more digits than float64 can hold; lower decimals or remove "
                "multiples"
            )
        for size in self.multiples:
            if round(size, self.decimals) != size:
                raise ValueError(
                    f"column '{self.name}': {size:.15g} in multiples has more than {self.decimals} decimals; round it"
                )
            if not 1.5 * step < size < self.upper - self.lower:
                raise ValueError(
                    f"column '{self.name}': {size:.15g} in multiples must be between {step:g} and the range of the "
                    "bounds; remove it"
                )
        for coarse, fine in pairwise(self.steps):
            if coarse <= fine or coarse % fine:
                raise ValueError(
                    f"column '{self.name}': multiples go from coarse to fine, each a multiple of the next, as in "
                    "[10, 5, 1]; reorder them or remove one"
                )

    @property
    def steps(self) -> tuple[int, ...]:
        """`multiples` in units of 10^-decimals."""
        return tuple(round(size * 10.0**self.decimals) for size in self.multiples)

    @property
    def grid(self) -> ValueGrid:
        return ValueGrid(self.lower, self.upper, self.decimals, self.unit)

    @property
    def outlying_cell(self) -> str:
        return str(self.upper)

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | LeftOut | None:
        return draft_numeric(evidence)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return numbers clamped to the bounds and rounded, NaN for missing. Text that is not a number is missing;
        where missing is not allowed it becomes the lower bound."""
        numbers = self.grid.clamp(np.array(each(cells, number_of), dtype=np.float64))
        return numbers if self.missing else np.where(np.isnan(numbers), self.lower, numbers)

    def check(self, cells: list[str]) -> list[str]:
        numbers = np.array(each(cells, number_of), dtype=np.float64)
        missing = np.array(each(cells, is_missing), dtype=bool)
        replacement = f"the lower bound, {self.lower:.15g}"
        notices = []
        if not self.missing and missing.any():
            notices.append(missing_notice(int(missing.sum()), replacement))
        if text := int((np.isnan(numbers) & ~missing).sum()):
            outcome = "missing" if self.missing else replacement
            notices.append(notice("holds text that is not a number", text, f"counted as {outcome}"))
        if outside := int(((numbers < self.lower) | (numbers > self.upper)).sum()):
            limits = f"[{self.lower:.15g}, {self.upper:.15g}]" + (f" {self.unit}" if self.unit else "")
            notices.append(notice(f"is outside {limits}", outside, "clamped to the bounds"))
        present = numbers[~np.isnan(numbers)]
        excess = np.abs(np.round(present, self.decimals) - present) > 1e-9 * np.maximum(1.0, np.abs(present))
        if finer := int(excess.sum()):
            notices.append(notice(f"has more than {self.decimals} decimals", finer, "rounded"))
        return notices

    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        distinct, indices = np.unique(values.to_numpy(dtype=np.float64), return_inverse=True)
        texts = ["" if np.isnan(value) else f"{value + 0.0:.{self.decimals}f}" for value in distinct]
        return np.array(texts, dtype=object)[indices]

    def compact(self, values: pd.Series) -> Compact:
        present = is_present(values)
        points = np.zeros(len(values), dtype=np.int64)
        points[present] = points_of(values, self.grid)
        return pack(points, present, self.grid.size)

    def max_codes(self, bins: int) -> int:
        return min(bins, self.grid.size) + self.missing

    def code(self, noisy: Integers, binning: Binning) -> GridCode:
        return GridCode.of(self.histogram(binning.cells), noisy, binning)

    def histogram(self, cells: int) -> GridHistogram:
        return GridHistogram.of(self.grid, self.steps, cells, missing=self.missing)

    def consent_sentence(self, cells: int) -> str | None:
        """Return the steps whose multiples are counted, for the hospital's consent."""
        if not self.histogram(cells).steps:
            return None
        return "how many patients' values are multiples of " + ", ".join(f"{size:.15g}" for size in self.multiples)

    def strata(self, values: pd.Series) -> list[str]:
        """Return the quarter of the declared bounds of every value."""
        quarters = np.floor((values - self.lower) / (self.upper - self.lower) * STRATA).clip(upper=STRATA - 1)
        return ["missing" if np.isnan(quarter) else f"quarter {quarter + 1:.0f}" for quarter in quarters]

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return np.round(rng.uniform(self.lower, self.upper, rows), self.decimals)
