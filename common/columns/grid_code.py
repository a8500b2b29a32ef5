"""Columns on a value grid: fine cells (public) that are counted, and bins (quantiles of the noisy counts) that encode.

Grid points are grouped into fine cells, counted on several levels (`common.columns.histograms`), and cells into
bins by the quantiles of the released noisy histogram. Nothing is learned from rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.base import Codes
from common.columns.binning import Binning
from common.columns.bins import cut, spread
from common.columns.compact import ABSENT, is_compact, is_present
from common.columns.histograms import count_nodes, length, levels, node_sums, project_to_simplex
from common.columns.parts import Parts
from common.columns.rounding import RoundValues, allot
from common.columns.smoothing import denoise
from common.columns.tags import tagged, tags_of
from common.columns.value_grid import ValueGrid

LEVELS_BESIDE_CLASSES = 3
"""Fewest histogram levels (more than 128 cells) beside which round values are counted: one count more then adds at
most a sixth to the noise in each."""

LEAST_MISSING = 0.5
"""Patients. Missing is never impossible where it is allowed."""

LEAST_CLASS = 0.5
"""Patients. No class of round values is ruled out, nor that of the others."""

POSSIBLE = 1e-6
"""Part of the mean cell's weight that every cell gets, so that no value becomes impossible."""


def points_of(values: pd.Series, grid: ValueGrid) -> Integers:
    """Return the grid points of the values that are present, from a conformed or compact column."""
    if is_compact(values):
        return values.to_numpy()[is_present(values)].astype(np.int64)
    numbers = values.to_numpy(dtype=np.float64)
    return grid.points(numbers[~np.isnan(numbers)])


def absences_of(values: pd.Series, reasons: int) -> Integers:
    """Return the number of the missing code of every value that is missing, `reasons` where there is none.

    Args:
        values: a conformed or compact column; values that are present are skipped.
        reasons: number of missing codes.
    """
    absent = values.to_numpy()[~is_present(values)]
    tags = ABSENT - absent.astype(np.int64) if is_compact(values) else tags_of(absent.astype(np.float64))
    return np.where(tags == 0, reasons, tags - 1)


@dataclass(frozen=True, slots=True, eq=False)
class GridHistogram:
    """How a column on a value grid is counted: the nodes of its cells, the classes of round values, missing values.

    Attributes:
        grid: the values that the column can take.
        starts: first grid point of every cell, then the grid's size.
        rounds: the round values that are counted, in grid steps. None where every point has a cell, whose count says
            it all. No multiples where the histogram has fewer than `LEVELS_BESIDE_CLASSES` levels: where patients are
            few for the noise, a further count in every column costs more than they are worth. Values recorded in
            another unit are counted all the same: few columns have them, and their cells are mostly empty.
        missing: whether a value may be missing; the last count is then of missing values.
        reasons: number of missing codes, each of which has a count before that one.
    """

    grid: ValueGrid
    starts: Integers
    rounds: RoundValues
    missing: bool
    reasons: int = 0

    @classmethod
    def of(
        cls, grid: ValueGrid, rounds: RoundValues, cells: int, *, missing: bool = False, reasons: int = 0
    ) -> GridHistogram:
        """Return the histogram of a column.

        Args:
            grid: values that the column may take.
            rounds: declared round values, in grid steps.
            cells: upper bound on the fine cells.
            missing: whether a value may be missing.
            reasons: number of missing codes.
        """
        return _histogram(grid, rounds, cells, missing, reasons)

    @property
    def cells(self) -> int:
        """Return the number of fine cells."""
        return len(self.starts) - 1

    @property
    def length(self) -> int:
        return length(self.cells) + self.rounds.classes + self.absences

    @property
    def absences(self) -> int:
        """Return the number of counts of values that are no number: one per missing code, and one of missing."""
        return self.reasons + self.missing

    @property
    def max_changed_cells(self) -> int:
        """One node per level, and one class where round values are counted; or one where the value is missing or a
        missing code."""
        return len(levels(self.cells)) + bool(self.rounds)

    def count(self, values: pd.Series) -> Integers:
        points = points_of(values, self.grid)
        indices = np.searchsorted(self.starts, points, side="right") - 1
        parts = [count_nodes(np.bincount(indices, minlength=self.cells))]
        if self.rounds:
            classes = self.rounds.classes_of(points + self.grid.first)
            parts.append(np.bincount(classes, minlength=self.rounds.classes))
        if self.absences:
            absent = absences_of(values, self.reasons)
            parts.append(np.bincount(np.minimum(absent, self.absences - 1), minlength=self.absences))
        return np.concatenate(parts)


@lru_cache(maxsize=1024)
def _histogram(grid: ValueGrid, rounds: RoundValues, cells: int, missing: bool, reasons: int) -> GridHistogram:
    starts = grid.cell_starts(cells)
    has_wide_cells = grid.size > cells
    is_fine = len(levels(len(starts) - 1)) >= LEVELS_BESIDE_CLASSES
    counted = replace(rounds, steps=rounds.steps if is_fine else ()) if has_wide_cells else RoundValues()
    return GridHistogram(grid, starts, counted, missing, reasons)


@dataclass(frozen=True, slots=True, eq=False)
class GridCode:
    """How one column on a value grid is cut into bins.

    Attributes:
        grid: the values that the column can take.
        reasons: number of missing codes; their codes come after the bins, that of missing is the last.
        starts: first grid point of every cell, then the grid's size: shape (cells + 1,).
        cuts: first cell of every bin, then the number of cells: shape (bins + 1,).
        cell_weights: denoised patients per cell, shape (cells,).
        rounds: the round values that were counted, in grid steps.
        class_weights: denoised patients per class of round values, shape (rounds.classes,).
        absent_weights: denoised patients with each missing code, then of those whose value is missing where it may be.
    """

    grid: ValueGrid
    reasons: int
    starts: Integers
    cuts: Integers
    cell_weights: Floats
    rounds: RoundValues
    class_weights: Floats
    absent_weights: Floats

    @classmethod
    def of(cls, histogram: GridHistogram, noisy: Integers, binning: Binning) -> Self:
        """Return the code that the column's released counts give.

        Args:
            histogram: how the column was counted.
            noisy: noisy counts of the histogram, shape (histogram.length,).
            binning: how finely the column is cut, and how noisy the counts are.
        """
        nodes, counted = length(histogram.cells), histogram.length - histogram.absences
        absent_weights = np.maximum(LEAST_MISSING, noisy[counted:].astype(np.float64))
        rounds, counts = histogram.rounds, noisy[nodes:counted].astype(np.float64)
        even = _even(histogram, counts, binning.deviation)
        weights = denoise(noisy[:nodes], even, binning.deviation)
        weights = weights + POSSIBLE * weights.sum() / len(weights)
        classes = project_to_simplex(counts, float(weights.sum()))
        cuts = cut(weights, binning.bins)
        return cls(histogram.grid, histogram.reasons, histogram.starts, cuts, weights, rounds, classes, absent_weights)

    @property
    def size(self) -> int:
        return len(self.cuts) - 1 + len(self.absent_weights)

    @property
    def masses(self) -> Floats:
        return np.concatenate([np.add.reduceat(self.cell_weights, self.cuts[:-1]), self.absent_weights])

    @property
    def counts_per_mass(self) -> int:
        """A bin is the difference of two sums of few nodes."""
        return 2

    @property
    def parts(self) -> Parts:
        """Cells, each in a node of every level, then one part for each reason why a value is missing.

        Counts of round values say how values lie within cells, and nothing of cells.
        """
        cells, absences = len(self.starts) - 1, len(self.absent_weights)
        nodes, absent = node_sums(cells), np.eye(absences)
        skipped = self.rounds.classes
        collected = np.zeros((len(nodes) + absences, len(nodes) + skipped + absences))
        collected[: len(nodes), : len(nodes)] = np.eye(len(nodes))
        collected[len(nodes) :, len(nodes) + skipped :] = absent
        sums = np.zeros((len(nodes) + absences, cells + absences))
        sums[: len(nodes), :cells], sums[len(nodes) :, cells:] = nodes, absent
        bins = np.searchsorted(self.cuts, np.arange(cells), side="right") - 1
        codes = np.concatenate([bins, len(self.cuts) - 1 + np.arange(absences)])
        no_number = np.full(absences, np.nan)
        lows, highs = (self.grid.values(points) for points in (self.starts[:-1], self.starts[1:] - 1))
        lows, highs = np.concatenate([lows, no_number]), np.concatenate([highs, no_number])
        weights = np.concatenate([self.cell_weights, self.absent_weights])
        return Parts(collected, sums, codes, lows, highs, self.grid.step, ("",) * len(codes), weights)

    def redrawn(self, deviation: float, rng: np.random.Generator) -> GridCode:
        """Return the same bins with other weights of the cells within them, as another sample and noise would give.

        Args:
            deviation: standard deviation of the noise in each released count, in patients.
            rng: of sample and noise.
        """
        nodes = count_nodes(rng.poisson(self.cell_weights))
        noisy = nodes + np.rint(deviation * rng.standard_normal(len(nodes))).astype(np.int64)
        weights = denoise(noisy, _even(self, self.class_weights, deviation), deviation)
        return replace(self, cell_weights=weights + POSSIBLE * max(weights.sum(), 1.0) / len(weights))

    def encode(self, values: pd.Series) -> Codes:
        codes, present = np.empty(len(values), dtype=np.int64), is_present(values)
        edges = self.starts[self.cuts]
        codes[present] = np.searchsorted(edges, points_of(values, self.grid), side="right") - 1
        codes[~present] = len(self.cuts) - 1 + absences_of(values, self.reasons)
        return np.minimum(codes, self.size - 1).astype(np.int16)

    def decode(self, codes: Codes, rng: np.random.Generator, order: Floats | None = None) -> Floats:
        """Return values spread inside their bin as the histogram says, NaN for missing, with the tag of its code.

        Args:
            codes: of every row.
            rng: source of randomness.
            order: a larger number for a larger value among the rows of a bin, shape (rows,); None for a random order.
        """
        absent = codes.astype(np.int64) - (len(self.cuts) - 1)  # below 0 where a bin says the value
        values = tagged(np.where((absent >= 0) & (absent < self.reasons), absent + 1, 0))
        borders = self.starts + self.grid.first
        odds = allot(self.cell_weights, self.class_weights, self.rounds.members(borders)) if self.rounds else None
        for code, (first, last) in enumerate(zip(self.cuts[:-1], self.cuts[1:], strict=True)):
            rows = np.flatnonzero(codes == code)
            if not len(rows):
                continue
            ranks = rng.permutation(len(rows)) if order is None else np.argsort(np.argsort(order[rows]))
            cells = first + spread(self.cell_weights[first:last], ranks, rng)
            if odds is None:
                points = rng.integers(self.starts[cells], self.starts[cells + 1])
            else:
                points = self.rounds.draw(borders[cells], borders[cells + 1], odds[cells], rng) - borders[0]
            values[rows] = self.grid.values(points)
        return values


def _even(counted: GridHistogram | GridCode, classes: Floats, deviation: float) -> Floats:
    """Return the part of patients that each cell would have if all values of a class were equally likely.

    No class has fewer patients than one deviation of the noise. A cell that stands for all values beyond a
    bound has no width; it gets what its neighbor has.

    Args:
        counted: cells, and the round values that were counted.
        classes: noisy patients per class of round values.
        deviation: standard deviation of the noise in each, in patients.
    """
    borders, grid = counted.starts + counted.grid.first, counted.grid
    even = counted.rounds.even(borders, np.maximum(classes, max(deviation, LEAST_CLASS)))
    even[0], even[-1] = even[int(grid.below)], even[-1 - int(grid.above)]
    return even
