"""What was released: the records that a ledger keeps and an accountant composes.

Epsilon is computed from them, never stored in their place. For every event the unit is one patient, who holds one row,
and neighboring tables differ by adding or removing one patient.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import ClassVar, get_args

MOST_SIGMA = 2.0**40
"""Largest noise parameter. Above it, noise would leave the range of the int64 it is drawn in and not hide a count."""

LEAST_SHARE = 1.5
"""Smallest noise parameter of one hospital's share. Below it, a sum of shares is not close enough to one discrete
Gaussian for `DistributedGaussianVector.divergence` to hold."""


WIDEST_CHANGE, LEAST_WEIGHTED = 2.0, 8.0
"""With weights: least noise over the largest weight, and least noise. Below them, the loss is not close enough to that
of a Gaussian for `DiscreteGaussianVector.divergence` to hold."""


def least_noise(largest_change: int) -> float:
    """Return the smallest noise parameter of a vector with weights up to `largest_change`; 0 for one without."""
    return 0.0 if largest_change == 1 else max(WIDEST_CHANGE * largest_change, LEAST_WEIGHTED)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianVector:
    """An integer vector plus independent discrete Gaussian noise of parameter `sigma` in every coordinate.

    Sensitivity: one patient adds an integer vector v of |v|^2 <= `squared_sensitivity`, none of whose entries exceeds
    `largest_change`. Where that is 1, patients are counted and `squared_sensitivity` is the number of counts that one
    of them is in; where it is larger, tables are counted with weights.

    Source: Canonne, Kamath and Steinke 2020, arXiv 2004.00010.
    """

    kind: ClassVar[str] = "discrete-gaussian-vector"
    sigma: float
    squared_sensitivity: int
    largest_change: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= MOST_SIGMA:
            raise ValueError(f"sigma={self.sigma} is not a positive number up to {MOST_SIGMA:g}")
        _check_at_least_one("squared_sensitivity", self.squared_sensitivity)
        _check_at_least_one("largest_change", self.largest_change)
        if self.sigma < least_noise(self.largest_change):
            raise ValueError(f"sigma={self.sigma} is too small for weights up to {self.largest_change}")

    @property
    def divergence(self) -> float:
        """T: the loss of a vector with weights is within exp(T) of that of a Gaussian; 0 without weights.

            T = 10 c exp(-pi^2 (sigma / w)^2) + 7 / sigma^2,    c = squared_sensitivity, w = largest_change

        One patient adds v with |v|^2 <= c, so the loss (|v|^2 - 2 S) / (2 sigma^2) depends on S = sum_i v_i Z_i alone,
        Z being the noise.

        1. S is within exp(10 c exp(-pi^2 (sigma / w)^2)) of the discrete Gaussian of parameter s = sigma |v| on the
           multiples of g, the greatest common divisor of the v_i. By induction over i: let the first terms be within
           exp(t) of the discrete Gaussian of parameter r on the multiples of h, h <= w. Adding v_i Z_i and completing
           the square leaves a sum of exp(-(j - u)^2 / (2 d^2)) over the multiples j of the least common multiple
           L <= h v_i, with d^2 = r^2 v_i^2 sigma^2 / (r^2 + v_i^2 sigma^2). By Poisson's summation formula it is the
           same for every u up to 1 +- 2 sum_k exp(-2 pi^2 (d k / L)^2). As r >= sigma h, (d / L)^2 >= sigma^2 / (h^2 +
           v_i^2) >= sigma^2 / (2 w^2), so with sigma >= 2 w every term costs a factor below exp(10 exp(-pi^2 sigma^2 /
           w^2)), and there are at most c terms.
        2. A discrete Gaussian on the multiples of g is, where |x| <= 12 s, within exp(7 (g / s)^2) of a Gaussian of
           standard deviation s that is rounded to the nearest of them: over one such cell the density's mean is its
           value in the middle times a factor between 1 - g^2 / (24 s^2) and exp(144 g^2 / (24 s^2) (1 + o(1))). Both
           have mass below 2 exp(-72) beyond. As g <= |v|, g / s <= 1 / sigma <= 1 / 8 (`LEAST_WEIGHTED`).
        3. |v|^2 is a multiple of g, so the two rounded Gaussians, with the patient and without, are one function of
           two Gaussians that are |v|^2 apart: the Gaussian mechanism of noise multiplier sigma / |v|, at least
           sigma / sqrt(c).
        """
        if self.largest_change == 1:
            return 0.0
        c, w = self.squared_sensitivity, self.largest_change
        return 10 * c * math.exp(-((math.pi * self.sigma / w) ** 2)) + 7 / self.sigma**2


@dataclass(frozen=True, slots=True)
class DistributedGaussianVector:
    """The sum over hospitals of integer vectors, each with discrete Gaussian noise of parameter `share_sigma`.

    An adversary learns the sum over the hospitals that survived. Colluding hospitals can subtract their own vectors and
    noise from it. What is left are honest records plus a sum of at least `honest_hospitals` independent discrete
    Gaussians in every coordinate (more of them are post-processing).

    Sensitivity: as in `DiscreteGaussianVector`. The sum of shares is not itself a discrete Gaussian: `divergence`
    bounds how far it is from `central`.
    """

    kind: ClassVar[str] = "distributed-gaussian-vector"
    share_sigma: float
    honest_hospitals: int
    squared_sensitivity: int
    largest_change: int = 1

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.share_sigma <= MOST_SIGMA:
            raise ValueError(f"share_sigma={self.share_sigma} is not between {LEAST_SHARE} and {MOST_SIGMA:g}")
        _check_at_least_one("honest_hospitals", self.honest_hospitals)
        _ = self.central  # checks the other fields

    @property
    def central(self) -> DiscreteGaussianVector:
        """The vector with one draw of noise, of parameter share_sigma sqrt(honest_hospitals)."""
        sigma = self.share_sigma * math.sqrt(self.honest_hospitals)
        return DiscreteGaussianVector(sigma, self.squared_sensitivity, self.largest_change)

    @property
    def divergence(self) -> float:
        """T: over the coordinates that a patient changes, all probabilities are within exp(T) of those of `central`.

            T   = squared_sensitivity tau    (no more coordinates than that change: their changes are integers)
            tau = 10 sum_(k=1)^(n-1) exp(-2 pi^2 s^2 k / (k + 1)),    n = honest_hospitals, s = share_sigma

        Source: Kairouz, Liu and Steinke 2021, arXiv 2102.06387, section 4. Proof, with a constant below 5 in place of
        10: let S be within exp(t) of the discrete Gaussian of variance parameter k s^2, point by point, and X another
        share, of s^2. Then S + X is within exp(t) of the convolution of the two discrete Gaussians. By completing the
        square that is, at m, exp(-m^2 / (2 (k + 1) s^2)) times a sum over the integers of exp(-(j - u)^2 / (2 c^2)),
        c^2 = s^2 k / (k + 1), with u depending on m. By Poisson's summation formula that sum is c sqrt(2 pi) (1 +-
        theta) whatever u, where theta = 2 sum_j exp(-2 pi^2 c^2 j^2). So, normalized, the convolution is within (1 +
        theta) / (1 - theta) <= exp(5 exp(-2 pi^2 c^2)) of the discrete Gaussian of (k + 1) s^2, since exp(-2 pi^2 c^2)
        < 10^-9 from `LEAST_SHARE` on. Induction over k, and coordinates are independent.
        """
        n, s = self.honest_hospitals, self.share_sigma
        terms = sum(math.exp(-2 * math.pi**2 * s**2 * k / (k + 1)) for k in range(1, min(n, 1000)))
        terms += max(0, n - 1000) * math.exp(-2 * math.pi**2 * s**2 * 0.999)  # k / (k + 1) >= 0.999 from k = 1000 on
        return 10 * terms * self.squared_sensitivity


@dataclass(frozen=True, slots=True)
class DpSgdRun:
    """`steps` steps of DP-SGD: Gaussian noise on the clipped gradient sum of a Poisson sample.

    `noise_multiplier` is the noise's standard deviation over the clip norm, which is the L2 sensitivity of a sum.
    Source: Abadi et al. 2016, arXiv 1607.00133.
    """

    kind: ClassVar[str] = "dp-sgd"
    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        _check_steps("noise_multiplier", self.noise_multiplier, self.sample_rate, self.steps)


@dataclass(frozen=True, slots=True)
class SynchronousRun:
    """`steps` sums over hospitals of integer gradient sums, each of a Poisson sample and with discrete Gaussian noise.

    `share_multiplier` is the parameter of one hospital's noise over the L2 sensitivity of its integers, rounding
    included. An adversary learns of a step: honest hospitals' integers plus at least `honest_hospitals` such draws.

    Charged as the Poisson-sampled Gaussian of multiplier share_multiplier sqrt(honest_hospitals), at integer Renyi
    orders. Let M0 be the noise, M1 the noise shifted by the integer vector v that a drawn patient adds, q the sample
    rate, and P = (1 - q) M0 + q M1.

    - With the patient against without, for integer a:

          E over M0 of (P / M0)^a = sum_k binom(a, k) (1 - q)^(a - k) q^k E[(M1 / M0)^k]
          E[(M1 / M0)^k] = exp((k - 1) D_k) <= exp(k (k - 1) |v|^2 / (2 sigma^2))

      for a discrete Gaussian (Canonne, Kamath and Steinke 2020, proposition 5). These are the terms of the continuous
      one (Mironov, Talwar and Zhang 2019, arXiv 1908.10530, section 3.3; Zhu and Wang 2019 for any mechanism), growing
      with |v|.
    - Without against with: no more, since x -> v - x keeps the integers, takes M0 to M1 and M1 to M0 (the same, theorem
      5, with sums in place of integrals).
    - Between integer orders, (a - 1) D_a is convex in a, so the chord bounds it.
    - A sum of shares is within exp(T) of one discrete Gaussian, see `DistributedGaussianVector.divergence`. Here all
      coordinates may change, and `share_sigma` is at least `quantization.FINE_SHARE` = 16: T is below 10^-1000 and
      charged as 0.
    """

    kind: ClassVar[str] = "synchronous-dp-sgd"
    share_multiplier: float
    honest_hospitals: int
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        _check_at_least_one("honest_hospitals", self.honest_hospitals)
        _check_steps("share_multiplier", self.share_multiplier, self.sample_rate, self.steps)

    @property
    def central_multiplier(self) -> float:
        """Noise over sensitivity of all accounted shares together."""
        return self.share_multiplier * math.sqrt(self.honest_hospitals)


def _check_steps(name: str, multiplier: float, sample_rate: float, steps: int) -> None:
    """Raise `ValueError` unless the multiplier, called `name`, the sample rate and the number of steps are valid."""
    if not (math.isfinite(multiplier) and multiplier > 0):
        raise ValueError(f"{name}={multiplier} is not a positive number")
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate={sample_rate} is not in (0, 1]")
    _check_at_least_one("steps", steps)


def _check_at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}={value} is below 1")


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A release without noise. Its epsilon is infinite; it exists so that a ledger can say so."""

    kind: ClassVar[str] = "unprotected"


Event = DiscreteGaussianVector | DistributedGaussianVector | DpSgdRun | SynchronousRun | Unprotected
EVENTS: dict[str, type[Event]] = {event.kind: event for event in get_args(Event)}


def merge(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the same releases with equal DP-SGD steps added up: composition does not depend on their grouping."""
    steps: Counter[tuple[float, float]] = Counter()
    synchronous: Counter[tuple[float, int, float]] = Counter()
    others: list[Event] = []
    for event in events:
        if isinstance(event, DpSgdRun):
            steps[event.noise_multiplier, event.sample_rate] += event.steps
        elif isinstance(event, SynchronousRun):
            synchronous[event.share_multiplier, event.honest_hospitals, event.sample_rate] += event.steps
        else:
            others.append(event)
    runs = [DpSgdRun(multiplier, rate, count) for (multiplier, rate), count in sorted(steps.items())]
    return (*others, *runs, *(SynchronousRun(*run, count) for run, count in sorted(synchronous.items())))


def event_to_json(event: Event) -> str:
    """Return the event as one line of JSON; floats survive exactly."""
    return json.dumps({"kind": event.kind, **asdict(event)}, sort_keys=True)


def event_from_json(text: str) -> Event:
    """Return the event that `event_to_json` wrote. Raises `ValueError` for a kind that is not in `EVENTS`."""
    fields = json.loads(text)
    kind = fields.pop("kind", None)
    if kind not in EVENTS:
        raise ValueError(f"no accountant knows the event kind {kind!r}")
    return EVENTS[kind](**fields)
