"""Tables to codes and back. Everything is learnt from declared bounds and released noisy histograms, nothing from rows.

A numeric column is a quantization: lower, lower + step, ..., upper with step = 10^-decimals. grid points are grouped
into fine cells (public), and cells into bins by the quantiles of the noisy histogram (released). Every column is then a
category; a missing value, where allowed, is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.histograms import count_nodes, estimate, length, levels, project_to_simplex
from common.columns.rounding import allot, classes_of, draw, members
from common.errors import StudyError
from common.planning.plan import HISTOGRAMS, Plan
from common.study.schema import MAX_POINTS, Categorical, Column, Numeric, Schema

Codes = npt.NDArray[np.int16]

SKEW = 20.0
"""How strongly cells crowd at the lower bound, where clinical values do; 0 would be a uniform grid."""

LEVELS_BESIDE_CLASSES = 3
"""With so many levels, which more than 128 cells have, one more count is at most a sixth more noise in each."""


def value_grid_size(column: Numeric) -> int:
    """How many values the column can take: bounds included, `decimals` apart.

    Raises:
        StudyError: so many that floating point cannot tell them apart: cell borders would be off by a point, and a
            patient at the upper bound would lengthen the histogram.
    """
    points = round((column.upper - column.lower) * 10.0**column.decimals) + 1
    if points > MAX_POINTS:
        raise StudyError(f"column '{column.name}' can take more than 2^50 values; lower its decimals or its range")
    return points


def cell_starts(column: Numeric, cells: int) -> Integers:
    """The first grid point of every cell, then the number of points: shape (cells + 1,), strictly increasing.

    A column with few points gets a cell for each; else cells grow from the lower bound on (asinh spacing), are at least
    one point wide, and number at most `cells`.
    """
    points = value_grid_size(column)
    if points <= cells:
        return np.arange(points + 1)
    spread = np.sinh(np.linspace(0, np.arcsinh(SKEW), cells + 1)) / SKEW
    return np.unique(np.round(spread * points).astype(np.int64))


def count_cells(frame: pd.DataFrame, schema: Schema, cells: int) -> Integers:
    """Patients per node of every numeric column's histogram (`common.columns.histograms`), one column after the other.

    Where a column's `multiples` are counted (`counted_steps`), patients per class follow its nodes. One patient adds
    one to at most one node per level of a numeric column and to at most one class (none where the value is missing),
    so to at most `histogram_max_changed_cells` counts: the L2 sensitivity is its square root.

    Args:
        frame: conformed, or its places; one row per patient.
    """
    parts = []
    for column in schema.numeric:
        points, starts = _points_of(frame[column.name], column), cell_starts(column, cells)
        places = np.searchsorted(starts, points, side="right") - 1
        parts.append(count_nodes(np.bincount(places, minlength=len(starts) - 1)))
        if steps := counted_steps(column, cells):
            classes = classes_of(points + _first(column), steps)
            parts.append(np.bincount(classes, minlength=len(steps) + 1))
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def histogram_max_changed_cells(schema: Schema, cells: int) -> int:
    """How many of the counts of `count_cells` one patient changes at most: public."""
    return sum(len(levels(_size(column, cells))) + bool(counted_steps(column, cells)) for column in schema.numeric)


def histogram_length(schema: Schema, cells: int) -> int:
    """How long `count_cells` is: public."""
    return sum(column_length(column, cells) for column in schema.numeric)


def column_length(column: Numeric, cells: int) -> int:
    """How many counts of `count_cells` are of this column: public."""
    steps = counted_steps(column, cells)
    return length(_size(column, cells)) + (len(steps) + 1 if steps else 0)


def counted_steps(column: Numeric, cells: int) -> tuple[int, ...]:
    """The declared multiples, in value grid steps: public.

    None where every point has a cell, whose count says it all, and none where the column's histogram has fewer than
    three levels: where patients are few for the noise, a further count costs more than round values are worth.
    """
    if not column.multiples or value_grid_size(column) <= cells:
        return ()
    return column.steps if len(levels(_size(column, cells))) >= LEVELS_BESIDE_CLASSES else ()


def _first(column: Numeric) -> int:
    """The lower bound in value grid steps from zero."""
    return round(column.lower * 10.0**column.decimals)


def _size(column: Numeric, cells: int) -> int:
    return len(cell_starts(column, cells)) - 1


ABSENT = -1
"""What stands for missing among places."""


def is_places(values: pd.Series) -> bool:
    """Whether the column is written as `places_of` writes it."""
    return bool(values.dtype.kind == "i")


def places_of(values: pd.Series, column: Column) -> npt.NDArray[np.signedinteger[Any]]:
    """A conformed column in few bytes: grid points or category numbers, `ABSENT` for missing.

    `count_cells` and `Encoder.encode` take a frame of these as they take a conformed one, with the same outcome.
    """
    if isinstance(column, Categorical):
        most = len(column.categories)
        places = _category_numbers(values, column)
        present = places < most
    else:
        most = value_grid_size(column)
        present = values.notna().to_numpy()
        places = np.zeros(len(values), dtype=np.int64)
        places[present] = _points_of(values, column)
    return np.where(present, places, ABSENT).astype(np.min_scalar_type(-most))


def _is_present(values: pd.Series) -> npt.NDArray[np.bool_]:
    return np.asarray(values.to_numpy() != ABSENT if is_places(values) else values.notna().to_numpy(), dtype=np.bool_)


def _category_numbers(values: pd.Series, column: Categorical) -> Integers:
    """Which category each value is; their number for missing."""
    if is_places(values):
        return np.where(_is_present(values), values, len(column.categories)).astype(np.int64)
    numbers = values.map({label: code for code, label in enumerate(column.categories)})
    return np.asarray(numbers.fillna(len(column.categories)), dtype=np.int64)


def _points_of(values: pd.Series, column: Numeric) -> Integers:
    """grid points of the values that are present."""
    if is_places(values):
        return values.to_numpy()[_is_present(values)].astype(np.int64)
    present = values.to_numpy(dtype=np.float64)
    present = present[~np.isnan(present)]
    points = np.round((present - column.lower) * 10**column.decimals)
    return np.asarray(np.clip(points, 0, value_grid_size(column) - 1), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _NumericCode:
    """How one numeric column is cut: `cuts` indexes cells, `cell_weights` are denoised patients per cell.

    `steps` are the multiples that were counted, `class_weights` denoised patients per class.
    """

    column: Numeric
    starts: Integers
    cuts: Integers
    cell_weights: Floats
    steps: tuple[int, ...]
    class_weights: Floats

    @classmethod
    def of(cls, column: Numeric, noisy: Integers, *, cells: int, bins: int, deviation: float) -> Self:
        """From the column's part of the released counts."""
        starts, steps = cell_starts(column, cells), counted_steps(column, cells)
        nodes = length(len(starts) - 1)
        weights = estimate(noisy[:nodes], len(starts) - 1, deviation)
        weights = weights + 1e-6 * weights.sum() / len(weights)  # every cell stays possible
        classes = project_to_simplex(noisy[nodes:].astype(np.float64), float(weights.sum()))
        return cls(column, starts, _cut(weights, bins), weights, steps, classes)

    @property
    def size(self) -> int:
        return len(self.cuts) - 1 + self.column.missing

    def encode(self, values: pd.Series) -> Codes:
        codes = np.full(len(values), len(self.cuts) - 1, dtype=np.int16)
        present = _is_present(values)
        edges = self.starts[self.cuts]
        codes[present] = np.searchsorted(edges, _points_of(values, self.column), side="right") - 1
        return np.minimum(codes, self.size - 1).astype(np.int16)

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.Series:
        values = np.full(len(codes), np.nan)
        borders = self.starts + _first(self.column)
        shares = allot(self.cell_weights, self.class_weights, members(borders, self.steps)) if self.steps else None
        for code, (first, last) in enumerate(zip(self.cuts[:-1], self.cuts[1:], strict=True)):
            chosen = np.flatnonzero(codes == code)
            if not len(chosen):
                continue
            weights = self.cell_weights[first:last]
            cells = first + rng.choice(last - first, len(chosen), p=weights / weights.sum())
            if shares is None:
                points = rng.integers(self.starts[cells], self.starts[cells + 1])
            else:
                points = draw(borders[cells], borders[cells + 1], shares[cells], self.steps, rng) - borders[0]
            exact = self.column.lower + points / 10**self.column.decimals
            values[chosen] = np.round(exact, self.column.decimals)
        return pd.Series(values, name=self.column.name)


@dataclass(frozen=True, slots=True, eq=False)
class _CategoricalCode:
    column: Categorical

    @property
    def size(self) -> int:
        return len(self.column.categories) + self.column.missing

    def encode(self, values: pd.Series) -> Codes:
        return np.minimum(_category_numbers(values, self.column), self.size - 1).astype(np.int16)

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.Series:
        labels = np.array([*self.column.categories, None], dtype=object)
        return pd.Series(labels[codes], name=self.column.name)


class Encoder:
    """Conformed tables to integer codes and back.

    Args:
        schema: the agreed columns.
        histograms: the sum of the hospitals' noisy histograms, laid out as `count_cells` lays them out.
        cells: the resolution they were counted at.
        bins: at most so many bins per numeric column.
        deviation: of the noise in each count of the sum, in patients.

    Attributes:
        sizes: the number of codes of each column, in schema order.
        width: their sum, the width of one one-hot row.
    """

    @classmethod
    def planned(cls, schema: Schema, histograms: Integers, plan: Plan) -> Encoder:
        """The encoder of a run: the coordinator and every hospital make the same one."""
        deviation = plan.total_deviation(HISTOGRAMS) if plan.vector(HISTOGRAMS) else 0.0
        return cls(schema, histograms, cells=plan.cells, bins=plan.bins, deviation=deviation)

    def __init__(self, schema: Schema, histograms: Integers, *, cells: int, bins: int, deviation: float = 0.0) -> None:
        if len(histograms) != histogram_length(schema, cells):
            raise ValueError(f"{len(histograms)} histogram cells; the schema needs {histogram_length(schema, cells)}")
        self.schema = schema
        self._codes: list[_NumericCode | _CategoricalCode] = []
        place = 0
        for column in schema.each():
            if isinstance(column, Categorical):
                self._codes.append(_CategoricalCode(column))
                continue
            noisy = histograms[place : place + column_length(column, cells)]
            place += len(noisy)
            self._codes.append(_NumericCode.of(column, noisy, cells=cells, bins=bins, deviation=deviation))
        self.sizes = tuple(code.size for code in self._codes)
        self.width = sum(self.sizes)

    def encode(self, frame: pd.DataFrame) -> Codes:
        """Codes of shape (rows, columns), int16, each below the column's size; `frame` is conformed, or its places."""
        if not len(frame):
            return np.empty((0, len(self.sizes)), dtype=np.int16)
        parts = [code.encode(frame[code.column.name]) for code in self._codes]
        return np.stack(parts, axis=1)

    def decode(self, codes: Codes, rng: np.random.Generator) -> pd.DataFrame:
        """A conformed table: numbers on the declared quantization, drawn inside their bin as the histogram says."""
        parts = [code.decode(codes[:, place], rng) for place, code in enumerate(self._codes)]
        return pd.concat(parts, axis=1)


def _cut(weights: Floats, bins: int) -> Integers:
    """Cell boundaries of at most `bins` bins of about equal weight: increasing, from 0 to the number of cells."""
    cumulative = np.cumsum(weights) / weights.sum()
    inner = np.searchsorted(cumulative, np.linspace(0, 1, bins + 1)[1:-1]) + 1
    return np.unique(np.concatenate([[0], np.minimum(inner, len(weights) - 1), [len(weights)]]))
