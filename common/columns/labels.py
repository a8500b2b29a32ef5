"""Columns of labels: finding a cell's label, and codes that are the labels' numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.base import Codes, Column, ColumnCode, Histogram
from common.columns.binning import Binning
from common.columns.cells import is_missing, number_of
from common.columns.compact import Compact, is_compact, is_present, pack
from common.columns.histograms import project_to_simplex
from common.columns.parts import Parts

LEAST_MASS = 0.3
"""Patients. No label is impossible, however few have it by the noisy counts."""

UNLISTED = -1
"""The number of a label that the column does not list."""


def finder(labels: Sequence[str]) -> Callable[[str], int]:
    """Return a function from a cell to its label's number: `len(labels)` if missing, `UNLISTED` if neither.

    The exact text is tried first, then without surrounding blanks, then as a number: "1.0" is the label "1".
    """
    numbers = {label: number for number, label in enumerate(labels)}
    values = {
        number_of(label): number for label, number in reversed(numbers.items()) if not math.isnan(number_of(label))
    }

    def number_of_cell(text: str) -> int:
        for form in (text, text.strip()):
            if form in numbers:
                return numbers[form]
        if is_missing(text):
            return len(labels)
        return values.get(number_of(text), UNLISTED)

    return number_of_cell


def label_numbers(values: pd.Series, labels: Sequence[str]) -> Integers:
    """Return the label's number for every value of a conformed or compact column; `len(labels)` for missing."""
    if is_compact(values):
        return np.where(is_present(values), values, len(labels)).astype(np.int64)
    numbers = values.map({label: number for number, label in enumerate(labels)})
    return np.asarray(numbers.fillna(len(labels)), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class LabelHistogram:
    """How a column of labels is counted: once for every label, and for missing where it is allowed."""

    labels: tuple[str, ...]
    missing: bool

    @property
    def length(self) -> int:
        return len(self.labels) + self.missing

    @property
    def max_changed_cells(self) -> int:
        return 1

    def count(self, values: pd.Series) -> Integers:
        numbers = np.minimum(label_numbers(values, self.labels), self.length - 1)
        return np.bincount(numbers, minlength=self.length)


@dataclass(frozen=True, slots=True, eq=False)
class LabelCode:
    """A code for every label, and one for missing where it is allowed.

    Attributes:
        masses: denoised patients per code.
    """

    labels: tuple[str, ...]
    missing: bool
    masses: Floats

    @classmethod
    def of(cls, histogram: LabelHistogram, noisy: Integers) -> LabelCode:
        """Return the code that the column's released counts give."""
        masses = project_to_simplex(noisy.astype(np.float64), max(float(noisy.sum()), 1.0)) + LEAST_MASS
        return cls(histogram.labels, histogram.missing, masses)

    @property
    def size(self) -> int:
        return len(self.labels) + self.missing

    @property
    def counts_per_mass(self) -> int:
        return 1

    @property
    def parts(self) -> Parts:
        return Parts.of_labels(np.eye(self.size), np.eye(self.size), self.labels, self.masses)

    def redrawn(self, deviation: float, rng: np.random.Generator) -> LabelCode:
        return self  # a code is one label

    def encode(self, values: pd.Series) -> Codes:
        return np.minimum(label_numbers(values, self.labels), self.size - 1).astype(np.int16)

    def decode(self, codes: Codes, rng: np.random.Generator) -> npt.NDArray[Any]:
        return np.array([*self.labels, None], dtype=object)[codes]


class LabelColumn(Column):
    """A column of labels: it is conformed to its `labels` and None, and each label is counted and has a code."""

    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        return np.where(values.notna(), values, "").astype(object)

    def compact(self, values: pd.Series) -> Compact:
        numbers = label_numbers(values, self.labels)
        return pack(numbers, numbers < len(self.labels), len(self.labels))

    def max_codes(self, bins: int) -> int:
        return len(self.labels) + self.missing

    def code(self, noisy: Integers, binning: Binning) -> ColumnCode:
        return LabelCode.of(LabelHistogram(self.labels, self.missing), noisy)

    def histogram(self, cells: int) -> Histogram:
        return LabelHistogram(self.labels, self.missing)

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        return rng.choice(np.array(self.labels, dtype=object), rows)
