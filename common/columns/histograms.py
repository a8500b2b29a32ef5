"""Histograms that are counted at several resolutions at once, and the estimate that they give together.

The error of a distribution function read off one fine histogram grows with the square root of the cells summed. So a
column's cells are also counted in groups of about eight, those in groups of eight, and so on: each patient falls in
one node per level (Hay et al. 2010, arXiv 0904.0942; branching as in Qardaji et al. 2013, "Understanding hierarchical
methods for differentially private histograms"). The levels are then made consistent, which is post-processing.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from common.arrays import Floats, Integers

BRANCHES = 8
"""Cells or groups that make a group of the level above."""

SINGLE_LEVEL = 16
"""Largest number of cells that are counted on one level only."""

PRUNING = 3.0
"""A node is split where that explains at least this multiple of the noise variance; else its cells share evenly."""


@lru_cache(maxsize=1024)
def levels(cells: int) -> tuple[Integers, ...]:
    """Return the borders of the nodes of each level, coarse to fine, as indices of cells; each level refines the last.

    The last level is the cells themselves: `arange(cells + 1)`.
    """
    depth = max(1, math.ceil(math.log(cells / SINGLE_LEVEL, BRANCHES)) + 1) if cells > SINGLE_LEVEL else 1
    fan = math.ceil(cells ** (1 / depth) - 1e-9)
    coarse: list[Integers] = []
    borders = [0, cells]
    for _ in range(depth - 1):
        parts = [(first, last, min(fan, last - first)) for first, last in itertools.pairwise(borders)]
        borders = [first + (last - first) * index // count for first, last, count in parts for index in range(count)]
        borders.append(cells)
        coarse.append(np.array(borders))
    return (*coarse, np.arange(cells + 1))


def length(cells: int) -> int:
    """Return how many nodes all levels have together."""
    return sum(len(borders) - 1 for borders in levels(cells))


def count_nodes(counts: Integers) -> Integers:
    """Return the counts of all nodes, level after level, from the counts of the cells.

    A patient in one cell is in one node of each level: `max_changed_cells` grows by `len(levels(cells))`.
    """
    running = np.concatenate([[0], np.cumsum(counts)])
    return np.concatenate([np.diff(running[borders]) for borders in levels(len(counts))])


def node_sums(cells: int) -> Floats:
    """Return which cells each node holds, 0 or 1, shape (nodes, cells), in the order of `count_nodes`."""
    finest = np.arange(cells)
    rows = [
        (finest >= first) & (finest < last) for borders in levels(cells) for first, last in itertools.pairwise(borders)
    ]
    return np.array(rows, dtype=np.float64)


def project_to_simplex(noisy: Floats, total: float) -> Floats:
    """Return the closest non-negative vector with that sum (Norm-Sub in Wang et al. 2020); post-processing."""
    if len(noisy) == 0:
        return noisy
    ranked = np.sort(noisy)[::-1]
    shifts = (np.cumsum(ranked) - total) / np.arange(1, len(noisy) + 1)
    kept = np.flatnonzero(ranked >= shifts)[-1]
    return np.asarray(np.maximum(noisy - shifts[kept], 0.0), dtype=np.float64)


def estimate(noisy: Integers, cells: int, deviation: float) -> Floats:
    """Return non-negative patients per cell, shape (cells,).

    Bottom-up, each node's own count and the sum of its children are averaged with inverse-variance weights. Top-down,
    the children of a node are made non-negative and to sum to it, evenly where their differences are within the noise.

    Args:
        noisy: counts of all nodes with noise, as `count_nodes` orders them.
        cells: number of cells.
        deviation: standard deviation of the noise in each node, in patients; 0 for no noise.
    """
    borders = levels(cells)
    ends = np.cumsum([len(level) - 1 for level in borders])
    observed = np.split(noisy.astype(np.float64), ends[:-1])
    own = max(deviation, 1e-6) ** 2
    values, variances = [observed[-1]], [np.full(cells, own)]
    for level, finer, seen in zip(borders[-2::-1], borders[:0:-1], observed[-2::-1], strict=True):
        starts = np.searchsorted(finer, level[:-1])
        summed, variance = np.add.reduceat(values[0], starts), np.add.reduceat(variances[0], starts)
        weight = variance / (own + variance)
        values.insert(0, seen * weight + summed * (1 - weight))
        variances.insert(0, variance * own / (own + variance))
    parents, coarser = np.array([max(values[0].sum(), 1.0)]), np.array([0, cells])
    for level, value, variance in zip(borders, values, variances, strict=True):
        starts = np.append(np.searchsorted(level, coarser[:-1]), len(value))
        projected = np.zeros(len(value))
        for parent, first, last in zip(parents, starts, starts[1:], strict=False):
            if parent > 0:
                parts = value[first:last] + (parent - value[first:last].sum()) / (last - first)
                projected[first:last] = project_to_simplex(_prune(parts, PRUNING * variance[first]), float(parent))
        parents, coarser = projected, level
    return parents


def _prune(parts: Floats, price: float) -> Floats:
    """Return means over dyadic stretches that minimize squared error plus `price` per stretch (dyadic CART)."""

    def split(first: int, last: int) -> tuple[float, list[tuple[int, int]]]:
        stretch = parts[first:last]
        unsplit = float(((stretch - stretch.mean()) ** 2).sum()) + price
        if last - first == 1:
            return unsplit, [(first, last)]
        middle = (first + last) // 2
        left, right = split(first, middle), split(middle, last)
        return min((unsplit, [(first, last)]), (left[0] + right[0], left[1] + right[1]), key=lambda option: option[0])

    means = np.empty_like(parts)
    for first, last in split(0, len(parts))[1]:
        means[first:last] = parts[first:last].mean()
    return means
