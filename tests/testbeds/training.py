"""What tests of training look at: weights, and which batches and how much noise a step draws."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Integers, Weights
from common.privacy.mechanisms import SeededNoise


def are_equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


class WatchedNoise(SeededNoise):
    """Notes the rows and rate of every batch, and the length and standard deviation of every noise vector."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.batches: list[tuple[int, float]] = []
        self.vectors: list[tuple[int, float]] = []

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        self.batches.append((rows, rate))
        return super().poisson_sample(rows, rate)

    def gaussian(self, count: int, std: float) -> Floats:
        self.vectors.append((count, std))
        return super().gaussian(count, std)
