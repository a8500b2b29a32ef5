"""Rates from noisy counts: accuracy, sensitivity and specificity of a classifier, with intervals that hold the noise.

Let A be the noisy count of hits and B that of misses, of a and b cells, each with noise of standard deviation sigma.
For the true rate p, (1 - p) A - p B has mean 0 and variance

    N p (1 - p) + sigma^2 (a (1 - p)^2 + b p^2),    N = A + B

The interval holds every p for which its square is at most z^2 times that: Wilson's interval with noise, and Fieller's
(1954) for a ratio of noisy numbers. Both sides are quadratic in p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.evaluation.statistics.intervals import LEVEL, Estimate, normal_quantile


@dataclass(frozen=True, slots=True)
class NoisyCount:
    """A sum of noisy counts.

    Attributes:
        total: the sum, in patients; noise may make it negative.
        cells: how many counts it is the sum of.
    """

    total: float
    cells: int


def rate(hits: NoisyCount, misses: NoisyCount, sigma: float, level: float = LEVEL) -> Estimate:
    """Return the rate of hits with its interval, [0, 1] where noise hides how many patients there are.

    Args:
        hits, misses: how many patients were hits, and how many were not.
        sigma: standard deviation of the noise of each count, in patients.
        level: probability of the interval.
    """
    number, z = hits.total + misses.total, normal_quantile(level)
    of_number = sigma * math.sqrt(hits.cells + misses.cells)
    if number <= max(z * of_number, 0.5):
        return Estimate(0.5, 0.0, 1.0, max(0, round(number)), level)
    # (A - p N)^2 <= z^2 (N p (1 - p) + sigma^2 (a (1 - p)^2 + b p^2)), sorted by powers of p.
    square = number**2 + z**2 * (number - sigma**2 * (hits.cells + misses.cells))
    linear = -2 * hits.total * number - z**2 * (number - 2 * sigma**2 * hits.cells)
    constant = hits.total**2 - z**2 * sigma**2 * hits.cells
    root = math.sqrt(max(linear**2 - 4 * square * constant, 0.0))
    low, high = (min(1.0, max(0.0, (-linear + sign * root) / (2 * square))) for sign in (-1, 1))
    value = min(max(hits.total / number, low), high)
    return Estimate(value, low, high, round(number), level)
