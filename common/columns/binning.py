"""How finely columns are cut. A module of its own, so that plans and ledgers load no tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Binning:
    """How finely columns are cut, and how noisy their histograms are.

    Attributes:
        cells: largest number of fine cells per column that were counted.
        bins: largest number of bins per column.
        deviation: standard deviation of the noise in each count of the sum, in patients.
    """

    cells: int
    bins: int
    deviation: float = 0.0
