"""Intervals of ratios, means and quantiles that hold noise and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.evaluation.statistics.intervals import wilson
from common.inference.noisy import NoisyCounts

NONE = np.zeros((2, 2))


class TestProportion:
    def test_proportion_without_noise_is_wilsons(self) -> None:
        found = NoisyCounts(np.array([3.0, 17.0]), NONE).proportion(np.array([1.0, 0.0]), np.ones(2))
        known = wilson(3, 20)
        assert (found.value, found.low, found.high) == pytest.approx((0.15, known.low, known.high))

    def test_proportion_is_unknown_where_noise_hides_the_patients(self) -> None:
        found = NoisyCounts(np.array([3.0, 5.0]), 100 * np.eye(2)).proportion(np.array([1.0, 0.0]), np.ones(2))
        assert (found.low, found.high) == (0.0, 1.0)
        assert not found.is_known

    @pytest.mark.parametrize(("counts", "end"), [((-30.0, 1030.0), 0.0), ((1030.0, -30.0), 1.0)])
    def test_proportion_beyond_its_ends_keeps_an_interval(self, counts: tuple[float, float], end: float) -> None:
        found = NoisyCounts(np.array(counts), 100 * np.eye(2)).proportion(np.array([1.0, 0.0]), np.ones(2))
        assert found.value == end
        # Noise of deviation 10 in a part that is 0 of 1000: up to about 1.96 x 10 / 1000, and sampling.
        assert 0.019 < found.high - found.low < 0.025

    def test_proportion_widens_with_the_noise(self) -> None:
        part, whole = np.array([1.0, 0.0]), np.ones(2)
        narrow, wide = (NoisyCounts(np.array([300.0, 700.0]), v * np.eye(2)).proportion(part, whole) for v in (0, 400))
        # Of 1000 patients, sampling adds 0.3 x 0.7 / 1000 = 0.00021; noise of variance 400 in both cells adds
        # 400 (0.7^2 + 0.3^2) / 1000^2 = 0.000232 to the variance.
        assert (narrow.high - narrow.low) / 2 == pytest.approx(1.96 * math.sqrt(0.00021), rel=0.01)
        assert (wide.high - wide.low) / 2 == pytest.approx(1.96 * math.sqrt(0.000442), rel=0.01)

    @pytest.mark.parametrize(("counts", "deviation"), [((20.0, 180.0), 5.0), ((3.0, 400.0), 8.0), ((90.0, 110.0), 0.0)])
    def test_proportion_interval_holds_the_truth(self, counts: tuple[float, float], deviation: float) -> None:
        rng = np.random.default_rng(1)
        truth, runs, hits = counts[0] / sum(counts), 2000, 0
        drawn = rng.binomial(int(sum(counts)), truth, runs)
        noisy = np.stack([drawn, sum(counts) - drawn], axis=1) + deviation * rng.standard_normal((runs, 2))
        for row in noisy:
            found = NoisyCounts(row, deviation**2 * np.eye(2)).proportion(np.array([1.0, 0.0]), np.ones(2))
            hits += found.low <= truth <= found.high
        assert hits / runs >= 0.935  # 95 %, less three standard deviations of 2000 trials


class TestMean:
    def test_mean_without_noise_is_the_textbooks(self) -> None:
        found = NoisyCounts(np.array([40.0, 60.0]), NONE).mean(np.array([0.0, 10.0]), np.ones(2))
        # The mean is 6 and its variance 24 / 100; the quadratic's ends differ from 1.96 s by parts of 1 / N.
        assert found.value == pytest.approx(6.0)
        assert found.high - 6 == pytest.approx(1.96 * math.sqrt(0.24), rel=0.05)
        assert 6 - found.low == pytest.approx(1.96 * math.sqrt(0.24), rel=0.05)

    def test_noise_far_from_the_mean_counts_more(self) -> None:
        counts = np.array([10_000.0, 10_000.0, 0.0])
        noise = np.diag([0.0, 0.0, 100.0])
        near, far = (NoisyCounts(counts, noise).mean(np.array([-1.0, 1.0, x]), np.ones(3)) for x in (2.0, 200.0))
        # Noise of 10 patients at 200 moves the mean by 200 x 10 / 20000 = 0.1.
        assert far.high - far.low == pytest.approx(2 * 1.96 * math.sqrt(0.1**2 + 1 / 20_000), rel=0.01)
        assert near.high - near.low < 0.3 * (far.high - far.low)

    def test_mean_of_too_few_patients_is_unknown(self) -> None:
        assert not NoisyCounts(np.array([3.0, 5.0]), 100 * np.eye(2)).mean(np.arange(2.0), np.ones(2)).is_known


class TestQuantile:
    def test_median_lies_where_half_of_the_patients_are(self) -> None:
        counts = NoisyCounts(np.array([25.0, 50.0, 25.0]), np.zeros((3, 3)))
        middle, low, high = counts.cumulative(np.arange(3), np.ones(3), 0.5).quantile()
        # F is .25 and .75 at the ends of the first two cells: the median is in the middle of the second. 1.96 standard
        # deviations of F are 1.96 x 0.5 / 10 = 0.098, a fifth of the cell's half.
        assert middle.cell == 1
        assert middle.fraction == pytest.approx(0.5)
        assert [low.fraction, high.fraction] == pytest.approx([0.5 - 0.196, 0.696], abs=1e-3)

    def test_noise_moves_the_limits_apart(self) -> None:
        counts = np.full(10, 100.0)
        still, loud = (
            NoisyCounts(counts, v * np.eye(10)).cumulative(np.arange(10), np.ones(10), 0.5) for v in (0, 900)
        )
        assert loud.reach[4] ** 2 - still.reach[4] ** 2 == pytest.approx(1.96**2 * 10 * 900 * 0.25 / 1000**2, rel=0.01)
