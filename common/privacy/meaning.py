"""What an epsilon means to people: odds, groups of patients, and the Gaussian mechanism of equal strength."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from common.arrays import Floats
from common.privacy import accountant, renyi
from common.privacy.events import Event, Unprotected, merge

GRID_RATIO = 1.01
"""Ratio of neighboring error rates in `group_epsilon`. The result is at most ln(1.01) larger than without a grid."""

LEAST_RATE = 1e-40
"""Smallest false positive rate on the grid. A delta below it is not supported, and none is in use."""

EPSILONS = np.concatenate([np.linspace(0.0, 8.0, 161), np.linspace(8.25, 40.0, 128)])
"""Points at which the curve delta(epsilon) is computed; between them it is bounded by what they imply."""

SUSPICION = 0.01
"""Probability before the results, in sentences about odds."""


def suspicion_after(suspicion: float, epsilon: float) -> float:
    """Return the largest probability of "this patient is in the data" after the results are known.

        odds after <= e^epsilon odds before

    Args:
        suspicion: probability before, in (0, 1).
        epsilon: epsilon of the results, at delta 0; `suspicion_sentence` says what another delta adds.
    """
    odds = math.exp(min(epsilon, 700.0)) * suspicion / (1 - suspicion)
    return odds / (1 + odds)


def suspicion_sentence(unit: str, epsilon: float, delta: float) -> str:
    """Return in plain words what the results tell at most about one patient.

    Every (epsilon, delta)-DP mechanism can be had from one that reveals the patient with probability delta and is
    epsilon-DP otherwise. It does not follow that epsilon bounds the odds with probability 1 - delta.

    Args:
        unit: what is protected: patient or record.
        epsilon, delta: guarantee of the results.

    Source: Kairouz, Oh and Viswanath 2015, "The Composition Theorem for Differential Privacy", theorem 3.1.
    """
    after = min(math.ceil(100 * suspicion_after(SUSPICION, epsilon)), 100)  # a bound is never rounded down
    return (
        f"Suppose somebody suspects, with a probability of {100 * SUSPICION:.0f} in 100, that a certain {unit} is in "
        f"the data. Whatever else they know, the results tell them no more than an answer that reveals the truth with "
        f"a probability of {delta:g} and otherwise raises the suspicion to at most {after} in 100."
    )


@dataclass(frozen=True, slots=True)
class EqualGaussian:
    """The Gaussian mechanism that has the same epsilon at the same delta.

    Attributes:
        mu: its parameter in Gaussian DP: sensitivity over standard deviation of the noise.
        rho: its parameter in zero-concentrated DP, mu^2 / 2.
    """

    mu: float
    rho: float


def equal_gaussian(epsilon: float, delta: float) -> EqualGaussian:
    """Return mu and rho of the Gaussian mechanism that is exactly (epsilon, delta)-DP.

        delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)

    Args:
        epsilon: above 0.
        delta: in (0, 1).

    Source: Dong, Roth and Su 2022, "Gaussian Differential Privacy", corollary 2.13; rho: Bun and Steinke 2016.
    """

    def excess(mu: float) -> float:
        tail = math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
        return float(ndtr(mu / 2 - epsilon / mu) - tail - delta)

    mu = float(brentq(excess, 1e-6, 2 * math.sqrt(2 * epsilon) + 20, xtol=1e-9))
    return EqualGaussian(mu, mu * mu / 2)


def group_epsilon(events: Iterable[Event], delta: float, size: int) -> float:
    """Return an epsilon at delta that holds for any `size` patients together; infinite where there is none below 80.

    Let g(x) be the largest true positive rate of any test for one patient whose false positive rate is x. Neighboring
    tables bound it, for every epsilon and both directions, by

        g(x) <= delta(epsilon) + e^epsilon x,    1 - g(x) >= e^-epsilon (1 - delta(epsilon) - x)

    From a table to one with `size` patients more lead `size` such steps, so for the group it is g(g(... g(x))), and

        epsilon = ln max_x (g(... g(x)) - delta) / x

    Args:
        events: releases to compose.
        delta: delta of the guarantee for the group.
        size: patients of the group, from 1.

    Source: Dong, Roth and Su 2022, "Gaussian Differential Privacy", theorem 2.14.
    """
    merged = merge(events)
    if not merged:
        return 0.0
    if any(isinstance(event, Unprotected) for event in merged):
        return math.inf
    deltas = _deltas(merged)
    rates = np.exp(np.arange(math.log(LEAST_RATE), 0.0, math.log(GRID_RATIO)))
    true_positive_rates = np.append(rates[1:], 1.0)  # the upper end of each cell of the grid, where g is largest
    for _ in range(size):
        true_positive_rates = _best_test(true_positive_rates, deltas)
    if true_positive_rates[0] > delta:  # rates below the grid may cost more
        return math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = np.log((true_positive_rates - delta) / rates)
    return float(np.nanmax(np.append(losses, 0.0)))


def _deltas(events: tuple[Event, ...]) -> Floats:
    """Return delta at each of `EPSILONS`: by PLD, whose tails are cut off near 1e-15, or by Renyi divergences."""
    divergences, targets = renyi.divergences(events), EPSILONS.tolist()
    by_renyi = np.array([compute_delta(renyi.ORDERS, divergences, target)[0] for target in targets])
    return np.asarray(np.minimum(accountant.deltas(events, targets), by_renyi), dtype=np.float64)


def _best_test(rates: Floats, deltas: Floats) -> Floats:
    """Return g at every false positive rate, from delta at each of `EPSILONS`."""
    best: Floats = np.ones_like(rates)
    for epsilon, delta in zip(EPSILONS, deltas, strict=True):
        best = np.minimum(best, delta + np.exp(epsilon) * rates)
        best = np.minimum(best, 1 - np.exp(-epsilon) * np.maximum(1 - delta - rates, 0.0))
    return best
