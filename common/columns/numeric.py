"""Numeric columns: numbers with declared bounds and decimals."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.arrays import Floats, Integers
from common.columns.base import Column
from common.columns.binning import Binning
from common.columns.cells import censored, each, flagged, is_missing, missing_notice, notice, number_of, without_unit
from common.columns.compact import ABSENT, Compact, is_compact, is_present, pack
from common.columns.drafting import ColumnEvidence, Draft, LeftOut
from common.columns.drafting_numbers import draft_numeric
from common.columns.grid_code import GridCode, GridHistogram, points_of
from common.columns.rounding import RoundValues
from common.columns.storage import Storage, as_written, largest_error, text_of
from common.columns.tags import tagged, tags_of
from common.columns.value_grid import MAX_GRID_SIZE, ValueGrid, strata_of
from common.settings import Readable, is_unset


class Numeric(Column):
    """A number with declared, inclusive bounds, rounded to a declared number of decimals.

    `multiples` lists steps of which many values are multiples (`common.columns.rounding`), coarse to fine, such as [1,
    0.1]. `recorded_step` is the step of the unit in which values were recorded before they were stored in `unit`: 2.54
    for whole inches in centimeters, rounded to `recorded_decimals`. `missing_codes` lists texts that say why there is
    no number, such as "ND" or "999": each is counted and comes back as it came. `below` is the text of all values
    below `lower` ("<0.1"), `above` of all above `upper` ("> 89"). `stored` names the short floating point that the
    values come from (`common.columns.storage`): they are rounded to `decimals` when read, and written as the short
    number with `written_decimals`. `decimal` is a comma where numbers are written with one; cells may have both.
    """

    kind: Literal["numeric"] = "numeric"
    lower: float
    upper: float
    decimals: int = Field(default=0, ge=0, le=9)
    multiples: tuple[float, ...] = Field(default=(), max_length=8, strict=False, exclude_if=is_unset)
    recorded_step: float | None = Field(default=None, gt=0, exclude_if=is_unset)
    recorded_decimals: int | None = Field(default=None, ge=0, le=9, exclude_if=is_unset)
    unit: Readable | None = None
    stored: Storage | None = Field(default=None, exclude_if=is_unset)
    written_decimals: int | None = Field(default=None, ge=0, le=15, exclude_if=is_unset)
    missing_codes: tuple[Readable, ...] = Field(default=(), max_length=20, strict=False, exclude_if=is_unset)
    below: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    above: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    decimal: Literal[","] | None = Field(default=None, exclude_if=is_unset)

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
        if (self.upper - self.lower) / step > MAX_GRID_SIZE or self.grid.size > MAX_GRID_SIZE:
            raise ValueError(f"column '{self.name}' can take more than 2^50 values; lower its decimals or its range")
        self._check_multiples(step)
        self._check_storage(step)
        words = [word.strip() for word in (*self.missing_codes, self.below, self.above) if word is not None]
        if "" in words or len(set(words)) < len(words):
            raise ValueError(
                f"column '{self.name}': a text among missing_codes, below and above is empty or given twice; remove one"
            )
        for word in filter(None, (self.below, self.above)):
            if not math.isnan(number_of(word)):
                raise ValueError(f"column '{self.name}': below and above are no numbers but texts such as '<0.1'")
        return self

    def _check_storage(self, step: float) -> None:
        if (self.stored is None) != (self.written_decimals is None):
            raise ValueError(
                f"column '{self.name}': stored and written_decimals come together; add the other one or remove both"
            )
        bound = max(abs(self.lower), abs(self.upper))
        if self.stored is not None and 2 * largest_error(self.stored, bound) >= step:
            raise ValueError(
                f"column '{self.name}': {self.stored} does not tell numbers of {self.decimals} decimals apart up to "
                f"{bound:.15g}; lower decimals or remove stored"
            )

    def _check_multiples(self, step: float) -> None:
        is_counted = self.multiples or self.recorded_step is not None
        if is_counted and max(abs(self.lower), abs(self.upper)) > MAX_GRID_SIZE * step:
            raise ValueError(
                f"column '{self.name}': its values have more digits than float64 can hold; lower decimals or remove "
                "multiples and recorded_step"
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
        recorded, digits = self.recorded_step or 0.0, -1 if self.recorded_decimals is None else self.recorded_decimals
        is_right = 0 <= digits <= self.decimals and 1.5 * 10.0**-digits <= recorded < self.upper - self.lower
        if (recorded or digits >= 0) and not is_right:
            raise ValueError(
                f"column '{self.name}': recorded_step needs recorded_decimals of at most decimals = {self.decimals}, "
                "is 1.5 units of their last or more, and below the range of the bounds; correct or remove both"
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
    def rounds(self) -> RoundValues:
        """Multiples and values recorded in another unit, in units of 10^-decimals."""
        if self.recorded_step is None or self.recorded_decimals is None:
            return RoundValues(self.steps)
        rounded_to = round(10.0 ** (self.decimals - self.recorded_decimals))
        return RoundValues(self.steps, self.recorded_step * 10.0**self.decimals, rounded_to)

    @property
    def grid(self) -> ValueGrid:
        step = 10.0**-self.decimals
        below, above = self.below is not None, self.above is not None
        lower, upper = (round(edge, self.decimals) for edge in (self.lower - step * below, self.upper + step * above))
        return ValueGrid(lower, upper, self.decimals, self.unit, below, above)

    @property
    def outlying_cell(self) -> str:
        return str(self.upper)

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | LeftOut | None:
        return draft_numeric(evidence)

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | LeftOut | None:
        return draft_numeric(evidence, is_forced=True)

    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return numbers clamped to the bounds and rounded, NaN for missing, with the tag of its code.

        Text that is no number and not declared is missing; where missing is not allowed it gets the first missing code,
        and without codes the lower bound. A number beyond a bound with a declared text counts as the text.
        """
        numbers = np.array(each(cells, self._number_of), dtype=np.float64)
        low, high = self.grid.lower, self.grid.upper  # where a text is declared, a step beyond the bound
        values = np.clip(np.round(np.clip(numbers, low, high), self.decimals) + 0.0, low, high)
        tags = tags_of(numbers)
        is_lost = np.isnan(numbers) & (tags == 0)
        values = np.where(np.isnan(numbers), tagged(tags), values)
        if self.missing:
            return values
        return np.where(is_lost, tagged(np.array([1])) if self.missing_codes else self.lower, values)

    def _number_of(self, text: str) -> float:
        """Return the number in a cell, infinity for a declared censored value, NaN with its tag for a missing code."""
        word = text.strip()
        if word in self._codes:
            return float(tagged(np.array([self._codes[word]]))[0])
        if word == self.below or word == self.above:
            return -math.inf if word == self.below else math.inf
        word = word if self.decimal is None else word.replace(self.decimal, ".")
        number = number_of(word)
        if math.isnan(number) and self.unit is not None:
            number = number_of(without_unit(word, self.unit))
        number = flagged(word) if math.isnan(number) else number
        if not math.isnan(number):
            code = self._numeric_codes.get(number)
            return number if code is None else float(tagged(np.array([code]))[0])
        if is_missing(text) or (side := censored(word)) is None:
            return math.nan
        sign, limit = side
        if sign < 0:
            return -math.inf if self.below is not None and limit <= self.lower else limit
        return math.inf if self.above is not None and limit >= self.upper else limit

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {code.strip(): number for number, code in enumerate(self.missing_codes, start=1)}

    @cached_property
    def _numeric_codes(self) -> dict[float, int]:
        return {number_of(code): tag for code, tag in self._codes.items() if not math.isnan(number_of(code))}

    def check(self, cells: list[str]) -> list[str]:
        numbers = np.array(each(cells, self._number_of), dtype=np.float64)
        missing = np.array(each(cells, is_missing), dtype=bool) & (tags_of(numbers) == 0)
        replacement = f"'{self.missing_codes[0]}'" if self.missing_codes else f"the lower bound, {self.lower:.15g}"
        notices = [missing_notice(int(missing.sum()), replacement)] if missing.any() and not self.missing else []
        if text := int((np.isnan(numbers) & ~missing & (tags_of(numbers) == 0)).sum()):
            outcome = "missing" if self.missing else replacement
            notices.append(notice("holds text that is not a number", text, f"counted as {outcome}"))
        finite = np.where(np.isfinite(numbers), numbers, np.nan)
        is_censored = [side is not None for side in each(cells, censored)]
        if beyond := int((np.isfinite(numbers) & np.array(is_censored, dtype=bool)).sum()):
            fact = "holds numbers with a sign such as < or >, not declared as below or above,"
            notices.append(notice(fact, beyond, "counted as the number beside the sign"))
        if marked := int((~np.isnan(np.array(each(cells, flagged), dtype=np.float64)) & np.isfinite(numbers)).sum()):
            notices.append(notice("holds numbers with a mark such as H, * or ~", marked, "counted without the mark"))
        for word, bound, sign in ((self.below, self.lower, -1), (self.above, self.upper, 1)):
            is_beyond = sign * np.round(finite, self.decimals) > sign * bound
            if word is not None and is_beyond.any():
                outcome = f"counted as '{word}'; move the bound to keep them"
                notices.append(notice(f"holds numbers beyond {bound:.15g}", int(is_beyond.sum()), outcome))
                finite = np.where(is_beyond, np.nan, finite)
        if outside := int(((finite < self.lower) | (finite > self.upper)).sum()):
            limits = f"[{self.lower:.15g}, {self.upper:.15g}]" + (f" {self.unit}" if self.unit else "")
            notices.append(notice(f"is outside {limits}", outside, "clamped to the bounds"))
        present = finite[~np.isnan(finite)]
        rounded = self.as_written(np.asarray(np.round(present, self.decimals), dtype=np.float64))
        if finer := int((np.abs(rounded - present) > 1e-9 * np.maximum(1.0, np.abs(present))).sum()):
            notices.append(notice(f"has more than {self.decimals} decimals", finer, "rounded"))
        return notices

    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        numbers = values.to_numpy(dtype=np.float64)
        words = np.array(["", *self.missing_codes], dtype=object)
        texts = words[np.minimum(tags_of(numbers), len(words) - 1)]
        present = ~np.isnan(numbers)
        distinct, indices = np.unique(numbers[present], return_inverse=True)
        written = np.array(each(distinct.tolist(), self._text_of), dtype=object)
        if len(distinct):
            texts[present] = written[indices]
        if self.below is not None:
            texts[numbers < self.lower - self.grid.step / 2] = self.below
        if self.above is not None:
            texts[numbers > self.upper + self.grid.step / 2] = self.above
        return texts

    def as_written(self, numbers: Floats) -> Floats:
        """Return numbers as the column's file has them: as its short floating point, if any, holds them."""
        if self.stored is None or self.written_decimals is None:
            return numbers
        return as_written(self.stored, numbers, self.written_decimals)

    def _text_of(self, number: float) -> str:
        if self.stored is None or self.written_decimals is None:
            text = f"{number + 0.0:.{self.decimals}f}"
        else:
            text = text_of(self.stored, number, self.written_decimals)
        return text if self.decimal is None else text.replace(".", self.decimal)

    def compact(self, values: pd.Series) -> Compact:
        present = is_present(values)
        points = np.zeros(len(values), dtype=np.int64)
        points[present] = points_of(values, self.grid)
        if is_compact(values):
            return pack(np.where(present, points, values), np.ones(len(values), dtype=bool), self._widest)
        absent = ABSENT - tags_of(values.to_numpy(dtype=np.float64))
        return pack(np.where(present, points, absent), np.ones(len(values), dtype=bool), self._widest)

    @property
    def _widest(self) -> int:
        return max(self.grid.size, len(self.missing_codes) + 1)

    def max_codes(self, bins: int) -> int:
        return min(bins, self.grid.size) + len(self.missing_codes) + self.missing

    def code(self, noisy: Integers, binning: Binning) -> GridCode:
        return GridCode.of(self.histogram(binning.cells), noisy, binning)

    def histogram(self, cells: int) -> GridHistogram:
        return GridHistogram.of(self.grid, self.rounds, cells, missing=self.missing, reasons=len(self.missing_codes))

    def consent_sentence(self, cells: int) -> str | None:
        """Return the steps whose multiples are counted, missing codes and censored values, for consent."""
        sentences = []
        counted = self.histogram(cells).rounds
        sizes = [*(self.multiples if counted.steps else ()), *([self.recorded_step] if counted.recorded else ())]
        if multiples := ", ".join(f"{size:.15g}" for size in sizes):
            sentences.append(f"how many patients' values are multiples of {multiples}")
        if words := [word for word in (*self.missing_codes, self.below, self.above) if word is not None]:
            sentences.append("how many patients have " + ", ".join(f"'{word}'" for word in words))
        return "; ".join(sentences) or None

    def strata(self, values: pd.Series) -> list[str]:
        return strata_of(values, self.lower, self.upper)

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return np.round(rng.uniform(self.lower, self.upper, rows), self.decimals)
