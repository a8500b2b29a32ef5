"""Bootstrap by weights: a resample of patients is how often each of them was drawn.

A measure that takes weights is computed once on the rows and once a resample; rows are sorted, coded and multiplied
out once. Intervals are the estimate plus and minus 1.96 standard deviations of the resamples: distances between tables
are larger on resamples than on the tables themselves, so that percentiles would not even hold the estimate.

Distances are those of the tables, not of the populations behind them: chance alone makes them positive. Their
intervals hold what is measured on average at these numbers of rows, so they can be compared with what real rows reach
at as many (the floor), and not with 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.evaluation.statistics.intervals import LEVEL, Estimate, normal_quantile
from common.seeds import seed_for

Weights = npt.NDArray[np.float64]
Replicates = npt.NDArray[np.float64]

RESAMPLES = 200
"""Resamples of a measure that costs little."""

FEW_RESAMPLES = 40
"""Resamples of a measure over all pairs of columns: enough for a standard deviation to within about a tenth."""

MOST_ROWS = 20_000
"""Measures that compare rows or pairs look at a fixed random sample of this size of any larger table."""


def measured(
    value: float,
    replicates: Sequence[float] | Replicates,
    size: int,
    *,
    least: float = -np.inf,
    most: float = np.inf,
) -> Estimate:
    """The value with its interval, cut to what the measure can be; replicates that are not finite are left out.

    The interval is about what is measured on average, with the surplus that chance adds to a distance.
    """
    found = np.asarray(replicates, dtype=np.float64)
    found = found[np.isfinite(found)]
    half = normal_quantile(LEVEL) * float(found.std(ddof=1)) if len(found) > 1 else 0.0
    low, high = max(least, value - half), min(most, value + half)
    return Estimate(value, min(low, value), max(high, value), size)


def certain(value: float, size: int) -> Estimate:
    """A value that no resample would change."""
    return Estimate(value, value, value, size)


def resamples(rows: int, count: int, *names: str) -> Weights:
    """How often each row was drawn, shape (count, rows): `rows` draws with replacement, `count` times."""
    rng = np.random.default_rng(seed_for(0, "bootstrap", *names))
    if not rows:
        return np.zeros((count, 0))
    return np.stack([np.bincount(rng.integers(rows, size=rows), minlength=rows) for _ in range(count)]).astype(float)


def sampled(table: pd.DataFrame, rows: int, *names: str) -> pd.DataFrame:
    """The table, or that many rows of it drawn without replacement."""
    if len(table) <= rows:
        return table
    chosen = np.random.default_rng(seed_for(0, "sample", *names)).choice(len(table), rows, replace=False)
    return table.iloc[np.sort(chosen)].reset_index(drop=True)
