"""Numbers that are often round: counting multiples of declared steps, and drawing values that are round as often.

Where a column has many decimals or a long range, a cell of its histogram holds many values, and the histogram does not
say which of them occur: heart rates stored with four decimals would be drawn as 87.4312. A study may name steps that
values are often multiples of, coarse to fine; each must be a multiple of the next. A value belongs to the *class* of
the coarsest step that divides it, and to the last class where no step does. Patients per class are counted and
released with the histogram; the rest of this module is integer arithmetic or post-processing.

Numbers may also have been recorded in another unit: heights in whole inches, stored in centimeters with one decimal,
are 165.1, 167.6, 170.2. Whole multiples of such a step, rounded to so many decimals, are a class of their own, whatever
steps divide them.

Values are integers here, in units of 10^-decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from common.arrays import Floats, Integers

SWEEPS = 100
"""Iterations of the proportional fitting; it converges in far fewer."""


@dataclass(frozen=True, slots=True)
class RoundValues:
    """Which values of a column count as round. False where none do.

    Attributes:
        steps: declared multiples, coarse to fine, each a multiple of the next.
        recorded: step of the unit in which values were recorded; 0 where there is none.
        rounded_to: what its multiples were rounded to, at most two thirds of it.
    """

    steps: tuple[int, ...] = ()
    recorded: float = 0.0
    rounded_to: int = 1

    def __bool__(self) -> bool:
        return bool(self.steps or self.recorded)

    @property
    def classes(self) -> int:
        """Return the number of classes; the last is of values that are not round. 0 where none are."""
        return len(self.steps) + bool(self.recorded) + 1 if self else 0

    def classes_of(self, values: Integers) -> Integers:
        """Return the class of each value: that of the recorded unit, the coarsest step that divides it, or the last."""
        classes = np.full(len(values), self.classes - 1, dtype=np.int64)
        for index in reversed(range(len(self.steps))):  # the coarsest step overrides the finer ones
            classes[values % self.steps[index] == 0] = index
        if self.recorded:
            classes[self._is_recorded(values)] = len(self.steps)
        return classes

    def members(self, borders: Integers) -> Integers:
        """Return how many values of each class every cell holds, shape (cells, classes).

        Args:
            borders: the first value of each cell, then the first beyond the last, shape (cells + 1,).
        """
        below = np.stack([_ceil(borders, step) for step in [*self.steps, 1]], axis=1)  # multiples, up to a constant
        counts = np.diff(np.diff(below, axis=0), axis=1, prepend=0)
        if not self.recorded:
            return counts
        recorded = self._recorded_in(int(borders[0]), int(borders[-1]))
        taken = RoundValues(self.steps).classes_of(recorded) if self.steps else np.zeros(len(recorded), dtype=np.int64)
        cells = np.searchsorted(borders, recorded, side="right") - 1
        np.subtract.at(counts, (cells, taken), 1)
        of_recorded = np.bincount(cells, minlength=len(counts))
        return np.column_stack([counts[:, :-1], of_recorded, counts[:, -1]])

    def even(self, borders: Integers, classes: Floats) -> Floats:
        """Return the part of all values that each cell would have if all values of a class were equally likely.

        Where nearly all values are multiples of a step, cells without a multiple have nearly none.

        Args:
            borders: as in `members`.
            classes: weight of each class, above 0, shape (classes,); empty where no values count as round.

        Returns:
            Above 0, of sum 1, shape (cells,).
        """
        held = self.members(borders)
        even = held @ ((classes if self else 1.0) / np.maximum(held.sum(axis=0), 1))
        return np.asarray(even / even.sum())

    def draw(self, first: Integers, last: Integers, odds: Floats, rng: np.random.Generator) -> Integers:
        """Draw a value from each range [first, last): its class by `odds`, uniform among the values of that class.

        Args:
            first, last: ends of the ranges, shape (values,).
            odds: probability of each class, one row per value, as `allot` gives them.
            rng: source of randomness.

        Returns:
            Values, int64, shape (values,).
        """
        passed = rng.random(len(first))[:, None] >= np.cumsum(odds, axis=1)[:, :-1]
        # Rounding may leave a sum just below one: then take the last class with any probability.
        chosen = np.minimum(passed.sum(axis=1), odds.shape[1] - 1 - np.argmax(odds[:, ::-1] > 0, axis=1))
        values = np.empty(len(first), dtype=np.int64)
        for index in range(len(self.steps) + 1):
            rows = np.flatnonzero(chosen == (index if index < len(self.steps) else self.classes - 1))
            while len(rows):
                values[rows] = self._multiples(index, first[rows], last[rows], rng)
                rows = rows[self._is_recorded(values[rows])] if self.recorded else rows[:0]
        rows = np.flatnonzero(chosen == len(self.steps)) if self.recorded else np.empty(0, dtype=np.int64)
        if len(rows):
            every = self._recorded_in(int(first.min()), int(last.max()))
            low, high = np.searchsorted(every, first[rows]), np.searchsorted(every, last[rows])
            values[rows] = every[rng.integers(low, high)]
        return values

    def _multiples(self, index: int, first: Integers, last: Integers, rng: np.random.Generator) -> Integers:
        """Draw from each range a multiple of one step, 1 after the last, that the next coarser does not divide."""
        every = [*self.steps, 1]
        step = every[index]
        low, high = _ceil(first, step), _ceil(last, step)
        if index == 0:
            return np.asarray(rng.integers(low, high) * step, dtype=np.int64)
        ratio = every[index - 1] // step  # all but every `ratio`-th
        rank = rng.integers(low - _ceil(low, ratio), high - _ceil(high, ratio))
        return np.asarray((rank + rank // (ratio - 1) + 1) * step, dtype=np.int64)

    def _is_recorded(self, values: Integers) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        multiples = np.rint(values / self.recorded) * self.recorded
        return np.asarray(np.rint(multiples / self.rounded_to) * self.rounded_to == values)

    def _recorded_in(self, first: int, last: int) -> Integers:
        """Return the recorded values in [first, last), sorted."""
        return _recorded_in(self.recorded, self.rounded_to, first, last)


@lru_cache(maxsize=256)
def _recorded_in(recorded: float, rounded_to: int, first: int, last: int) -> Integers:
    multiples = np.arange(np.floor(first / recorded) - 1, np.ceil(last / recorded) + 2) * recorded
    values = np.unique(np.rint(multiples / rounded_to).astype(np.int64) * rounded_to)
    return values[(values >= first) & (values < last)]


def allot(cells: Floats, classes: Floats, counts: Integers) -> Floats:
    """Return the probability of each class within each cell, shape (cells, classes): rows sum to one.

    Iterative proportional fitting (Deming and Stephan 1940): cells keep their weights, classes get as close to theirs
    as the cells allow, and a class has no weight in a cell that holds none of its values.

    Args:
        cells: weight of each cell, above 0, shape (cells,).
        classes: weight of each class, with the same sum, shape (classes,).
        counts: how many values of each class every cell holds, as `RoundValues.members` gives them.
    """
    wanted = np.maximum(classes, 1e-9 * cells.sum())
    table = np.where(counts > 0, wanted, 0.0)
    for _ in range(SWEEPS):
        table *= (cells / table.sum(axis=1))[:, None]
        sums = table.sum(axis=0)
        table *= np.divide(wanted, sums, out=np.ones_like(wanted), where=sums > 0)
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float64)


def _ceil(values: Integers, step: int) -> Integers:
    return np.asarray(-(-values // step), dtype=np.int64)
