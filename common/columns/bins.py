"""Bins of about equal weight: where they are cut, and how rows of a bin spread over its cells."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Integers

ROUNDING = 1e-9
"""Part of all patients by which a cumulative sum may miss a quantile."""


def spread(weights: Floats, ranks: Integers, rng: np.random.Generator) -> Integers:
    """Return the cell of each row by its rank, each cell about as often as its weight says: a stratified draw.

    Independent draws would add sampling noise to every bin, about as much as a bootstrap of real rows has.

    Args:
        weights: of the cells.
        ranks: of the rows, a permutation of 0, 1, ...
        rng: of the places within the strata.
    """
    cumulative = np.cumsum(weights) / weights.sum()
    points = (ranks + rng.random(len(ranks))) / len(ranks)
    return np.minimum(np.searchsorted(cumulative, points, side="right"), len(weights) - 1)


def cut(weights: Floats, bins: int) -> Integers:
    """Return cell boundaries of at most `bins` bins of about equal weight, from 0 to the number of cells.

    Each quantile is cut at the boundary next to it, so that a cell with much weight is a bin by itself.
    """
    reached = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    quantiles = np.linspace(0, 1, bins + 1)[1:-1]
    cells = np.minimum(np.searchsorted(reached[1:], quantiles - ROUNDING), len(weights) - 1)
    inner = cells + (reached[cells + 1] - quantiles <= quantiles - reached[cells] + ROUNDING)
    return np.unique(np.concatenate([[0], inner, [len(weights)]]))
