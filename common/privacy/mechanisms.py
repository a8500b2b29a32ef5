"""Noise, Poisson sampling and the integer mechanism. A `NoiseSource` is secure at a site and seeded in simulations."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.arrays import Floats, Integers
from common.seeds import seed_for

WIDE = 2.0**16
"""Noise parameter, in counts, from which seeded noise is a rounded normal number. Within six standard deviations its
probabilities differ by less than one part in 10^9, and a table of all integers in reach would not fit in memory."""


class NoiseSource(ABC):
    """Source of the randomness that protects patients.

    A source is split by name before use, one stream per release, so that what one release draws does not depend on
    how many others came before.

    Attributes:
        is_secure: whether its draws are unpredictable; a site's agent accepts other sources in rehearsals only.
    """

    is_secure: bool

    @abstractmethod
    def named(self, *names: str | int) -> NoiseSource:
        """Return an independent source for the release of that name."""

    @abstractmethod
    def uniform(self, count: int) -> Floats:
        """Return `count` uniform numbers strictly between 0 and 1, of 52 random bits each; a 53rd could round to 1."""

    @abstractmethod
    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        """Return `count` int64 numbers k, drawn with probability proportional to exp(-k^2 / (2 sigma^2))."""

    def gaussian(self, count: int, std: float) -> Floats:
        """Return `count` normal numbers of standard deviation `std` (Box and Muller 1958)."""
        import torch  # its sine and cosine take a fifth of numpy's time; whoever needs this noise has loaded it

        half = (count + 1) // 2
        radius = torch.from_numpy(self.uniform(half)).log_().mul_(-2.0).sqrt_().mul_(std)
        angle = torch.from_numpy(self.uniform(half)).mul_(2.0 * math.pi)
        return np.asarray(torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)])[:count].numpy())

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        """Return a Poisson sample: each row is in it with probability `rate`, independently of the others.

        Draws the gaps between chosen rows, which are geometric, so time grows with the sample and not with the table.

        Args:
            rows: number of rows to sample from.
            rate: probability of each; all rows from 1 on, none up to 0.

        Returns:
            Row indices in increasing order, int64.
        """
        if rate >= 1:
            return np.arange(rows)
        if rate <= 0:
            return np.empty(0, dtype=np.int64)
        chosen: list[Integers] = []
        last, expected = -1, rows * rate
        while last < rows:
            count = int(expected + 6 * math.sqrt(expected) + 8)
            gaps = 1 + np.floor(np.log(self.uniform(count)) / math.log1p(-rate))
            drawn = last + np.cumsum(np.minimum(gaps, rows + 1)).astype(np.int64)
            chosen.append(drawn)
            last = int(drawn[-1])
        indices = np.concatenate(chosen)
        return indices[indices < rows]


EXPONENT_OF_ONE = 0x3FF << 52
"""Bits of a double precision number from 1 to 2, before the 52 bits that say which."""

SECRET_BYTES = 48
"""Length of key and first counter of a keystream."""


class SecureNoise(NoiseSource):
    """Unpredictable noise: the exact discrete Gaussian of OpenDP, and AES-256-CTR keyed by the operating system.

    Args:
        secret: 48 random bytes that key the stream, see `common.ledger.draws`; None draws them.
    """

    is_secure = True

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret

    def named(self, *names: str | int) -> SecureNoise:
        return SecureNoise()

    def keyed(self, secret: bytes) -> Self:
        """Return a source of the same kind whose keystream has this key."""
        return type(self)(secret)

    @cached_property
    def _keystream(self):  # type: ignore[no-untyped-def]  # the cipher context has no public type
        secret = os.urandom(SECRET_BYTES) if self._secret is None else self._secret
        return Cipher(algorithms.AES(secret[:32]), modes.CTR(secret[32:])).encryptor()

    def uniform(self, count: int) -> Floats:
        words = np.right_shift(np.frombuffer(self._keystream.update(bytes(8 * count)), dtype="<u8"), 12)
        words |= EXPONENT_OF_ONE
        return np.asarray(words.view("<f8") - (1 - 2.0**-53))

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        import opendp.prelude as dp  # 1.6 s to import: only where noise must be unpredictable

        dp.enable_features("contrib")
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
        return np.asarray((space >> dp.m.then_gaussian(sigma))([0] * count), dtype=np.int64)


class SeededNoise(NoiseSource):
    """Reproducible noise for simulations and rehearsals. It is predictable, so it protects no patient."""

    is_secure = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def named(self, *names: str | int) -> SeededNoise:
        return SeededNoise(seed_for(self._seed, "noise", *names))

    def uniform(self, count: int) -> Floats:
        return (self._rng.integers(0, 2**52, count).astype(np.float64) + 0.5) * 2.0**-52

    def gaussian(self, count: int, std: float) -> Floats:
        return self._rng.standard_normal(count) * std

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        if sigma > WIDE:
            return np.rint(self._rng.standard_normal(count) * sigma).astype(np.int64)
        reach = math.ceil(12 * sigma) + 1  # the mass beyond is below 1e-31
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        cumulative = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(cumulative, self._rng.random(count), side="right")
        return np.minimum(drawn, 2 * reach).astype(np.int64) - reach


def release_counts(counts: Integers, sigma: float, noise: NoiseSource) -> Integers:
    """Return integer counts plus discrete Gaussian noise: the vector release behind `DiscreteGaussianVector`.

    Unit: one patient. Neighboring tables: add or remove one patient. Sensitivity: what one patient adds must have at
    most the squared L2 norm `squared_sensitivity`, and no entry above `largest_change`: one in each of that many
    counts, or a weight where tables have weights. The caller guarantees this, and charges
    `DiscreteGaussianVector(sigma, squared_sensitivity, largest_change)` before it sends the result.

        rho = squared_sensitivity / (2 sigma^2) zCDP

    Source: Canonne, Kamath and Steinke 2020, theorem 14.

    Args:
        counts: exact counts, int64, each times the weight of its table.
        sigma: parameter of the noise in every coordinate, in patients times weight; 0 adds nothing and is charged as
            `Unprotected`.
        noise: source of the noise.

    Returns:
        Noisy counts, int64, of the same shape.
    """
    return counts + noise.discrete_gaussian(len(counts), sigma) if sigma else counts
