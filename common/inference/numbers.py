"""Means, deviations and quartiles of a column of numbers, of all patients and by group.

All patients are counted in fine cells. Groups of patients are counted in bins, each of many cells. Within bin b, with
mean m_b and variance v_b of all patients, the part of them that is in the group changes about linearly with the number:
its slope s_b is that between the neighboring bins. The group's sum of numbers in the bin is then T_b m_b + N_b s_b v_b,
with T_b of its patients and N_b of all. m_b is of a sample and noisy: v_b / N_b and the noise add
sum_b (T_b / T)^2 var(m_b) to the variance of a group's mean.

Where numbers lie within a cell is not counted. The mean of a cell of width h is taken to be anywhere in it, as likely
here as there: that adds (w h)^2 / 12 for each cell with a part w of the patients. Limits of quantiles are moved to the
ends of their cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.columns.parts import Parts
from common.inference.counts import Table
from common.inference.noisy import UNKNOWN, CellPoint, Interval, NoisyCounts

LEAST_PATIENTS = 2.0
"""In a bin of fewer patients, by noisy counts, numbers are taken to lie evenly between its bounds."""

MOST_TILT = 1.0
"""Largest change of a group's density within a bin, per standard deviation of the bin's numbers."""


@dataclass(frozen=True, slots=True)
class NumberFigures:
    """Figures of the numbers of some patients, in the unit of the column.

    Attributes:
        patients: how many have a number, estimated.
        mean: with its interval.
        deviation: standard deviation, without an interval; NaN where noise hides it.
        quantiles: one for each level that was asked for.
    """

    patients: float
    mean: Interval
    deviation: float
    quantiles: tuple[Interval, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """How the numbers of a column lie among all patients.

    Attributes:
        parts: of the column.
        counts: patients per part.
    """

    parts: Parts
    counts: NoisyCounts

    def overall(self, levels: Sequence[float]) -> NumberFigures:
        """Return the figures of all patients with a number.

        Args:
            levels: of the quantiles, in (0, 1).
        """
        order, known = self.parts.is_number, (~np.isnan(self.parts.lows)).astype(np.float64)
        middles = np.nan_to_num(self.parts.middles)

        def value(point: CellPoint) -> tuple[int, float]:
            return int(order[point.cell]), point.fraction

        quantiles = []
        for level in levels:
            found = self.counts.cumulative(order, known, level).quantile()
            quantiles.append(self._interval(*map(value, found)))
        patients = float(known @ self.counts.counts)
        whole = Bins(self, np.zeros(1, dtype=np.int64), [order])
        mean = self.counts.mean(middles, known, whole.within_cells(np.ones(1)))
        deviation = math.sqrt(whole.variances[0])
        return NumberFigures(patients, mean, deviation, tuple(quantiles))

    def of_group(self, table: Table, is_in_group: Floats, levels: Sequence[float]) -> NumberFigures:
        """Return the figures of a group of patients.

        Args:
            table: patients by the column's groups of codes and another column.
            is_in_group: 0 or 1: the patients of which group, shape (cells of the table,).
            levels: of the quantiles, in (0, 1).
        """
        bins = self._bins(table.maps[0])
        rows = np.arange(len(table.counts.counts)) // table.shape[1]
        numbered = np.isin(rows, bins.groups).astype(np.float64) * is_in_group
        total = float(numbered @ table.counts.counts)
        if total < LEAST_PATIENTS:
            return NumberFigures(total, UNKNOWN, math.nan, (UNKNOWN,) * len(levels))
        per_bin = (table.counts.counts * numbered).reshape(table.shape).sum(1)[bins.groups]
        tilts, parts = bins.tilts(per_bin), per_bin / total
        values, spread = np.zeros(table.shape[0]), np.zeros(table.shape[0])
        shifts = tilts * bins.variances
        values[bins.groups], spread[bins.groups] = bins.means + shifts, bins.variances
        further = bins.variance_of_mean(parts) + float(parts @ shifts) ** 2
        mean = table.counts.mean(values[rows], numbered, further)
        variance = float((spread + (values - mean.value) ** 2)[rows] @ (numbered * table.counts.counts)) / total
        first = np.array([int(np.flatnonzero((rows == group) & (is_in_group > 0))[0]) for group in bins.groups])
        quantiles, deviations = [], bins.noise_within() * parts
        for level in levels:
            running = table.counts.cumulative(first, is_in_group, level).less_certain(deviations)
            middle, low, high = (bins.within(point, tilts[point.cell]) for point in running.quantile())
            quantiles.append(self._interval(middle, low, high))
        return NumberFigures(total, mean, math.sqrt(variance) if variance > 0 else math.nan, tuple(quantiles))

    def _interval(self, middle: tuple[int, float], low: tuple[int, float], high: tuple[int, float]) -> Interval:
        """Return a quantile with its limits, moved to the ends of their parts; each is a part and a fraction of it."""
        value = self.number(*middle)
        return Interval(
            value, float(self.parts.lows[min(low, middle)[0]]), float(self.parts.highs[max(high, middle)[0]])
        )

    def _bins(self, groups_of_codes: Integers) -> Bins:
        """Return how numbers lie in each group of codes.

        Args:
            groups_of_codes: group of each code, in increasing order.
        """
        groups = groups_of_codes[self.parts.codes]
        numbered = [group for group in np.unique(groups) if not np.isnan(self.parts.lows[groups == group]).any()]
        members = [np.flatnonzero(groups == group) for group in numbered]
        return Bins(self, np.array(numbered, dtype=np.int64), members)

    def number(self, part: int, fraction: float) -> float:
        """Return the number below which a fraction of a part's patients are, if they lie evenly on its grid."""
        low, high, step = self.parts.lows[part], self.parts.highs[part], self.parts.step
        points = round((high - low) / step) + 1
        return float(low + min(points - 1, math.floor(fraction * points)) * step)


class Bins:
    """How the numbers of all patients lie in bins.

    Args:
        numbers: of the column.
        groups: which group of codes each bin is, in increasing order.
        members: indices of the parts of each bin.

    Attributes:
        patients: N_b, denoised, shape (bins,).
        means: m_b, unbiased where the noise leaves it within the bin.
        variances: v_b, denoised.
    """

    def __init__(self, numbers: Numbers, groups: Integers, members: Sequence[Integers]) -> None:
        self._numbers, self.groups, self._members = numbers, groups, members
        shapes = [self._shape(parts) for parts in members]
        self.patients, self.means, self.variances = (np.array(column) for column in zip(*shapes, strict=True))

    def _shape(self, members: Integers) -> tuple[float, float, float]:
        parts, counts = self._numbers.parts, self._numbers.counts.counts[members]
        weights, middles = parts.weights[members], parts.middles[members]
        total = max(float(weights.sum()), 1e-9)
        within = (parts.highs[members] - parts.lows[members]) ** 2 / 12
        mean = float(weights @ middles) / total
        variance = float(weights @ ((middles - mean) ** 2 + within)) / total
        unbiased = float(counts @ middles) / max(float(counts.sum()), LEAST_PATIENTS)
        is_inside = parts.lows[members[0]] <= unbiased <= parts.highs[members[-1]]
        return total, unbiased if is_inside else mean, variance

    def tilts(self, of_group: Floats) -> Floats:
        """Return N_b s_b / T_b: by which part of itself the group's density grows per unit, against all patients'.

        Args:
            of_group: T_b, patients of the group in each bin, shape (bins,).
        """
        if len(of_group) < 2 or not (np.diff(self.means) > 0).all():
            return np.zeros(len(of_group))
        part = np.clip(of_group / np.maximum(self.patients, LEAST_PATIENTS), 0.0, 1.0)
        steps = np.gradient(part, self.means) / np.maximum(part, 1e-3)
        limits = MOST_TILT / np.sqrt(np.maximum(self.variances, 1e-12))
        return np.asarray(np.clip(steps, -limits, limits))

    def within_cells(self, parts: Floats) -> float:
        """Return the variance of sum_b (T_b / T) m_b because it is not known where in their cells the numbers lie.

        Args:
            parts: T_b / T, shape (bins,).
        """
        variance, numbered = 0.0, self._numbers.parts
        for part, members in zip(parts.tolist(), self._members, strict=True):
            weights, widths = numbered.weights[members], numbered.highs[members] - numbered.lows[members]
            variance += part**2 * float((weights * widths) @ (weights * widths)) / max(float(weights.sum()), 1e-9) ** 2
        return variance / 12

    def variance_of_mean(self, parts: Floats) -> float:
        """Return the variance of sum_b (T_b / T) m_b by what is not known of m_b: sampling, noise, place within cells.

        Args:
            parts: T_b / T, shape (bins,).
        """
        sampling = float(parts**2 @ (self.variances / np.maximum(self.patients, LEAST_PATIENTS)))
        return sampling + self.noise_of_mean(parts) + self.within_cells(parts)

    def noise_of_mean(self, parts: Floats) -> float:
        """Return the variance of sum_b (T_b / T) m_b by noise in m_b, with the covariances of neighboring bins.

        Args:
            parts: T_b / T, shape (bins,).
        """
        gradient = np.zeros(len(self._numbers.counts.counts))
        for part, members, mean, patients in zip(parts, self._members, self.means, self.patients, strict=True):
            middles = self._numbers.parts.middles[members]
            gradient[members] = part * (middles - mean) / max(patients, LEAST_PATIENTS)
        return self._numbers.counts.noise_of(gradient, gradient)

    def noise_within(self) -> Floats:
        """Return the largest standard deviation of the noise in each bin's own distribution function, shape (bins,)."""
        deviations = []
        for members, patients in zip(self._members, self.patients, strict=True):
            noise = self._numbers.counts.noise[np.ix_(members, members)]
            weights = self._numbers.parts.weights[members]
            reached = np.cumsum(weights) / max(float(weights.sum()), 1e-9)
            gradients = np.tril(np.ones(noise.shape)) - reached[:, None]
            variance = ((gradients @ noise) * gradients).sum(1).max()
            deviations.append(min(0.5, math.sqrt(variance) / max(patients, LEAST_PATIENTS)))
        return np.array(deviations)

    def within(self, point: CellPoint, tilt: float) -> tuple[int, float]:
        """Return the part, and the fraction of it, below which a fraction of the group's patients in a bin are.

        Args:
            point: bin and fraction.
            tilt: of the group in the bin, as `tilts` gives it.
        """
        members = self._members[point.cell]
        middles = self._numbers.parts.middles[members]
        weights = self._numbers.parts.weights[members] * np.maximum(0, 1 + tilt * (middles - self.means[point.cell]))
        total = weights.sum()
        weights = weights / total if total > 0 else np.full(len(members), 1 / len(members))
        running = np.cumsum(weights)
        index = min(int(np.searchsorted(running, point.fraction - 1e-12)), len(members) - 1)
        before = running[index] - weights[index]
        fraction = (point.fraction - before) / weights[index] if weights[index] > 0 else 1.0
        return int(members[index]), min(max(fraction, 0.0), 1.0)
