"""Bootstrap by weights: a resample of patients is how often each of them was drawn.

A measure that takes weights sorts, codes and multiplies out the rows once and is then computed once per resample.
Intervals are the estimate plus and minus 1.96 standard deviations over resamples: distances between tables are larger
on resamples than on the tables themselves, so percentiles would not even enclose the estimate.

Distances are those of the tables, not of the populations behind them: chance alone makes them positive. Their
intervals enclose the mean over repetitions at these numbers of rows. Compare them with what as many real rows reach,
not with 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import LEVEL, Estimate, normal_quantile
from common.seeds import seed_for

RESAMPLES = 200
"""Resamples of a measure whose cost hardly depends on the number of columns."""

PAIRED_RESAMPLES = 400
"""Most resamples of held-out patients, whose predictions are compared."""

GROUP_RESAMPLES = 1000
"""Resamples of the patients of a group: its interval looks at the far ends of their distribution."""

FEW_RESAMPLES = 40
"""Resamples of a measure over all pairs of columns: enough for a standard deviation to within about a tenth."""

MOST_ROWS = 20_000
"""Most rows of a table that a measure resamples or pairs up: a fixed random sample of a larger table.

An interval of a distance at this many rows is about 0.01 wide or narrower; readers compare two decimals."""

MOST_FITTED = 50_000
"""Most rows of a table that a classifier of a core measure is trained on: a fixed random sample of a larger table.

Below it core measures equal the yardstick. Further rows move an AUROC by less than the width of its interval."""


def measured(
    value: float,
    replicates: Sequence[float] | Floats,
    size: int,
    *,
    within: tuple[float, float] = (-np.inf, np.inf),
    narrowed: float = 1.0,
) -> Estimate:
    """Return the value with its interval, cut to the range of the measure.

    Args:
        value: value for the tables as they are.
        replicates: values for the resamples; those that are not finite are left out.
        size: patients that the value rests on.
        within: range of the measure.
        narrowed: factor of the interval where the replicates are of samples, by `narrowing`.
    """
    finite = np.asarray(replicates, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    half = normal_quantile(LEVEL) * float(finite.std(ddof=1)) * narrowed if len(finite) > 1 else 0.0
    low, high = max(within[0], value - half), min(within[1], value + half)
    return Estimate(value, min(low, value), max(high, value), size)


def measured_each(values: Floats, replicates: Floats, size: int, *, within: tuple[float, float]) -> list[Estimate]:
    """Return `measured` of many values.

    Args:
        values: values for the tables as they are, shape (values,).
        replicates: values for the resamples, shape (resamples, values); those that are not finite are left out.
        size: patients that each value rests on.
        within: range of the measure.
    """
    is_finite = np.isfinite(replicates)
    count = is_finite.sum(axis=0)
    kept = np.where(is_finite, replicates, 0.0)
    mean = kept.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(is_finite, (kept - mean) ** 2, 0.0).sum(axis=0)
    half = normal_quantile(LEVEL) * np.sqrt(squares / np.maximum(count - 1, 1))
    low, high = np.maximum(within[0], values - half), np.minimum(within[1], values + half)
    return [
        Estimate(value, min(below, value), max(above, value), size)
        for value, below, above in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    ]


def certain(value: float, size: int) -> Estimate:
    """Return a value that no resample would change, or that has no interval."""
    return Estimate(value, value, value, size)


def resamples(rows: int, count: int, *names: str) -> Floats:
    """Return how often each row was drawn, shape (count, rows): `rows` draws with replacement, `count` times."""
    rng = np.random.default_rng(seed_for(0, "bootstrap", *names))
    if not rows:
        return np.zeros((count, 0))
    return np.stack([np.bincount(rng.integers(rows, size=rows), minlength=rows) for _ in range(count)]).astype(float)


def sampled(table: pd.DataFrame, rows: int, *names: str) -> pd.DataFrame:
    """Return the table, or a fixed random sample of that many of its rows."""
    if len(table) <= rows:
        return table
    return table.iloc[sampled_rows(len(table), rows, *names)].reset_index(drop=True)


def sampled_rows(total: int, rows: int, *names: str) -> Integers:
    """Return the indices of all rows, or of a fixed random sample of `rows` of them, in ascending order."""
    if total <= rows:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed_for(0, "sample", *names)).choice(total, rows, replace=False))


def narrowing(*sides: tuple[int, int]) -> float:
    """Return the factor from the spread on samples of some tables to the spread on the whole tables.

    Args:
        sides: of every table that is resampled, the rows of the sample and those of the table.

    A spread s / sqrt(rows) shrinks by sqrt(sample / table); with several tables the largest factor errs on the wide
    side. 1.0 where a table is resampled whole. Source: Politis and Romano 1994, Ann. Stat. 22.
    """
    return max(math.sqrt(kept / rows) for kept, rows in sides)
