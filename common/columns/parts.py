"""How the released counts of one column relate to its smallest counted parts: what estimates of totals need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.arrays import Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The smallest parts of a column's values that are counted, and which released counts say what about them.

    Expected values of `collected @ released counts` are `sums @ patients per part`.

    Attributes:
        collected: which released counts an equation adds up, 0 or 1, shape (equations, released counts). No count is in
            two equations.
        sums: which parts it speaks of, 0 or 1, shape (equations, parts).
        codes: the code that each part belongs to, shape (parts,).
        lows, highs: smallest and largest number of each part; NaN where a part holds no numbers. Shape (parts,).
        step: distance of neighboring numbers; NaN for a column of labels.
        labels: text of each part that holds a label; "" for numbers and where the value is missing.
        weights: denoised patients per part, not negative: how patients lie within sums of parts. Shape (parts,).
    """

    collected: Floats
    sums: Floats
    codes: Integers
    lows: Floats
    highs: Floats
    step: float
    labels: tuple[str, ...]
    weights: Floats

    @classmethod
    def of_labels(cls, collected: Floats, sums: Floats, labels: Sequence[str], weights: Floats) -> Parts:
        """Return the parts of a column without numbers, each a code of its own.

        Args:
            collected, sums, weights: as in `Parts`.
            labels: of each part; a part beyond them is of missing values.
        """
        absent = np.full(sums.shape[1], np.nan)
        padded = (*labels, *[""] * (sums.shape[1] - len(labels)))
        return cls(collected, sums, np.arange(sums.shape[1]), absent, absent, np.nan, padded, weights)

    @property
    def is_number(self) -> Integers:
        """Indices of the parts that hold numbers, in increasing order of these."""
        return np.flatnonzero(~np.isnan(self.lows))

    @property
    def is_missing(self) -> npt.NDArray[np.bool_]:
        """Whether a part is of patients whose value is missing, with or without a reason."""
        return np.isnan(self.lows) & np.array([not label for label in self.labels], dtype=np.bool_)

    @property
    def middles(self) -> Floats:
        """The number in the middle of each part."""
        return (self.lows + self.highs) / 2
