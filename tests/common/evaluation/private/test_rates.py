"""Rates from noisy counts."""

from __future__ import annotations

import numpy as np
import pytest

from common.evaluation.private.rates import NoisyCount, rate
from common.evaluation.statistics.intervals import wilson


class TestRate:
    def test_without_noise_is_that_of_wilson(self) -> None:
        found, expected = rate(NoisyCount(18.0, 2), NoisyCount(6.0, 2), 0.0), wilson(18, 24)
        assert found.value == expected.value == 0.75
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

    def test_noise_widens_it_on_both_sides(self) -> None:
        exact, noisy = (rate(NoisyCount(180.0, 2), NoisyCount(60.0, 2), sigma) for sigma in (0.0, 10.0))
        assert noisy.value == exact.value
        assert noisy.low < exact.low - 0.02
        assert noisy.high > exact.high + 0.02

    @pytest.mark.parametrize(("hits", "misses"), [(5.0, -20.0), (0.0, 0.0), (20.0, 10.0)])
    def test_nothing_is_said_where_noise_hides_the_patients(self, hits: float, misses: float) -> None:
        found = rate(NoisyCount(hits, 2), NoisyCount(misses, 2), 20.0)
        assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)

    def test_noise_beyond_all_patients_gives_no_rate_above_one(self) -> None:
        found = rate(NoisyCount(110.0, 1), NoisyCount(-10.0, 1), 8.0)
        assert found.value == found.high == 1.0
        assert found.low > 0.8

    @pytest.mark.parametrize("truth", [0.02, 0.3, 0.9])
    @pytest.mark.parametrize(("patients", "sigma"), [(40, 4.0), (300, 0.0), (300, 20.0), (3000, 20.0)])
    def test_intervals_hold_the_truth(self, truth: float, patients: int, sigma: float) -> None:
        rng, held, draws = np.random.default_rng(3), 0, 400
        for _ in range(draws):
            hits = rng.binomial(patients, truth)
            noise = rng.normal(0, sigma * 2**0.5, 2)
            found = rate(NoisyCount(hits + noise[0], 2), NoisyCount(patients - hits + noise[1], 2), sigma, 0.9)
            held += found.low <= truth <= found.high
        assert held >= 0.85 * draws
