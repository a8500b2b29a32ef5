"""Epsilon of a set of events: privacy loss distributions (PLD) for a plan, Renyi divergences for the check and the cap.

Both compose with `dp-accounting`. Unit: one patient; neighboring tables differ by adding or removing one.

*A discrete Gaussian vector.* For one patient without weights it moves by one in c = squared_sensitivity coordinates, so
its loss is that of c independent discrete Gaussians of sensitivity one (PLD), or c / (2 sigma^2)-zCDP (Renyi; Canonne,
Kamath and Steinke 2020, theorem 14, which holds with weights too). That loss, (2 S - c) / (2 sigma^2), depends only on
the sum S of the noise in those coordinates. For sigma >= 2, S follows the discrete Gaussian of parameter sigma sqrt(c)
up to a factor exp(tau), tau <= 10 c exp(-pi^2 sigma^2) (Kairouz, Liu and Steinke 2021, arXiv 2102.06387, section 4).
This changes delta by less than one part in 10^9 for up to a million coordinates: one discrete Gaussian on a grid of
known spacing stands for the whole composition.

*With weights* the loss is within exp(T) of that of a Gaussian of noise multiplier sigma / sqrt(c); T and the proof are
in `DiscreteGaussianVector.divergence`. It is charged like that of shared noise, which comes next.

*A sum of several hospitals' noise* (`DistributedGaussianVector`) is within exp(T) of its `central` vector, point by
point, for both neighbors. Let P and Q be the two distributions of everything released and P', Q' those with central
vectors. Then for every set S of outcomes and every order a

    P(S) - e^epsilon Q(S) <= e^T P'(S) - e^(epsilon - T) Q'(S),    so delta(epsilon) <= e^T delta'(epsilon - 2 T)
    P^a Q^(1 - a) <= e^((2 a - 1) T) P'^a Q'^(1 - a),              so D_a grows by at most (2 a - 1) / (a - 1) T

T adds up over releases, and exactly that is charged.

*A `SynchronousRun`* has a proven Renyi divergence and no PLD here: with one, all events have a Renyi epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce

import numpy as np
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta
from scipy.optimize import brentq

from common.arrays import Floats
from common.privacy import renyi
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
    merge,
)
from common.privacy.gaussian_loss import discrete_gaussian_loss, gaussian_loss

LOSS_GRID = 1e-4
"""Spacing of the discretized privacy loss. Rounding is pessimistic, so a coarser grid only reports more epsilon."""

COMPOSITION_GRID_SIGMA = 2.0
"""Noise parameter from which a sum of discrete Gaussians is one discrete Gaussian for all purposes: see above."""

SMALLEST_DELTA = 1e-9
"""Below this delta, Renyi divergences are used: rounding errors of long convolutions, above 1e-12, would count."""

COARSE_GRID = 50 * LOSS_GRID
"""Spacing for the search for the noise, 50 times faster; what is promised is computed on `LOSS_GRID`."""


class Unaffordable(ValueError):
    """No amount of noise brings the events below the target."""


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Return the smallest epsilon for which all events together are (epsilon, delta)-DP, by PLD composition.

    It is 0 for no events and infinite for an unprotected one. An upper bound, since discretization rounds losses up.
    With synchronous steps among the events, or below `SMALLEST_DELTA`, it is that of `renyi.epsilon_rdp`, a looser one.
    """
    return _epsilon(merge(events), delta, LOSS_GRID)


@lru_cache(maxsize=64)
def _epsilon(merged: tuple[Event, ...], delta: float, grid: float) -> float:
    if not merged:
        return 0.0
    if any(isinstance(event, Unprotected) for event in merged):
        return math.inf
    if _needs_renyi(merged, delta):
        return renyi.epsilon_of(renyi.divergences(merged), delta)
    return _with_divergence(_composed(merged, grid), delta, _divergence(merged))


def _needs_renyi(events: Iterable[Event], delta: float = 1.0) -> bool:
    return delta < SMALLEST_DELTA or any(isinstance(event, SynchronousRun) for event in events)


def _divergence(events: Iterable[Event]) -> float:
    """Return T of all events together: see the module's text."""
    total = 0.0
    for event in events:
        if isinstance(event, DistributedGaussianVector):
            total += event.divergence + event.central.divergence
        elif isinstance(event, DiscreteGaussianVector):
            total += event.divergence
    return total


def _with_divergence(loss: PrivacyLossDistribution, delta: float, divergence: float) -> float:
    """Return epsilon at delta where `loss` is known up to a factor exp(divergence)."""
    return float(loss.get_epsilon_for_delta(delta * math.exp(-divergence))) + 2 * divergence


def deltas(events: Iterable[Event], epsilons: Sequence[float]) -> Floats:
    """Return the smallest delta for each epsilon for which all events together are (epsilon, delta)-DP.

    On the coarser grid, so a little above the curve whose points `epsilon` computes, and never below.

    Args:
        events: events to compose; at least one, none of them unprotected.
        epsilons: values of epsilon, increasing.

    Returns:
        One delta for each epsilon, at most 1. Those below `SMALLEST_DELTA` are for pictures: they may be rounded down.
    """
    merged = merge(events)
    if _needs_renyi(merged):
        divergences = renyi.divergences(merged)
        return np.array([compute_delta(renyi.ORDERS, divergences, target)[0] for target in epsilons], dtype=np.float64)
    divergence = _divergence(merged)
    shifted = [target - 2 * divergence for target in epsilons]
    central = np.asarray(_composed(merged, COARSE_GRID).get_delta_for_epsilon(shifted), dtype=np.float64)
    return np.minimum(1.0, central * math.exp(divergence))


def _composed(merged: tuple[Event, ...], grid: float) -> PrivacyLossDistribution:
    *before, last = merged
    return _composed_before(tuple(before), grid).compose(_loss(last, grid)) if before else _loss(last, grid)


@lru_cache(maxsize=4)  # a search for the noise of the last event composes those before it once
def _composed_before(events: tuple[Event, ...], grid: float) -> PrivacyLossDistribution:
    return reduce(PrivacyLossDistribution.compose, (_loss(event, grid) for event in events))


def epsilons(events: Iterable[Event], delta: float) -> list[float]:
    """Return `epsilon` of the first event, of the first two, and so on."""
    events = tuple(events)
    if _needs_renyi(events, delta):
        divergences = np.cumsum([renyi.divergences([event]) for event in events], axis=0)
        return [renyi.epsilon_of(total, delta) for total in divergences]
    spent: list[float] = []
    total: PrivacyLossDistribution | None = None
    divergence = 0.0
    for event in events:
        if isinstance(event, Unprotected) or math.inf in spent:
            spent.append(math.inf)
            continue
        loss = _loss(event, LOSS_GRID)
        total = loss if total is None else total.compose(loss)
        divergence += _divergence([event])
        spent.append(_with_divergence(total, delta, divergence))
    return spent


def calibrate(
    events_at: Callable[[float], Iterable[Event]], epsilon_target: float, delta: float, *, by_renyi: bool = False
) -> float:
    """Return the smallest noise parameter, to one part in a thousand, whose events cost at most `epsilon_target`.

    Args:
        events_at: returns the events at a noise parameter; more noise must cost less.
        epsilon_target: epsilon that the events may cost at `delta`.
        delta: delta of the guarantee.
        by_renyi: account by Renyi divergences, also where all events have a privacy loss distribution.

    Raises:
        Unaffordable: even overwhelming noise costs more than the target, because other events already do.
    """

    def excess(log_noise: float, grid: float) -> float:
        merged = merge(events_at(math.exp(log_noise)))
        return (renyi.epsilon_rdp(merged, delta) if by_renyi else _epsilon(merged, delta, grid)) - epsilon_target

    low, high = math.log(0.3), math.log(4.0)
    while excess(high, COARSE_GRID) > 0:
        low, high = high, high + math.log(4.0)
        if high > math.log(1e6):
            raise Unaffordable("no amount of noise meets the target; give the other releases a smaller weight")
    while excess(low, COARSE_GRID) < 0:
        low -= math.log(2.0)
        if low < math.log(1e-6):  # the least noise that the events may have costs less than the target
            return math.exp(low)
    high = float(brentq(excess, low, high, args=(COARSE_GRID,), xtol=1e-3)) + 1e-3
    low = high - 0.01
    while excess(low, LOSS_GRID) < 0:
        low -= 0.03
    root = float(brentq(excess, low, high, args=(LOSS_GRID,), xtol=5e-4))
    while excess(root, LOSS_GRID) > 0:  # the root may cost slightly more than the target; the plan must not
        root += 2e-4
    return math.ceil(math.exp(root) * 1e4) / 1e4  # rounded up: the same plan on every machine


@lru_cache(maxsize=32)
def _loss(event: Event, grid: float) -> PrivacyLossDistribution:
    match event:
        case DiscreteGaussianVector(sigma, squared_sensitivity, largest_change):
            if largest_change > 1:  # up to its divergence, which is charged where losses become an epsilon
                multiplier = sigma / math.sqrt(squared_sensitivity)
                return gaussian_loss(multiplier, 1.0, grid)
            if sigma < COMPOSITION_GRID_SIGMA:
                single = discrete_gaussian_loss(sigma, 1, grid)
                return single.self_compose(squared_sensitivity) if squared_sensitivity > 1 else single
            # The loss depends on the sum of the coordinates that change alone; see the module's text.
            return discrete_gaussian_loss(sigma * math.sqrt(squared_sensitivity), squared_sensitivity, grid)
        case DistributedGaussianVector():
            return _loss(event.central, grid)  # up to its divergence, too
        case DpSgdRun(noise_multiplier, sample_rate, steps):
            step = gaussian_loss(noise_multiplier, sample_rate, grid)
            return step.self_compose(steps) if steps > 1 else step
        case _:
            raise ValueError(f"no accountant knows the event {event!r}")
