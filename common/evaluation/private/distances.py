"""How far a synthetic table is from the population, from noisy counts of some of its patients.

The total variation distance of a synthetic table q from the population p is half of the sum of |p - q| over the cells.
Noise and chance make it look larger. With n_i the noisy count of a cell, N the number of patients, x_i = n_i / N - q_i
and d_i = p_i - q_i, x_i is about normal around d_i with

    s_i^2 = p_i (1 - p_i) / N + (sigma / N)^2

Let T be half of the sum of |x_i|, D half of that of |d_i|, and S half of that of s_i, each as a mean over tables.

- **At most.** |x_i| exceeds |d_i| by at most sqrt(2 / pi) s_i on average, so D >= E T - sqrt(2 / pi) S.
- **At least.** E|x_i| = s_i m(|d_i| / s_i) with m(t) = E|Z + t|, Z standard normal. m is convex, so of all d with the
  same D the mean of T is least where all |d_i| / s_i are equal: E T >= S m(D / S).
- **Spread of T.** One patient more or less in the sample moves T by at most 1 / N, so by the inequality of McDiarmid
  (1989) T varies with the sample no more than a normal number of variance 1 / (4 N), however the tables depend on each
  other. |x| changes no faster than x, so the noise adds at most the variance of (the sum of its absolute values)'s
  steepest direction: sigma^2 / (4 N^2) times cells, over the squared number of tables. A relative error e of N moves T
  by at most e / 2.

The interval holds every D that agrees with T within z times this spread. It is honest where noise hides the distance:
then it reaches from 0 to what the noise could hide. The value in between takes the d_i as normal with spread in
proportion to s_i: E T = sqrt(2 / pi) sqrt(S^2 + t^2), hence D = sqrt(T^2 - (2 / pi) S^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import LEVEL, Estimate, normal_quantile

MEAN_ABSOLUTE = math.sqrt(2 / math.pi)
"""Mean of |Z|, Z standard normal."""


@dataclass(frozen=True, slots=True)
class Patients:
    """About how many patients were counted.

    Attributes:
        number: estimate, at least 1.
        deviation: its standard deviation.
    """

    number: float
    deviation: float

    @property
    def is_known(self) -> bool:
        """Return whether the number stands out from its noise, so that anything can be said about parts of it."""
        return self.number >= 5 * self.deviation


def count_patients(totals: Sequence[tuple[float, float]]) -> Patients:
    """Return the number of patients from independent noisy totals, each weighed by the inverse of its variance.

    Args:
        totals: total of a table and standard deviation of its noise, of every table; 0 everywhere for exact ones.
    """
    exact = [total for total, deviation in totals if not deviation]
    if exact:
        return Patients(max(1.0, exact[0]), 0.0)
    weights = np.array([1 / deviation**2 for _, deviation in totals])
    number = float(weights @ [total for total, _ in totals] / weights.sum())
    return Patients(max(1.0, number), float(weights.sum() ** -0.5))


def mean_distance(
    counted: Sequence[Integers], synthetic: Sequence[Integers], sigma: float, patients: Patients, level: float = LEVEL
) -> Estimate:
    """Return the mean total variation distance of tables of the synthetic rows from the population's.

    Args:
        counted: noisy counts of patients, one array for each table.
        synthetic: exact counts of synthetic rows, of the same shapes.
        sigma: standard deviation of the noise of a count, in patients.
        patients: how many were counted.
        level: probability of the interval.
    """
    number, tables = patients.number, len(counted)
    observed = spread = 0.0
    for table, rows in zip(counted, synthetic, strict=True):
        proportions, drawn = table.ravel() / number, rows.ravel() / rows.sum()
        observed += float(np.abs(proportions - drawn).sum()) / 2
        spread += float(_deviations(proportions, sigma, number).sum()) / 2
    observed, spread = observed / tables, spread / tables
    cells = sum(table.size for table in counted)
    from_noise = sigma**2 * cells / (2 * number * tables) ** 2
    variance = 1 / (4 * number) + from_noise + (patients.deviation / (2 * number)) ** 2
    reach = normal_quantile(level) * math.sqrt(variance)
    low = min(1.0, max(0.0, observed - reach - MEAN_ABSOLUTE * spread))
    high = min(1.0, max(low, _largest(observed + reach, spread)))
    value = math.sqrt(max(0.0, observed**2 - (MEAN_ABSOLUTE * spread) ** 2))
    return Estimate(min(max(value, low), high), low, high, round(number), level)


def _deviations(proportions: Floats, sigma: float, number: float) -> Floats:
    """Return the standard deviation of every estimated proportion, from sampling and noise."""
    within = proportions.clip(0, 1)
    return np.asarray(np.sqrt(within * (1 - within) / number + (sigma / number) ** 2))


def _largest(observed: float, spread: float) -> float:
    """Return the largest D with S m(D / S) <= T, 0 where none is; T itself where nothing spreads."""
    if spread <= 0:
        return observed

    def excess(ratio: float) -> float:
        return mean_absolute(ratio) - observed / spread

    if excess(0.0) >= 0:
        return 0.0
    return spread * float(brentq(excess, 0.0, observed / spread))


def mean_absolute(shift: float) -> float:
    """Return E|Z + shift| of a standard normal Z (folded normal: Leone, Nelson and Nottingham 1961)."""
    return float(2 * norm.pdf(shift) + shift * (1 - 2 * norm.cdf(-shift)))
