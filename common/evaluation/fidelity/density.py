"""Coverage and density of whole rows among their nearest real neighbors (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.evaluation.statistics.codes import features
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import RESAMPLES, measured, resamples, sampled
from common.evaluation.statistics.values import numbers

NEIGHBORS = 5
"""The neighborhood of a real patient reaches as far as this nearest other real patient."""

MOST_COMPARED = 4_000
"""Most rows on each side; the distance table of two such sides has 16 million cells."""

BLOCK = 1_000
"""Rows whose distances are held at once."""


@dataclass(frozen=True, slots=True)
class Density:
    """Whether all real patients are represented (coverage), and whether synthetic rows are plausible (density).

    Attributes:
        coverage: fraction of real patients with a synthetic one among their nearest neighbors; 1.0 is best.
        density: how crowded the neighborhoods of real patients are that synthetic rows fall into; 1.0 as for real rows.
        coverage_of_real, density_of_real: the same for one half of the real rows against the other half, as a
            reference.
        rows: number of rows compared on every side.
    """

    coverage: Estimate
    density: Estimate
    coverage_of_real: Estimate
    density_of_real: Estimate
    rows: int


def measure_density(data: EvaluationData) -> Density | None:
    """Measure both on equally many rows of all sides, drawn with a fixed seed; None below ten rows on a side."""
    train = data.train
    rows = min(len(train) // 2, len(data.synthetic), MOST_COMPARED)
    if rows < 2 * NEIGHBORS:
        return None
    mixed = train.iloc[np.random.default_rng(0).permutation(len(train))[: 2 * rows]].reset_index(drop=True)
    tables = mixed.iloc[:rows], mixed.iloc[rows:], sampled(data.synthetic, rows, "density")
    centers, others, synthetic = encode_rows(train, data.numeric, *tables)
    radii = _distances_to_neighbors(centers)
    coverage, density = _compare(centers, radii, synthetic)
    coverage_of_real, density_of_real = _compare(centers, radii, others)
    return Density(coverage, density, coverage_of_real, density_of_real, rows)


def encode_rows(real: pd.DataFrame, numeric: Collection[str], *tables: pd.DataFrame) -> tuple[Floats, ...]:
    """Return rows as points: numbers in standard deviations of the real rows, a category as a corner of a simplex.

    Missing numbers are at the mean and have an indicator. Two rows that differ in one category are as far apart as two
    that differ by one standard deviation of one number.

    Args:
        real: the training rows, for means and standard deviations.
        numeric: names of the numeric columns.
        tables: the rows to encode.
    """
    parts: list[list[Floats]] = [[] for _ in tables]
    views = [features(table, numeric) for table in tables]
    for name in real.columns:
        cells = [view[name].to_numpy() for view in views]
        if name in numeric:
            mean, spread = _mean_and_spread(numbers(real[name]))
            for blocks, cell in zip(parts, cells, strict=True):
                is_missing = np.isnan(cell)
                blocks += [
                    np.where(is_missing, 0.0, (cell - mean) / spread)[:, None],
                    is_missing[:, None].astype(float),
                ]
        else:
            codes, distinct = pd.factorize(np.concatenate(cells))
            corners = np.eye(len(distinct))[codes] * np.sqrt(0.5)
            ends = np.cumsum([len(cell) for cell in cells])[:-1]
            for blocks, corner in zip(parts, np.split(corners, ends), strict=True):
                blocks.append(corner)
    return tuple(np.hstack(blocks).astype(np.float64) for blocks in parts)


def _mean_and_spread(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of the present values; 0 and 1 if there are none, 1 if they do not vary."""
    present = values[~np.isnan(values)]
    return (float(present.mean()), float(present.std()) or 1.0) if len(present) else (0.0, 1.0)


def _squared(left: Floats, right: Floats) -> Floats:
    """Return squared distances, shape (left, right)."""
    square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(square, 0.0))


def _distances_to_neighbors(points: Floats) -> Floats:
    """Return the squared distance from every point to its k-th nearest other point."""
    radii = []
    for start in range(0, len(points), BLOCK):
        square = _squared(points[start : start + BLOCK], points)
        square[np.arange(len(square)), start + np.arange(len(square))] = -1.0  # itself comes first
        radii.append(np.partition(square, NEIGHBORS, axis=1)[:, NEIGHBORS])
    return np.concatenate(radii) + 1e-9


def _compare(centers: Floats, radii: Floats, synthetic: Floats) -> tuple[Estimate, Estimate]:
    """Return coverage and density, with resamples of both sides; radii stay those of the centers as they are."""
    center_weights, synthetic_weights = (
        np.vstack([np.ones(len(side)), resamples(len(side), RESAMPLES, name)])
        for side, name in ((centers, "anchors"), (synthetic, "made"))
    )
    covered, crowds = np.zeros(1 + RESAMPLES), np.zeros(1 + RESAMPLES)
    for start in range(0, len(centers), BLOCK):
        block = slice(start, start + BLOCK)
        inside = (_squared(centers[block], synthetic) <= radii[block, None]).astype(np.float64) @ synthetic_weights.T
        covered += (center_weights[:, block].T * (inside > 0)).sum(axis=0)
        crowds += (center_weights[:, block].T * inside).sum(axis=0)
    covered, crowds = covered / len(centers), crowds / len(synthetic) / NEIGHBORS
    return (
        measured(float(covered[0]), covered[1:], len(centers), within=(0, 1)),
        measured(float(crowds[0]), crowds[1:], len(synthetic), within=(0, np.inf)),
    )
