"""Epsilon of a set of events: privacy loss distributions for the answer, Renyi divergences as the sanity check.

Both compose for the add-or-remove-one-patient relation with `dp-accounting`. A discrete Gaussian vector is
accounted as what it is: for one patient the vector moves by one in `changed` coordinates, so its loss is that of
`changed` independent discrete Gaussians of sensitivity one (PLD), or changed / (2 sigma^2)-zCDP (RDP; Canonne,
Kamath and Steinke 2020, theorem 14). That loss, (2 S - changed) / (2 sigma^2), depends only on the sum S of the noise
in those coordinates. For sigma >= 2 the law of S is the discrete Gaussian of parameter sigma sqrt(changed) up to a
factor exp(tau), tau <= 10 changed exp(-pi^2 sigma^2) (Kairouz, Liu and Steinke 2021, arXiv 2102.06387, section 4),
which changes delta by less than one part in 10^9 for up to a million coordinates: one lattice of known spacing stands
for the whole composition.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq

from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Event, Unprotected

LOSS_GRID = 1e-4
"""Spacing of the discretised privacy loss. Rounding is pessimistic, so a coarser grid only reports more epsilon."""

LATTICE_SIGMA = 2.0
"""From here on a sum of discrete Gaussians is a discrete Gaussian for all purposes: see the module's text."""

ORDERS = (*np.arange(2, 12, 0.25), *range(12, 65), 96, 128, 256, 512)
"""Renyi orders for the check. Below 2 the sampled Gaussian's series converges too slowly to be of use."""

COARSE_GRID = 50 * LOSS_GRID
"""For finding about where the noise must lie; what is promised is computed on `LOSS_GRID`."""


class Unaffordable(ValueError):
    """No amount of noise brings the events below the target."""


def epsilon(events: Iterable[Event], delta: float) -> float:
    """The smallest epsilon for which all events together are (epsilon, delta)-DP, by PLD composition.

    0 for no events, infinity for an unprotected one. An upper bound: the discretisation rounds losses up.
    """
    return _epsilon(merge(events), delta, LOSS_GRID)


def _epsilon(merged: tuple[Event, ...], delta: float, grid: float) -> float:
    if not merged:
        return 0.0
    if any(isinstance(event, Unprotected) for event in merged):
        return math.inf
    first, *rest = (_loss(event, grid) for event in merged)
    for loss in rest:
        first = first.compose(loss)
    return float(first.get_epsilon_for_delta(delta))


def epsilon_rdp(events: Iterable[Event], delta: float) -> float:
    """As `epsilon`, by Renyi divergences: looser, computed by independent code."""
    merged = merge(events)
    if not merged:
        return 0.0
    accountant = RdpAccountant(ORDERS)
    for event in merged:
        match event:
            case Unprotected():
                return math.inf
            case DiscreteGaussianVector(sigma, changed):
                accountant.compose(dp_event.GaussianDpEvent(sigma / math.sqrt(changed)))
            case DpSgdRun(noise_multiplier, sample_rate, steps):
                step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
                accountant.compose(dp_event.SelfComposedDpEvent(step, steps))
    return float(accountant.get_epsilon(delta))


def merge(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same releases with equal DP-SGD steps added up: composition does not depend on their grouping."""
    steps: Counter[tuple[float, float]] = Counter()
    others: list[Event] = []
    for event in events:
        if isinstance(event, DpSgdRun):
            steps[event.noise_multiplier, event.sample_rate] += event.steps
        else:
            others.append(event)
    runs = [DpSgdRun(multiplier, rate, count) for (multiplier, rate), count in sorted(steps.items())]
    return (*others, *runs)


def calibrate(events_at: Callable[[float], Iterable[Event]], epsilon_target: float, delta: float) -> float:
    """The smallest noise parameter, to one part in a thousand, whose events cost at most `epsilon_target`.

    Args:
        events_at: noise parameter to events; more noise must cost less.

    Raises:
        Unaffordable: even overwhelming noise costs more than the target, because other events already do.
    """

    def excess(log_noise: float, grid: float) -> float:
        return _epsilon(merge(events_at(math.exp(log_noise))), delta, grid) - epsilon_target

    low, high = math.log(0.3), math.log(4.0)
    while excess(high, COARSE_GRID) > 0:
        low, high = high, high + math.log(4.0)
        if high > math.log(1e6):
            raise Unaffordable("no amount of noise meets the target; give the other releases a smaller share")
    while excess(low, COARSE_GRID) < 0:
        low -= math.log(2.0)
    high = float(brentq(excess, low, high, args=(COARSE_GRID,), xtol=1e-3)) + 1e-3
    low = high - 0.01
    while excess(low, LOSS_GRID) < 0:
        low -= 0.03
    root = float(brentq(excess, low, high, args=(LOSS_GRID,), xtol=5e-4))
    while excess(root, LOSS_GRID) > 0:  # the root may lie a hair on the expensive side; the promise may not
        root += 2e-4
    return math.ceil(math.exp(root) * 1e4) / 1e4  # rounded up: the same plan on every machine


@lru_cache(maxsize=32)
def _loss(event: Event, grid: float) -> pld.PrivacyLossDistribution:
    match event:
        case DiscreteGaussianVector(sigma, changed):
            if sigma < LATTICE_SIGMA:
                one = pld.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=grid)
                return one.self_compose(changed) if changed > 1 else one
            # The loss depends on the sum of the changed coordinates alone; see the module's text.
            return pld.from_discrete_gaussian_mechanism(
                sigma * math.sqrt(changed), sensitivity=changed, value_discretization_interval=grid
            )
        case DpSgdRun(noise_multiplier, sample_rate, steps):
            step = pld.from_gaussian_mechanism(
                noise_multiplier, sampling_prob=sample_rate, value_discretization_interval=grid
            )
            return step.self_compose(steps) if steps > 1 else step
        case _:
            raise ValueError(f"no accountant knows the event {event!r}")
