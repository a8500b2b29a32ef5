"""What was released: the records that a ledger keeps and an accountant composes.

Epsilon is computed from them, never stored in their place. Unit: one patient, who holds one row. Neighbouring tables
differ by adding or removing one patient.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import ClassVar, get_args

MOST_SIGMA = 2.0**40
"""More noise would leave the range of the integers that it is drawn in, where it could no longer hide a count."""


@dataclass(frozen=True, slots=True)
class DiscreteGaussianVector:
    """An integer vector plus independent discrete Gaussian noise of parameter `sigma` in every coordinate.

    One patient adds one to exactly the coordinates it falls in, at most `max_changed_cells` of them, so the L2
    sensitivity is sqrt(max_changed_cells). Noise: Canonne, Kamath and Steinke (2020), arXiv 2004.00010.
    """

    kind: ClassVar[str] = "discrete-gaussian-vector"
    sigma: float
    max_changed_cells: int

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= MOST_SIGMA:
            raise ValueError(f"sigma={self.sigma} is not a positive number up to {MOST_SIGMA:g}")
        if self.max_changed_cells < 1:
            raise ValueError(f"max_changed_cells={self.max_changed_cells} is below 1")


LEAST_SHARE = 1.5
"""Less noise in a share is refused: below, a sum of shares is not close enough to a discrete Gaussian."""


@dataclass(frozen=True, slots=True)
class DistributedGaussianVector:
    """The sum over hospitals of integer vectors, each with discrete Gaussian noise of parameter `share_sigma`.

    What an adversary learns: the sum over the hospitals that survived, less all that colluding hospitals know of their
    own vectors and noise. That leaves honest records plus a sum of at least `shares` independent discrete Gaussians in
    every coordinate (more of them are post-processing). One patient adds one to at most `max_changed_cells`
    coordinates, as in `DiscreteGaussianVector`. The sum is not itself a discrete Gaussian: `divergence` bounds how far
    it is from the one of parameter share_sigma sqrt(shares).
    """

    kind: ClassVar[str] = "distributed-gaussian-vector"
    share_sigma: float
    shares: int
    max_changed_cells: int

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.share_sigma <= MOST_SIGMA:
            raise ValueError(f"share_sigma={self.share_sigma} is not between {LEAST_SHARE} and {MOST_SIGMA:g}")
        if self.shares < 1:
            raise ValueError(f"shares={self.shares} is below 1")
        if self.max_changed_cells < 1:
            raise ValueError(f"max_changed_cells={self.max_changed_cells} is below 1")

    @property
    def central(self) -> DiscreteGaussianVector:
        """The vector with one draw of noise that this one is nearly the same as."""
        return DiscreteGaussianVector(self.share_sigma * math.sqrt(self.shares), self.max_changed_cells)

    @property
    def divergence(self) -> float:
        """T: over the coordinates that a patient changes, all probabilities are within exp(T) of those of `central`.

        T = max_changed_cells x tau, tau = 10 sum_k exp(-2 pi^2 share_sigma^2 k / (k + 1)) over k = 1 ... shares - 1
        (Kairouz, Liu and Steinke 2021, arXiv 2102.06387, section 4). Proof, with a constant below 5 in place of 10:
        let S be within exp(t) of the discrete Gaussian of variance parameter k s^2, point by point, and X another
        share, of s^2. Then S + X is within exp(t) of the convolution of the two discrete Gaussians. By completing the
        square that is, at m, exp(-m^2 / (2 (k + 1) s^2)) times a sum over the integers of exp(-(j - u)^2 / (2 c^2)),
        c^2 = s^2 k / (k + 1), with u depending on m. By Poisson's summation formula that sum is c sqrt(2 pi) (1 +-
        theta) whatever u, where theta = 2 sum_j exp(-2 pi^2 c^2 j^2). So, normalised, the convolution is within (1 +
        theta) / (1 - theta) <= exp(5 exp(-2 pi^2 c^2)) of the discrete Gaussian of (k + 1) s^2, since exp(-2 pi^2 c^2)
        < 10^-9 from `LEAST_SHARE` on. Induction over k, and coordinates are independent.
        """
        tau = sum(
            math.exp(-2 * math.pi**2 * self.share_sigma**2 * k / (k + 1)) for k in range(1, min(self.shares, 1000))
        )
        tau += max(0, self.shares - 1000) * math.exp(-2 * math.pi**2 * self.share_sigma**2 * 0.999)
        return 10 * tau * self.max_changed_cells


@dataclass(frozen=True, slots=True)
class DpSgdRun:
    """`steps` Poisson-sampled Gaussian steps: all an accountant needs to know."""

    kind: ClassVar[str] = "dp-sgd"
    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"noise_multiplier={self.noise_multiplier} is not a positive number")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate={self.sample_rate} is not in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is below 1")


@dataclass(frozen=True, slots=True)
class SynchronousRun:
    """`steps` sums over hospitals of integer gradient sums, each of a Poisson sample and with discrete Gaussian noise.

    `share_multiplier` is one hospital's noise parameter over the L2 norm that one patient can move the integers by,
    rounding included. What an adversary learns of a step: honest hospitals' integers plus at least `shares` such draws.

    Charged as the Poisson-sampled Gaussian of multiplier share_multiplier sqrt(shares), at integer Renyi orders. Let M0
    be the noise, M1 the noise shifted by the integer vector v that a drawn patient adds, and P = (1 - q) M0 + q M1.

    - With the patient against without: E over M0 of (P / M0)^a is the sum over k of binom(a, k) (1 - q)^(a - k) q^k
      E[(M1 / M0)^k] for integer a, and E[(M1 / M0)^k] = exp((k - 1) D_k) <= exp(k (k - 1) |v|^2 / (2 sigma^2)) for
      a discrete Gaussian (Canonne, Kamath and Steinke 2020, proposition 5): the terms of the continuous one (Mironov,
      Talwar and Zhang 2019, arXiv 1908.10530, section 3.3; Zhu and Wang 2019 for any mechanism), growing with |v|.
    - Without against with: no more, since x -> v - x keeps the integers, takes M0 to M1 and M1 to M0 (the same, theorem
      5, with sums in place of integrals).
    - Between integer orders, (a - 1) D_a is convex in a, so the chord bounds it.
    - A sum of shares is within exp(T) of one discrete Gaussian, see `DistributedGaussianVector.divergence`. Here all
      coordinates may change, and shares are at least 16: T is below 10^-1000 and charged as 0.
    """

    kind: ClassVar[str] = "synchronous-dp-sgd"
    share_multiplier: float
    shares: int
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.share_multiplier) and self.share_multiplier > 0):
            raise ValueError(f"share_multiplier={self.share_multiplier} is not a positive number")
        if self.shares < 1:
            raise ValueError(f"shares={self.shares} is below 1")
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate={self.sample_rate} is not in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is below 1")

    @property
    def central_multiplier(self) -> float:
        """Of all accounted shares together."""
        return self.share_multiplier * math.sqrt(self.shares)


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A release without noise. Its epsilon is infinite; it exists so that a ledger can say so."""

    kind: ClassVar[str] = "unprotected"


Event = DiscreteGaussianVector | DistributedGaussianVector | DpSgdRun | SynchronousRun | Unprotected
EVENTS: dict[str, type[Event]] = {event.kind: event for event in get_args(Event)}


def event_to_json(event: Event) -> str:
    """The event as one line of JSON; floats survive exactly."""
    return json.dumps({"kind": event.kind, **asdict(event)}, sort_keys=True)


def event_from_json(text: str) -> Event:
    """The event that `event_to_json` wrote. Raises `ValueError` for a kind nobody can account for."""
    fields = json.loads(text)
    kind = fields.pop("kind", None)
    if kind not in EVENTS:
        raise ValueError(f"no accountant knows the event kind {kind!r}")
    return EVENTS[kind](**fields)
