"""Numbers that are often round: counting multiples of declared steps, and drawing values that are round as often.

Where a column has many decimals or a long range, a cell of its histogram holds many values, and the histogram does not
say which of them occur: heart rates stored with four decimals would be drawn as 87.4312. A study may name steps that
values are often multiples of, coarse to fine; each must be a multiple of the next. A value belongs to the *class* of
the coarsest step that divides it, and to the last class where no step does. Patients per class are counted and
released with the histogram; the rest of this module is integer arithmetic or post-processing.

Values are integers here, in units of 10^-decimals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Floats, Integers

SWEEPS = 100
"""Iterations of the proportional fitting; it converges in far fewer."""


def classes_of(values: Integers, steps: Sequence[int]) -> Integers:
    """Return the class of each value: the index of its step, `len(steps)` where no step divides it."""
    classes = np.full(len(values), len(steps), dtype=np.int64)
    for index in reversed(range(len(steps))):  # the coarsest step overrides the finer ones
        classes[values % steps[index] == 0] = index
    return classes


def members(borders: Integers, steps: Sequence[int]) -> Integers:
    """Return how many values of each class every cell holds, shape (cells, classes).

    Args:
        borders: the first value of each cell, then the first beyond the last, shape (cells + 1,).
        steps: coarse to fine.
    """
    below = np.stack([_ceil(borders, step) for step in [*steps, 1]], axis=1)  # multiples below, up to a constant
    multiples = np.diff(below, axis=0)
    return np.diff(multiples, axis=1, prepend=0)


def allot(cells: Floats, classes: Floats, counts: Integers) -> Floats:
    """Return the probability of each class within each cell, shape (cells, classes): rows sum to one.

    Iterative proportional fitting (Deming and Stephan 1940): cells keep their weights, classes get as close to theirs
    as the cells allow, and a class has no weight in a cell that holds none of its values.

    Args:
        cells: weight of each cell, above 0, shape (cells,).
        classes: weight of each class, with the same sum, shape (classes,).
        counts: how many values of each class every cell holds, as `members` gives them.
    """
    wanted = np.maximum(classes, 1e-9 * cells.sum())
    table = np.where(counts > 0, wanted, 0.0)
    for _ in range(SWEEPS):
        table *= (cells / table.sum(axis=1))[:, None]
        sums = table.sum(axis=0)
        table *= np.divide(wanted, sums, out=np.ones_like(wanted), where=sums > 0)
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float64)


def draw(first: Integers, last: Integers, odds: Floats, steps: Sequence[int], rng: np.random.Generator) -> Integers:
    """Draw a value from each range [first, last): its class by `odds`, uniform among the values of that class.

    Args:
        first, last: ends of the ranges, shape (values,).
        odds: probability of each class, one row per value, as `allot` gives them.
        steps: coarse to fine.
        rng: source of randomness.

    Returns:
        Values, int64, shape (values,).
    """
    passed = rng.random(len(first))[:, None] >= np.cumsum(odds, axis=1)[:, :-1]
    # Rounding may leave a sum just below one: then take the last class with any probability.
    chosen = np.minimum(passed.sum(axis=1), odds.shape[1] - 1 - np.argmax(odds[:, ::-1] > 0, axis=1))
    values = np.empty(len(first), dtype=np.int64)
    every = [*steps, 1]
    for index, step in enumerate(every):
        rows = np.flatnonzero(chosen == index)
        low, high = _ceil(first[rows], step), _ceil(last[rows], step)
        if index == 0:
            values[rows] = rng.integers(low, high) * step
            continue
        # Multiples of this step that the next coarser one does not divide: all but every `ratio`-th.
        ratio = every[index - 1] // step
        rank = rng.integers(low - _ceil(low, ratio), high - _ceil(high, ratio))
        values[rows] = (rank + rank // (ratio - 1) + 1) * step
    return values


def _ceil(values: Integers, step: int) -> Integers:
    return np.asarray(-(-values // step), dtype=np.int64)
