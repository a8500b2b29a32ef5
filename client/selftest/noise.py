"""Whether the secure noise source of this installation draws what it should: the tests of `fedsynth site selftest`.

Every test has a false alarm with probability `FALSE_ALARM`. They notice a broken library or generator, such as half the
noise, a stuck generator or a wrong tail. They cannot show that a generator is unpredictable.
"""

from __future__ import annotations

import math

import numpy as np

from client.selftest.checks import CheckError, require
from client.site.config import Site
from common.arrays import Floats, Integers
from common.privacy.mechanisms import NoiseSource, SecureNoise

FALSE_ALARM = 1e-9
"""Probability with which one test flags a source that is right."""

UNIFORMS, NORMALS, INTEGERS, SAMPLES = 100_000, 100_000, 20_000, 400
"""Numbers that are drawn: uniform, normal, of each discrete Gaussian, and Poisson samples."""

SIGMAS = (0.8, 3.0, 50.0)
"""Parameters of the discrete Gaussians, in counts."""

LEAST_EXPECTED = 20.0
"""Fewest numbers that a cell of a chi-square test expects; tails are joined until they do."""

ROWS, RATE = 400, 0.25
"""Rows and rate of the Poisson samples."""

REMEDY = (
    "release nothing; install fedsynth again with the versions of constraints.txt (opendp, cryptography, numpy), or "
    "use another machine"
)


def check_noise(site: Site) -> str:
    """Check the noise source that a site answers with; in a rehearsal too, where answers have predictable noise.

    Raises:
        CheckError: numbers do not follow their distribution, depend on each other or repeat.
    """
    source = SecureNoise()
    check_uniforms(source, SecureNoise())
    check_normals(source.gaussian(NORMALS, 2.0) / 2.0)
    for sigma in SIGMAS:
        check_integers(source.discrete_gaussian(INTEGERS, sigma), sigma)
    check_samples(source)
    numbers = UNIFORMS + NORMALS + len(SIGMAS) * INTEGERS
    return f"{numbers:,} numbers and {SAMPLES} Poisson samples of the secure source follow their distributions"


def check_uniforms(source: NoiseSource, other: NoiseSource) -> None:
    """Check uniform numbers of two sources: even, independent of each other and of their predecessors.

    Args:
        source, other: two sources that should have nothing in common.
    """
    from scipy import special

    first, second = source.uniform(UNIFORMS), other.uniform(UNIFORMS)
    _require_fit(np.bincount((first * 256).astype(np.int64), minlength=256), np.full(256, 1 / 256), "uniform numbers")
    low_bits = np.floor(first * 2.0**52).astype(np.int64) % 256
    _require_fit(np.bincount(low_bits, minlength=256), np.full(256, 1 / 256), "low-order bits of uniform numbers")
    limit = float(special.ndtri(1 - FALSE_ALARM / 2)) / math.sqrt(UNIFORMS)
    for name, numbers, others in (
        ("numbers in a row", first[:-1], first[1:]),
        ("two sources", first, second),
        ("a source's numbers and its next ones", first, source.uniform(UNIFORMS)),
    ):
        correlation = float(np.mean((numbers - 0.5) * (others - 0.5)) * 12)
        require(abs(correlation) < limit, f"{name} depend on each other (correlation {correlation:.3f}): {REMEDY}")


def check_normals(numbers: Floats) -> None:
    """Check that numbers are standard normal."""
    from scipy import special

    cells = 64
    counted = np.bincount(np.minimum((special.ndtr(numbers) * cells).astype(np.int64), cells - 1), minlength=cells)
    _require_fit(counted, np.full(cells, 1 / cells), "normal numbers")


def check_integers(numbers: Integers, sigma: float) -> None:
    """Check that integers follow the discrete Gaussian of this parameter.

    Args:
        numbers: what was drawn, int64.
        sigma: the parameter, in counts.
    """
    reach = math.ceil(12 * sigma) + 1
    require(int(np.abs(numbers).max()) <= reach, f"a discrete Gaussian of {sigma:g} is beyond {reach}: {REMEDY}")
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    counted = np.bincount(numbers + reach, minlength=2 * reach + 1)
    _require_fit(counted, weights / weights.sum(), f"discrete Gaussians of parameter {sigma:g}")


def check_samples(source: NoiseSource) -> None:
    """Check that Poisson samples take every row at their rate, each independently of its neighbor."""
    from scipy import special

    chosen = np.zeros((SAMPLES, ROWS), dtype=np.bool_)
    for sample in chosen:
        sample[source.poisson_sample(ROWS, RATE)] = True
    limit = float(special.ndtri(1 - FALSE_ALARM / 2))
    expected = chosen.size * RATE
    off = (chosen.sum() - expected) / math.sqrt(expected * (1 - RATE))
    require(abs(float(off)) < limit, f"Poisson samples take rows at another rate than {RATE}: {REMEDY}")
    sizes = (chosen.sum(1) - ROWS * RATE) / math.sqrt(ROWS * RATE * (1 - RATE))
    spread = (float((sizes**2).sum()) - SAMPLES) / math.sqrt(2 * SAMPLES)
    require(abs(spread) < limit + 2, f"the sizes of Poisson samples vary too little or too much: {REMEDY}")
    row = int(chosen.sum(0).min()), int(chosen.sum(0).max())
    width = (limit + 1.5) * math.sqrt(SAMPLES * RATE * (1 - RATE))  # of the farthest of `ROWS` rows
    is_even = SAMPLES * RATE - width < row[0] <= row[1] < SAMPLES * RATE + width
    require(is_even, f"Poisson samples prefer some rows: {REMEDY}")
    centered = chosen - RATE
    pairs = centered[:, :-1] * centered[:, 1:] / (RATE * (1 - RATE))
    require(
        abs(float(pairs.sum())) < limit * math.sqrt(pairs.size), f"rows of a Poisson sample depend on others: {REMEDY}"
    )


def _require_fit(counted: Integers, probabilities: Floats, draws: str) -> None:
    """Raise `CheckError` unless counts fit probabilities, by Pearson's chi-square test.

    Args:
        counted: how often each value was drawn.
        probabilities: probability of each value.
        draws: what the values are, in the plural, for the error.
    """
    from scipy import stats

    expected, observed = _joined(probabilities * counted.sum(), counted)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    if stats.chi2.sf(statistic, len(expected) - 1) < FALSE_ALARM:
        raise CheckError(
            f"{draws} do not follow their distribution (chi-square {statistic:.0f} with {len(expected) - 1} degrees of "
            f"freedom): {REMEDY}"
        )


def _joined(expected: Floats, counted: Integers) -> tuple[Floats, Floats]:
    """Return both with neighbors joined until `LEAST_EXPECTED` numbers are expected in each cell."""
    cells: list[tuple[float, float]] = []
    waiting = 0.0, 0.0
    for expectation, count in zip(expected, counted, strict=True):
        waiting = waiting[0] + float(expectation), waiting[1] + float(count)
        if waiting[0] >= LEAST_EXPECTED:
            cells.append(waiting)
            waiting = 0.0, 0.0
    cells[-1] = cells[-1][0] + waiting[0], cells[-1][1] + waiting[1]
    joined = np.array(cells)
    return joined[:, 0], joined[:, 1]
