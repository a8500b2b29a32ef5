from __future__ import annotations

import numpy as np
import pytest

from client.selftest import noise
from client.selftest.checks import CheckError
from common.arrays import Floats, Integers
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise


class Replaced(SecureNoise):
    """Secure noise, one kind of which a test replaces."""

    def __init__(self, secret: bytes | None = None) -> None:
        super().__init__(secret or bytes(48))


class Steps(Replaced):
    def uniform(self, count: int) -> Floats:
        return np.floor(super().uniform(count) * 256 + 0.5) / 256.5 + 1e-9


class Echo(Replaced):
    def uniform(self, count: int) -> Floats:
        return np.repeat(super().uniform(count), 2)[:count]


class FixedSize(Replaced):
    """Deals batches of one size, as from a shuffled table."""

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        return np.sort(np.argsort(self.uniform(rows))[: round(rows * rate)])


class Neighbors(Replaced):
    """Takes rows in pairs."""

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        pairs = super().poisson_sample(rows // 2, rate)
        return np.sort(np.concatenate([2 * pairs, 2 * pairs + 1]))


class TestSources:
    @pytest.mark.parametrize("seed", range(5))
    def test_seeded_source_follows_its_distributions(self, seed: int) -> None:
        source = SeededNoise(seed)
        noise.check_uniforms(source, SeededNoise(seed + 100))
        noise.check_normals(source.gaussian(noise.NORMALS, 1.0))
        for sigma in noise.SIGMAS:
            noise.check_integers(source.discrete_gaussian(noise.INTEGERS, sigma), sigma)
        noise.check_samples(source)

    @pytest.mark.parametrize("source", [Steps(), Echo()], ids=["coarse", "repeated"])
    def test_uniforms_that_are_coarse_or_repeat_fail(self, source: NoiseSource) -> None:
        with pytest.raises(CheckError, match="release nothing"):
            noise.check_uniforms(source, SeededNoise(1))

    def test_two_sources_with_one_key_fail(self) -> None:
        with pytest.raises(CheckError, match="two sources depend on each other"):
            noise.check_uniforms(SecureNoise(bytes(48)), SecureNoise(bytes(48)))

    def test_normals_with_ninety_percent_of_the_noise_fail(self) -> None:
        with pytest.raises(CheckError, match="normal numbers do not follow"):
            noise.check_normals(SeededNoise(0).gaussian(noise.NORMALS, 0.9))

    @pytest.mark.parametrize("sigma", noise.SIGMAS)
    def test_integers_with_ninety_percent_of_the_noise_fail(self, sigma: float) -> None:
        with pytest.raises(CheckError, match="discrete Gaussians of parameter"):
            noise.check_integers(SeededNoise(0).discrete_gaussian(noise.INTEGERS, 0.9 * sigma), sigma)

    def test_rounded_normal_numbers_of_little_noise_fail(self) -> None:
        rounded = np.rint(np.random.default_rng(0).normal(0, 0.8, noise.INTEGERS)).astype(np.int64)
        with pytest.raises(CheckError, match=r"discrete Gaussians of parameter 0\.8"):
            noise.check_integers(rounded, 0.8)

    @pytest.mark.parametrize(
        ("source", "text"),
        [(FixedSize(), "sizes of Poisson samples"), (Neighbors(), "samples")],
        ids=["one size", "pairs"],
    )
    def test_batches_that_are_no_poisson_samples_fail(self, source: NoiseSource, text: str) -> None:
        with pytest.raises(CheckError, match=text):
            noise.check_samples(source)
