"""Every column's real and synthetic distribution: fractions for a chart, and distances with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from common.arrays import Floats
from common.columns.calendar import Calendar
from common.columns.value_grid import ValueGrid
from common.evaluation.fidelity.distances import Distances, Resampled, code_distance, number_distances
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.values import MISSING, Labels, labels, numbers

MOST_BINS = 24
"""Most bars of a histogram."""

MOST_CATEGORIES = 16
"""Most categories that a chart names; the rarest in the real rows share one bar."""


@dataclass(frozen=True, slots=True)
class ColumnFidelity:
    """One column's real and synthetic distribution.

    Attributes:
        score: 1.0 is identical: one minus the Kolmogorov-Smirnov distance of numbers or the total variation distance of
            categories; None where a side has no value.
        calendar: what values count since 1970-01-01, where the page shows dates; None elsewhere.
        edges: edges of a numeric column's bins, one more than bins; the end bins include everything beyond. Empty for
            other columns.
        categories: categories of a categorical column's bars. Empty for other columns.
        real, synthetic: fraction of all rows in each bin or category.
        missing_real, missing_synthetic: fraction of all rows whose value is missing.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    unit: str | None
    calendar: Calendar | None
    score: float | None
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    missing_real: float
    missing_synthetic: float
    distances: Distances


def compare_columns(data: EvaluationData) -> tuple[ColumnFidelity, ...]:
    """Compare every column's distributions, in the order of the schema."""
    weights, codes = Resampled(len(data.train), len(data.synthetic)), data.codes
    columns = []
    for index, column in enumerate(data.schema.each()):
        real, synthetic = data.train[column.name], data.synthetic[column.name]
        tvd = code_distance(codes.real[:, index], codes.synthetic[:, index], codes.sizes[index], weights)
        if column.grid is not None:
            columns.append(
                _compare_numbers(column.name, column.grid, (numbers(real), numbers(synthetic)), weights, tvd)
            )
        else:
            columns.append(_compare_categories(column.name, column.labels, (labels(real), labels(synthetic)), tvd))
    return tuple(columns)


def _compare_numbers(
    name: str, grid: ValueGrid, values: tuple[Floats, Floats], weights: Resampled, tvd: Estimate
) -> ColumnFidelity:
    real, synthetic = values
    ks, wasserstein = number_distances(real, synthetic, grid.upper - grid.lower, weights)
    edges = histogram_edges(grid, real)
    return ColumnFidelity(
        name=name,
        kind="numeric",
        unit=grid.unit,
        calendar=grid.calendar,
        score=_rounded(ks_complement(real, synthetic)),
        edges=edges,
        categories=(),
        real=_bin_fractions(real, edges),
        synthetic=_bin_fractions(synthetic, edges),
        missing_real=round(float(np.isnan(real).mean()), 4),
        missing_synthetic=round(float(np.isnan(synthetic).mean()), 4),
        distances=Distances(ks, wasserstein, tvd),
    )


def _compare_categories(
    name: str, categories: Sequence[str], cells: tuple[Labels, Labels], tvd: Estimate
) -> ColumnFidelity:
    real, synthetic = cells
    groups = category_groups(categories, real)
    return ColumnFidelity(
        name=name,
        kind="categorical",
        unit=None,
        calendar=None,
        score=_rounded(1.0 - tvd.value),
        edges=(),
        categories=tuple(groups),
        real=_group_fractions(real, groups),
        synthetic=_group_fractions(synthetic, groups),
        missing_real=round(float((real == MISSING).mean()), 4),
        missing_synthetic=round(float((synthetic == MISSING).mean()), 4),
        distances=Distances(None, None, tvd),
    )


def ks_complement(real: Floats, synthetic: Floats) -> float | None:
    """Return one minus the two-sample Kolmogorov-Smirnov distance; 1.0 is identical. Missing values are dropped.

    None if one side has nothing but missing values.
    """
    real, synthetic = real[~np.isnan(real)], synthetic[~np.isnan(synthetic)]
    if not len(real) or not len(synthetic):
        return None
    return 1.0 - float(ks_2samp(real, synthetic, method="asymp").statistic)


def histogram_edges(grid: ValueGrid, real: Floats) -> tuple[float, ...]:
    """Return edges of at most 24 equal bins, each a whole number of the column's smallest step wide.

    They run over the declared bounds, narrowed to the 1st to 99th percentile of the real rows so that a generous
    bound or an extreme patient does not squeeze all others into one bar. They are half a step beside the
    values that can occur, so no value falls on an edge.
    """
    step = grid.step
    present = real[~np.isnan(real)]
    low, high = grid.lower, grid.upper
    if len(present):
        inner = np.quantile(present, [0.01, 0.99])
        low, high = max(low, math.floor(inner[0] / step) * step), min(high, math.ceil(inner[1] / step) * step)
    steps = max(1, round((high - low) / step) + 1)
    steps_per_bin = math.ceil(steps / MOST_BINS)
    bins = math.ceil(steps / steps_per_bin)
    return tuple(round(low + (index * steps_per_bin - 0.5) * step, grid.decimals + 1) for index in range(bins + 1))


def _bin_fractions(values: Floats, edges: tuple[float, ...]) -> tuple[float, ...]:
    bins = np.searchsorted(edges[1:-1], values[~np.isnan(values)], side="right")
    return _fractions_of(np.bincount(bins, minlength=len(edges) - 1) / len(values))


def category_groups(categories: Sequence[str], real: Labels) -> dict[str, frozenset[str]]:
    """Return what each bar of a categorical chart counts: its name and its labels, in the schema's order.

    The rarest categories of a long list share one bar, and so do labels that the schema does not list.
    """
    by_label = dict(zip(labels(pd.Series(list(categories), dtype=object)), categories, strict=True))
    counts = pd.Series(real).value_counts()
    common = sorted(by_label, key=lambda label: -int(counts.get(label, 0)))
    if len(common) > MOST_CATEGORIES:
        common = common[: MOST_CATEGORIES - 1]
    groups = {name: frozenset({label}) for label, name in by_label.items() if label in common}
    others = frozenset(by_label) - frozenset(common)
    return groups | ({f"{len(others)} others": others} if others else {})


def _group_fractions(values: Labels, groups: dict[str, frozenset[str]]) -> tuple[float, ...]:
    counts = pd.Series(values).value_counts()
    sums = [sum(int(counts.get(label, 0)) for label in group) for group in groups.values()]
    return _fractions_of(np.array(sums) / len(values))


def _fractions_of(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)
