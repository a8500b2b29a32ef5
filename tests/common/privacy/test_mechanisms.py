"""Both noise sources are held to one distribution test.

`SecureNoise` cannot be seeded, so each of its tests may fail by chance. Some 30 comparisons at a significance of 1e-8
or less give a false alarm in fewer than one of three million runs.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise, release_counts

SIGNIFICANCE = 1e-8
DEVIATIONS = 6.0
"""A normal number lies further from its mean with probability 2e-9."""


@pytest.fixture(params=["secure", "seeded"])
def noise(request: pytest.FixtureRequest) -> NoiseSource:
    return SecureNoise() if request.param == "secure" else SeededNoise(20)


class Stuck:
    """A keystream of one byte for ever."""

    def __init__(self, byte: int) -> None:
        self._byte = byte

    def update(self, data: bytes) -> bytes:
        return bytes([self._byte]) * len(data)


def is_close_to_mean(values: npt.NDArray[np.float64], mean: float, deviation: float) -> bool:
    return bool(abs(values.mean() - mean) < DEVIATIONS * deviation / math.sqrt(len(values)))


class TestDistributions:
    @pytest.mark.parametrize("sigma", [0.7, 3.0, 20.0])
    def test_integers_follow_the_discrete_gaussian(self, noise: NoiseSource, sigma: float) -> None:
        count = 20_000
        drawn = noise.discrete_gaussian(count, sigma)
        assert drawn.dtype == np.int64
        reach = math.ceil(14 * sigma)
        support = np.arange(-reach, reach + 1)
        expected = np.exp(-0.5 * (support / sigma) ** 2)
        expected *= count / expected.sum()
        observed = np.bincount(drawn + reach, minlength=len(support))
        assert len(observed) == len(support)
        common = expected >= 10
        rest = observed[~common].sum(), expected[~common].sum()
        table = np.append(observed[common], rest[0]), np.append(expected[common], rest[1])
        assert stats.chisquare(*table).pvalue > SIGNIFICANCE

    def test_normal_numbers_have_their_deviation(self, noise: NoiseSource) -> None:
        drawn = noise.gaussian(40_001, 2.5)  # an odd number: they are made in pairs
        assert len(drawn) == 40_001
        assert stats.kstest(drawn, stats.norm(scale=2.5).cdf).pvalue > SIGNIFICANCE
        assert stats.kstest(drawn**2, stats.gamma(0.5, scale=2 * 2.5**2).cdf).pvalue > SIGNIFICANCE

    def test_the_two_halves_of_normal_numbers_are_unrelated(self, noise: NoiseSource) -> None:
        first, second = np.split(noise.gaussian(40_000, 1.0), 2)
        assert is_close_to_mean(first * second, 0.0, 1.0)
        assert is_close_to_mean((first**2 - 1) * (second**2 - 1), 0.0, 2.0)  # Var(z^2) = 2

    def test_uniform_numbers_are_uniform_and_strictly_inside(self, noise: NoiseSource) -> None:
        drawn = noise.uniform(40_000)
        assert stats.kstest(drawn, "uniform").pvalue > SIGNIFICANCE
        assert 0 < drawn.min() < drawn.max() < 1

    @pytest.mark.parametrize(("byte", "expected"), [(0x00, 2.0**-53), (0xFF, 1 - 2.0**-53)])
    def test_the_most_extreme_bits_stay_strictly_inside(self, byte: int, expected: float) -> None:
        noise = SecureNoise()
        noise.__dict__["_keystream"] = Stuck(byte)
        assert noise.uniform(3).tolist() == [expected] * 3
        assert np.isfinite(noise.gaussian(5, 1.0)).all()


class TestPoissonSample:
    @pytest.mark.parametrize(("rows", "rate"), [(200, 0.25), (200, 0.01), (7, 0.9), (2, 0.3)])
    def test_size_is_binomial_and_positions_are_equally_likely(
        self, noise: NoiseSource, rows: int, rate: float
    ) -> None:
        draws = 4_000
        member = np.zeros((draws, rows))
        for draw in member:
            chosen = noise.poisson_sample(rows, rate)
            assert (np.diff(chosen) > 0).all()
            draw[chosen] = 1
        sizes, variance = member.sum(1), rows * rate * (1 - rate)
        assert is_close_to_mean(sizes, rows * rate, math.sqrt(variance))
        fourth = 3 * variance**2 + variance * (1 - 6 * rate * (1 - rate))  # central moment of a binomial
        assert is_close_to_mean((sizes - rows * rate) ** 2, variance, math.sqrt(fourth - variance**2))
        # Sums of independent 0/1 numbers: each position's count over the draws is binomial as well.
        for position in (0, rows - 1):
            assert stats.binomtest(int(member[:, position].sum()), draws, rate).pvalue > SIGNIFICANCE
        standard = (member.sum(0) - draws * rate) ** 2 / (draws * rate * (1 - rate))
        assert stats.chi2.sf(standard.sum(), rows) > SIGNIFICANCE

    def test_adjacent_rows_enter_independently(self, noise: NoiseSource) -> None:
        draws, rows, rate = 2_000, 50, 0.2
        member = np.zeros((draws, rows))
        for draw in member:
            draw[noise.poisson_sample(rows, rate)] = 1
        centred = member - rate
        for distance in (1, 2):
            # Each product has mean 0 and deviation rate (1 - rate) = 0.16, and products are uncorrelated.
            assert is_close_to_mean((centred[:, :-distance] * centred[:, distance:]).ravel(), 0.0, rate * (1 - rate))

    def test_rates_of_zero_and_one(self, noise: NoiseSource) -> None:
        assert noise.poisson_sample(5, 0.0).tolist() == []
        assert noise.poisson_sample(5, 1.0).tolist() == [0, 1, 2, 3, 4]
        assert noise.poisson_sample(0, 0.0).tolist() == []
        assert noise.poisson_sample(0, 0.5).tolist() == []
        assert noise.poisson_sample(0, 1.0).tolist() == []
        assert noise.poisson_sample(5, 1e-12).tolist() == []  # by chance otherwise once in 2e11 runs
        assert noise.poisson_sample(5, 0.5).dtype == np.int64


class TestSources:
    def test_a_seeded_stream_depends_on_its_names_alone(self) -> None:
        noise = SeededNoise(7)
        before = noise.named("north", "train.round", 1).uniform(4)
        noise.uniform(100)
        assert (noise.named("north", "train.round", 1).uniform(4) == before).all()
        assert (SeededNoise(7).named("north", "train.round", 1).uniform(4) == before).all()

    def test_seeded_streams_of_other_names_are_unrelated(self) -> None:
        streams = [
            SeededNoise(seed).named("north", kind, number).gaussian(10_000, 1.0)
            for seed in (7, 8)
            for kind in ("query.histograms", "train.round")
            for number in (1, 2)
        ]
        correlations = np.asarray(np.corrcoef(streams))[np.triu_indices(len(streams), 1)]
        assert np.abs(correlations).max() < DEVIATIONS / math.sqrt(10_000)

    def test_secure_noise_never_repeats(self) -> None:
        noise = SecureNoise()
        sources = [noise, noise.named("north", 1), noise.named("north", 1), SecureNoise()]
        drawn = np.concatenate([source.uniform(1_000) for source in [*sources, *sources]])
        assert len(np.unique(drawn)) == len(drawn)
        integers = [noise.discrete_gaussian(50, 100.0).tolist() for _ in range(4)]
        assert len({tuple(values) for values in integers}) == 4

    def test_only_the_secure_source_calls_itself_secure(self) -> None:
        assert SecureNoise.is_secure
        assert not SeededNoise.is_secure


class TestReleaseCounts:
    def test_counts_get_discrete_gaussian_noise(self) -> None:
        counts = np.array([5, 0, 1000])
        noise = SeededNoise(3).discrete_gaussian(3, 2.0)
        assert (release_counts(counts, 2.0, SeededNoise(3)) == counts + noise).all()

    def test_without_noise_they_are_exact_and_draw_nothing(self) -> None:
        noise = SeededNoise(3)
        assert release_counts(np.array([5, 0]), 0.0, noise).tolist() == [5, 0]
        assert (noise.uniform(2) == SeededNoise(3).uniform(2)).all()

    def test_no_counts_are_released_as_none(self, noise: NoiseSource) -> None:
        assert release_counts(np.empty(0, dtype=np.int64), 2.0, noise).tolist() == []
