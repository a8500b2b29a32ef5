"""Coverage and density of whole rows among their nearest real neighbours (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import RESAMPLES, measured, resamples, sampled
from common.evaluation.statistics.values import Floats, features, is_numeric, numbers

NEIGHBOURS = 5
MOST_COMPARED = 4_000
"""Rows on each side; the distance table of two such sides has 16 million cells."""

BLOCK = 1_000


@dataclass(frozen=True, slots=True)
class Density:
    """Coverage: the share of real patients with a synthetic one among their nearest neighbours; 1.0 is best.

    Density: how crowded the neighbourhoods of real patients are that synthetic rows fall into; 1.0 is that of real
    rows. The references compare one half of the real rows with the other, which is how well a table can do. `rows` of
    every side were compared.
    """

    coverage: Estimate
    density: Estimate
    coverage_of_real: Estimate
    density_of_real: Estimate
    rows: int


def measure_density(train: pd.DataFrame, synthetic: pd.DataFrame) -> Density | None:
    """Both measures on equally many rows of all sides, drawn with a fixed seed; None below ten rows on a side."""
    rows = min(len(train) // 2, len(synthetic), MOST_COMPARED)
    if rows < 2 * NEIGHBOURS:
        return None
    mixed = train.iloc[np.random.default_rng(0).permutation(len(train))[: 2 * rows]].reset_index(drop=True)
    tables = mixed.iloc[:rows], mixed.iloc[rows:], sampled(synthetic, rows, "density")
    anchors, others, made = encode_rows(train, *tables)
    radii = _distances_to_neighbours(anchors)
    found = _compare(anchors, radii, made), _compare(anchors, radii, others)
    return Density(found[0][0], found[0][1], found[1][0], found[1][1], rows)


def encode_rows(real: pd.DataFrame, *tables: pd.DataFrame) -> tuple[Floats, ...]:
    """Rows as points: numbers in standard deviations of the real rows, a category as a corner of a simplex.

    Missing numbers lie at the mean and have an indicator. Two rows that differ in one category are as far apart as two
    that differ by one standard deviation of one number.
    """
    parts: list[list[Floats]] = [[] for _ in tables]
    seen = [features(real, table) for table in tables]
    for name in real.columns:
        cells = [table[name].to_numpy() for table in seen]
        if is_numeric(real[name]):
            values = numbers(real[name])
            mean, spread = float(np.nanmean(values)), float(np.nanstd(values)) or 1.0
            for part, cell in zip(parts, cells, strict=True):
                gone = np.isnan(cell)
                part += [np.where(gone, 0.0, (cell - mean) / spread)[:, None], gone[:, None].astype(float)]
        else:
            codes, distinct = pd.factorize(np.concatenate(cells))
            corners = np.eye(len(distinct))[codes] * np.sqrt(0.5)
            ends = np.cumsum([len(cell) for cell in cells])[:-1]
            for part, corner in zip(parts, np.split(corners, ends), strict=True):
                part.append(corner)
    return tuple(np.hstack(part).astype(np.float64) for part in parts)


def _squared(left: Floats, right: Floats) -> Floats:
    """Squared distances, shape (left, right)."""
    square = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    return np.asarray(np.maximum(square, 0.0))


def _distances_to_neighbours(points: Floats) -> Floats:
    """The squared distance from every point to its k-th nearest other point."""
    radii = []
    for start in range(0, len(points), BLOCK):
        square = _squared(points[start : start + BLOCK], points)
        square[np.arange(len(square)), start + np.arange(len(square))] = -1.0  # itself comes first
        radii.append(np.partition(square, NEIGHBOURS, axis=1)[:, NEIGHBOURS])
    return np.concatenate(radii) + 1e-9


def _compare(anchors: Floats, radii: Floats, made: Floats) -> tuple[Estimate, Estimate]:
    """Coverage and density, with resamples of both sides; the radii are those of the anchors as they are."""
    ours, theirs = (
        np.vstack([np.ones(len(side)), resamples(len(side), RESAMPLES, name)])
        for side, name in ((anchors, "anchors"), (made, "made"))
    )
    covered, crowds = np.zeros(1 + RESAMPLES), np.zeros(1 + RESAMPLES)
    for start in range(0, len(anchors), BLOCK):
        here = slice(start, start + BLOCK)
        inside = (_squared(anchors[here], made) <= radii[here, None]).astype(np.float64) @ theirs.T
        covered += (ours[:, here].T * (inside > 0)).sum(axis=0)
        crowds += (ours[:, here].T * inside).sum(axis=0)
    covered, crowds = covered / len(anchors), crowds / len(made) / NEIGHBOURS
    return (
        measured(float(covered[0]), covered[1:], len(anchors), least=0, most=1),
        measured(float(crowds[0]), crowds[1:], len(made), least=0),
    )
