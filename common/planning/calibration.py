"""How much noise a budget needs: a standard deviation for each counted vector and a multiplier for DP-SGD.

The budget is divided in units of 1 / sigma^2, in which Gaussian releases add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from common.planning.plan import with_retries
from common.privacy import accountant
from common.privacy.events import (
    LEAST_SHARE,
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    least_noise,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The (epsilon, delta) that one hospital's part of a run may spend."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class CountedVectors:
    """The vectors of counts of a run, in order.

    Args:
        squared_sensitivity: of each vector: upper bound on the square of the L2 norm of what one patient adds.
        largest_weight: of each vector: no cell changes by more.
        proportions: of each vector: its part of the budget. With that of training they sum to 1.
    """

    squared_sensitivity: tuple[int, ...]
    largest_weight: tuple[int, ...]
    proportions: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingSteps:
    """The DP-SGD steps of a run at one hospital.

    Args:
        steps: number of steps in all rounds together; 0 for a run without training.
        sample_rate: probability that a patient enters the batch of a step.
        is_synchronous: whether all hospitals take each step together and share its noise.
    """

    steps: int
    sample_rate: float
    is_synchronous: bool


@dataclass(frozen=True, slots=True)
class NoiseSharing:
    """Whose noise protects a patient.

    Args:
        honest_hospitals: how many hospitals' noise is in every sum; 0 where each hospital's own noise protects it.
        retries: how many failed masked phases may be tried again; each is a release that the budget pays for.
    """

    honest_hospitals: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Noise:
    """What one hospital adds.

    Args:
        sigmas: parameter of the discrete Gaussian of each vector, in patients per cell.
        multiplier: noise multiplier of DP-SGD, in units of the clip norm; 0 without training.
    """

    sigmas: tuple[float, ...]
    multiplier: float


LARGE_NOISE = 20.0
"""Noise of a count, in patients, from which the accountant is fast without a vector that stands for it."""


def single_count(sigma: float) -> list[Event]:
    """Return the release of a single count under noise of `sigma` patients.

    A vector of 100 changed cells under 10 sigma stands for it: its loss is the same, and its noise is large enough
    for the accountant's fast path where `sigma` is small. Large noise stands for itself: the time that the accountant
    takes grows with it.
    """
    if sigma >= LARGE_NOISE:
        return [DiscreteGaussianVector(sigma, 1)]
    return [DiscreteGaussianVector(sigma * 10, 100)]


@lru_cache(maxsize=256)
def spend_all(epsilon: float, delta: float, *, by_renyi: bool = False) -> float:
    """Return the noise of a single count that spends (epsilon, delta), in patients: the unit of all sigmas.

    Args:
        epsilon: epsilon to spend.
        delta: delta to spend.
        by_renyi: account by Renyi divergences, as plans with synchronous steps are.
    """
    return accountant.calibrate(single_count, epsilon, delta, by_renyi=by_renyi)


@lru_cache(maxsize=256)
def calibrate_noise(target: Target, counted: CountedVectors, training: TrainingSteps, sharing: NoiseSharing) -> Noise:
    """Return the noise with which a complete run spends the target.

    Args:
        target: epsilon and delta that the run may cost at this hospital.
        counted: vectors of counts of the run.
        training: DP-SGD steps of the run.
        sharing: whose noise protects a patient; with honest hospitals, the result is the noise of one hospital's share.

    Raises:
        Unaffordable: no amount of noise meets the target.
    """
    epsilon, delta = target.epsilon, target.delta
    if not training.steps:
        unit = accountant.calibrate(lambda unit: _vector_events(unit, counted, sharing), epsilon, delta)
        return Noise(_sigmas(unit, counted, sharing), 0.0)
    # A retry repeats the most expensive vector: the unit grows by what that can cost again.
    dearest = max(counted.proportions, default=0.0)
    unit = spend_all(epsilon, delta, by_renyi=training.is_synchronous) * math.sqrt(1 + sharing.retries * dearest)
    events = _vector_events(unit, counted, sharing)

    def with_training(multiplier: float) -> list[Event]:
        rate, steps, honest = training.sample_rate, training.steps, sharing.honest_hospitals
        if training.is_synchronous:
            return [*events, SynchronousRun(multiplier, honest, rate, steps + sharing.retries)]
        return [*events, DpSgdRun(multiplier, rate, steps)]

    return Noise(_sigmas(unit, counted, sharing), accountant.calibrate(with_training, epsilon, delta))


def _sigmas(unit: float, counted: CountedVectors, sharing: NoiseSharing) -> tuple[float, ...]:
    """Return the noise of each vector where a single count that spends everything has noise `unit`.

        sigma = unit sqrt(c / p) / sqrt(n),    c = squared_sensitivity, p = proportion, n = honest hospitals or 1

    or what weights need at least, which the planner chooses so that it is less. Rounded up to a thousandth of a
    patient, so that the plan is the same on every machine.
    """
    root_n = math.sqrt(sharing.honest_hospitals or 1)
    least = LEAST_SHARE if sharing.honest_hospitals else 0.0
    vectors = zip(counted.squared_sensitivity, counted.largest_weight, counted.proportions, strict=True)
    return tuple(
        max(least, math.ceil(max(unit * math.sqrt(c / p), least_noise(w)) / root_n * 1e3) / 1e3) for c, w, p in vectors
    )


def _vector_events(unit: float, counted: CountedVectors, sharing: NoiseSharing) -> list[Event]:
    """Return the releases of all vectors at that unit, with those that retries may repeat."""
    honest = sharing.honest_hospitals
    vectors = zip(_sigmas(unit, counted, sharing), counted.squared_sensitivity, counted.largest_weight, strict=True)
    once = [
        DistributedGaussianVector(sigma, honest, *bounds) if honest else DiscreteGaussianVector(sigma, *bounds)
        for sigma, *bounds in vectors
    ]
    return list(with_retries(once, sharing.retries))
