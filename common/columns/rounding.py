"""Numbers that are often round: how many are multiples of what, and drawing values that are as often.

Where a column has many decimals or a long range, its cells are wider than its rounding, and the histogram does not tell
which of a cell's values occur: heart rates stored with a stray decimal would come out as 87.4312. A study may say which
steps values are often multiples of, coarse to fine; each must be a multiple of the next. A value is of the *class* of
the coarsest step that it is a multiple of, and of the last class where it is of none. Patients per class are counted
and released with the histogram; all else here is arithmetic with integers, or post-processing.

Values are integers here: 10^-decimals is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Floats, Integers

SWEEPS = 100
"""Of the proportional fitting."""


def classes_of(values: Integers, steps: Sequence[int]) -> Integers:
    """The class of each value: the place of its step, `len(steps)` where it is a multiple of none."""
    found = np.full(len(values), len(steps), dtype=np.int64)
    for place in reversed(range(len(steps))):  # the coarsest speaks last
        found[values % steps[place] == 0] = place
    return found


def members(borders: Integers, steps: Sequence[int]) -> Integers:
    """How many values of each class every cell holds, shape (cells, classes).

    Args:
        borders: the first value of each cell, then the first beyond the last.
    """
    below = np.stack([_ceil(borders, step) for step in [*steps, 1]], axis=1)  # multiples below, up to a constant
    multiples = np.diff(below, axis=0)
    return np.diff(multiples, axis=1, prepend=0)


def allot(cells: Floats, classes: Floats, counts: Integers) -> Floats:
    """How often a value of each cell is of each class, shape (cells, classes): rows sum to one.

    Iterative proportional fitting (Deming and Stephan 1940): so that cells keep their weights, classes come as close to
    theirs as the cells allow, and a class never gets weight where a cell holds none of it.

    Args:
        cells: weight of each, above 0.
        classes: weight of each, with the same sum.
        counts: as `members` gives them.
    """
    wanted = np.maximum(classes, 1e-9 * cells.sum())
    table = np.where(counts > 0, wanted, 0.0)
    for _ in range(SWEEPS):
        table *= (cells / table.sum(axis=1))[:, None]
        sums = table.sum(axis=0)
        table *= np.divide(wanted, sums, out=np.ones_like(wanted), where=sums > 0)
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float64)


def draw(first: Integers, last: Integers, shares: Floats, steps: Sequence[int], rng: np.random.Generator) -> Integers:
    """A value from each range [first, last): its class as `shares` says, uniform among the values of that class.

    Args:
        shares: one row per value, of `allot`.
    """
    passed = rng.random(len(first))[:, None] >= np.cumsum(shares, axis=1)[:, :-1]
    # Rounding may leave a sum just below one: the last class with a share, not one without.
    chosen = np.minimum(passed.sum(axis=1), shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1))
    values = np.empty(len(first), dtype=np.int64)
    every = [*steps, 1]
    for place, step in enumerate(every):
        rows = np.flatnonzero(chosen == place)
        low, high = _ceil(first[rows], step), _ceil(last[rows], step)
        if place == 0:
            values[rows] = rng.integers(low, high) * step
            continue
        # Of the multiples of this step, those that are none of the next coarser one: all but each `ratio`-th.
        ratio = every[place - 1] // step
        rank = rng.integers(low - _ceil(low, ratio), high - _ceil(high, ratio))
        values[rows] = (rank + rank // (ratio - 1) + 1) * step
    return values


def _ceil(values: Integers, step: int) -> Integers:
    return np.asarray(-(-values // step), dtype=np.int64)
