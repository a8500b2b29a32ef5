"""Noisy counts of patients, and intervals of ratios, means and quantiles that hold noise and sampling.

Notation: T^ are estimated patients per cell of one table, T the patients counted, S the covariance of the noise. The
patients are a sample: cell by cell, T is Poisson, or multinomial given its total; for ratios both give the same. For
weights a and b of cells, a' T^ - r b' T^ has mean zero at the true ratio r, whatever the sizes, and variance

    sum_c (a_c - r b_c)^2 T_c  +  (a - r b)' S (a - r b).

The interval holds every r whose a' T^ - r b' T^ is within z standard deviations of zero (Fieller 1954). Both sides are
quadratic in r. For a proportion, a is 0 or 1 within b, the first term is B r (1 - r) with B = b' T, and without noise
this is Wilson's interval (1927).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import LEVEL, normal_quantile


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval.

    Attributes:
        value: the estimate, in the unit of the column; NaN where noise hides it.
        low, high: limits; infinite or NaN where noise hides them.
    """

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether the interval is bounded."""
        return math.isfinite(self.low) and math.isfinite(self.high) and math.isfinite(self.value)

    def text(self, number_format: str) -> str:
        """Return the value with its limits in parentheses, each in a format such as ".3f"."""
        value, low, high = (format(number, number_format) for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


UNKNOWN = Interval(math.nan, -math.inf, math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class NoisyCounts:
    """Estimated patients per cell.

    Attributes:
        counts: T^, shape (cells,).
        noise: S, shape (cells, cells).
    """

    counts: Floats
    noise: Floats

    @classmethod
    def solved(cls, information: Floats, right: Floats) -> NoisyCounts:
        """Return the solution of normal equations and its covariance.

        Args:
            information: sum of H' H / v, shape (cells, cells).
            right: sum of H' y / v, shape (cells,).
        """
        inverse = np.asarray(np.linalg.inv(information), dtype=np.float64)
        noise = (inverse + inverse.T) / 2
        return cls(noise @ right, noise)

    def summed(self, sums: Floats) -> NoisyCounts:
        """Return sums of cells.

        Args:
            sums: which cells each adds up, shape (sums, cells).
        """
        return NoisyCounts(sums @ self.counts, sums @ self.noise @ sums.T)

    def noise_of(self, first: Floats, second: Floats) -> float:
        """Return the covariance of the noise in two weighted sums of cells."""
        return float(first @ self.noise @ second)

    def size(self, cells: Floats) -> Interval:
        """Return how many of the counted patients are in these cells; noise alone is in the interval.

        Args:
            cells: 0 or 1, shape (cells,).
        """
        value, reach = float(cells @ self.counts), normal_quantile(LEVEL) * math.sqrt(self.noise_of(cells, cells))
        return Interval(value, value - reach, value + reach)

    def proportion(self, part: Floats, whole: Floats) -> Interval:
        """Return the proportion of patients in `part` among those in `whole`, between 0 and 1.

        Where noise hides the patients in `whole` the value is NaN, and the interval says nothing.

        Args:
            part: 0 or 1, shape (cells,); within `whole`.
            whole: 0 or 1, shape (cells,).
        """
        hits, total, z2 = float(part @ self.counts), float(whole @ self.counts), normal_quantile(LEVEL) ** 2
        own, mixed, of_total = self.noise_of(part, part), self.noise_of(part, whole), self.noise_of(whole, whole)
        # A is moved into [0, B]: it then misses no r in [0, 1] by more, and the interval is never the end alone
        hits = min(max(hits, 0.0), max(total, 0.0))
        # (A - r B)^2 <= z^2 (B r (1 - r) + S_aa - 2 r S_ab + r^2 S_bb), sorted by powers of r
        square = total**2 + z2 * (total - of_total)
        linear = -2 * hits * total - z2 * (total - 2 * mixed)
        constant = hits**2 - z2 * own
        if total**2 <= z2 * of_total or total < 1:
            return Interval(math.nan, 0.0, 1.0)
        value = min(max(hits / total, 0.0), 1.0)
        return _between(value, (square, linear, constant), 0.0, 1.0)

    def mean(self, values: Floats, cells: Floats, further: float = 0.0) -> Interval:
        """Return the mean of numbers over the patients in some cells.

        Args:
            values: number of each cell's patients, shape (cells,); any where `cells` is 0.
            cells: 0 or 1, shape (cells,).
            further: variance of the mean for other reasons, such as noise in `values`.
        """
        total, z2 = float(cells @ self.counts), normal_quantile(LEVEL) ** 2
        of_total = self.noise_of(cells, cells)
        if total**2 <= z2 * of_total or total < 2:
            return UNKNOWN
        numbers = np.where(cells > 0, values, 0.0)
        center = float(numbers @ self.counts) / total
        weighted = np.where(cells > 0, numbers - center, 0.0)  # x - center: then A is about 0
        hits = float(weighted @ self.counts)
        # (A - r B)^2 <= z^2 (sum x^2 T - 2 r sum x T + r^2 B + S_aa - 2 r S_ab + r^2 S_bb)
        squares = max(float(weighted**2 @ self.counts), 0.0)
        own, mixed = self.noise_of(weighted, weighted), self.noise_of(weighted, cells)
        square = total**2 - z2 * (total + of_total)
        linear = -2 * hits * total + 2 * z2 * (hits + mixed)
        constant = hits**2 - z2 * (squares + own + further * total**2)
        if square <= 0:
            return UNKNOWN
        inner = _between(0.0, (square, linear, constant), -math.inf, math.inf)
        return Interval(center, center + inner.low, center + inner.high)

    def cumulative(self, order: Integers, cells: Floats, level: float) -> Cumulative:
        """Return the distribution function at the end of each cell, and what it may be where it is truly `level`.

        An interval of a quantile is where the distribution function is not significantly above or below it (Woodruff
        1952, J. Am. Stat. Assoc. 47). Its variance there is q (1 - q) / N and that of the noise.

        Args:
            order: indices of the cells that hold numbers, in increasing order of these.
            cells: 0 or 1: whose patients; shape (cells,).
            level: q.
        """
        weights = cells[order]
        counts, noise = self.counts[order] * weights, self.noise[np.ix_(order, order)]
        total = max(float(counts.sum()), 1.0)
        running = np.cumsum(np.cumsum(noise * np.outer(weights, weights), axis=0), axis=1)
        of_total = running[:, -1]  # covariance of each cumulative sum with the sum of all
        variances = np.diag(running) - 2 * level * of_total + level**2 * of_total[-1]  # of N (F - q)
        variances = np.maximum(variances, 0.0) + total * level * (1 - level)
        reach = normal_quantile(LEVEL) * np.sqrt(variances) / total
        return Cumulative(level, np.cumsum(counts) / total, reach)


@dataclass(frozen=True, slots=True)
class CellPoint:
    """A point in ordered cells: the index of a cell, and the fraction of its patients that come before."""

    cell: int
    fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class Cumulative:
    """A noisy distribution function at the end of each of ordered cells.

    Attributes:
        level: q, whose quantile is wanted.
        values: F^, shape (cells,).
        reach: z standard deviations of F^ where F is q, shape (cells,).
    """

    level: float
    values: Floats
    reach: Floats

    def less_certain(self, deviations: Floats) -> Cumulative:
        """Return the same with further noise between the ends of the cells, such as in how patients lie within them.

        Args:
            deviations: of the function within each cell, shape (cells,).
        """
        around = np.maximum(deviations, np.append(deviations[1:], 0.0))
        return replace(self, reach=np.hypot(self.reach, normal_quantile(LEVEL) * around))

    def quantile(self) -> tuple[CellPoint, CellPoint, CellPoint]:
        """Return the quantile, and the lower and the upper limit of its interval."""
        upper, lower = self.values + self.reach, self.values - self.reach
        return self._first(self.values), self._first(upper), self._last(lower)

    def _first(self, values: Floats) -> CellPoint:
        reached = np.flatnonzero(values >= self.level)
        return self._within(values, int(reached[0]) if len(reached) else len(values) - 1)

    def _last(self, values: Floats) -> CellPoint:
        below = np.flatnonzero(values < self.level)
        return self._within(values, min(int(below[-1]) + 1, len(values) - 1) if len(below) else 0)

    def _within(self, values: Floats, cell: int) -> CellPoint:
        before = float(values[cell - 1]) if cell else 0.0
        step = float(values[cell]) - before
        fraction = (self.level - before) / step if step > 0 else 1.0
        return CellPoint(cell, min(max(fraction, 0.0), 1.0))


def _between(value: float, powers: tuple[float, float, float], low: float, high: float) -> Interval:
    """Return the value with the zeros of a quadratic as limits, cut to [low, high].

    Args:
        value: estimate, which the limits enclose.
        powers: coefficients of the square, of the linear term and of the constant.
        low, high: bounds.
    """
    square, linear, constant = powers
    root = math.sqrt(max(linear**2 - 4 * square * constant, 0.0))
    limits = [min(max((-linear + sign * root) / (2 * square), low), high) for sign in (-1, 1)]
    return Interval(value, min(limits[0], value), max(limits[1], value))
