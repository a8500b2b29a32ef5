"""Renyi divergences of events, and the epsilon that they give, for the check of a plan, the ledger and the cap.

They add up over releases. Unit and neighbors, and what weights and shared noise cost on top, are those of `accountant`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from scipy.special import gammaln, logsumexp, xlog1py, xlogy

from common.arrays import Floats
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
    merge,
)

ORDERS: tuple[float, ...] = (*(quarter / 4 for quarter in range(8, 48)), *range(12, 65), 96, 128, 256, 512)
"""Renyi orders for check and filter. Below 2 the sampled Gaussian's series converges too slowly to be of use."""


def epsilon_rdp(events: Iterable[Event], delta: float) -> float:
    """Return epsilon of all events by Renyi divergences: looser than PLD, and computed by independent code."""
    return epsilon_of(divergences(events), delta)


def divergences(events: Iterable[Event]) -> Floats:
    """Return upper bounds on the Renyi divergence of all events together, one for each of `ORDERS`.

    They add up over releases, and are infinite where an event is unprotected. Sources: Mironov 2017, arXiv 1702.07476,
    proposition 1 (composition); Mironov, Talwar and Zhang 2019, arXiv 1908.10530 (sampled Gaussian).
    """
    total = np.zeros(len(ORDERS))
    for event in merge(events):
        if isinstance(event, DpSgdRun | SynchronousRun):
            total += event.steps * _of_event(replace(event, steps=1))
        else:
            total += _of_event(event)
    return total


def epsilon_of(divergences: Floats, delta: float) -> float:
    """Return epsilon from `divergences`, at the best order (Canonne, Kamath and Steinke 2020, proposition 12)."""
    return float(compute_epsilon(ORDERS, divergences, delta)[0])


@lru_cache(maxsize=256)
def _of_event(event: Event) -> Floats:
    accountant = RdpAccountant(ORDERS)
    match event:
        case Unprotected():
            return np.full(len(ORDERS), math.inf)
        case DiscreteGaussianVector(sigma, squared_sensitivity):
            accountant.compose(dp_event.GaussianDpEvent(sigma / math.sqrt(squared_sensitivity)))
        case DistributedGaussianVector():
            orders = np.asarray(ORDERS)
            return np.asarray(_of_event(event.central) + (2 * orders - 1) / (orders - 1) * event.divergence)
        case SynchronousRun():
            return event.steps * _sampled(event.central_multiplier, event.sample_rate)
        case DpSgdRun(noise_multiplier, sample_rate, steps):
            step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
            accountant.compose(dp_event.SelfComposedDpEvent(step, steps))
    return np.asarray(accountant.rdp)


def _sampled(multiplier: float, rate: float) -> Floats:
    """Return the Renyi divergence of one synchronous step for each of `ORDERS`; the proof is at `SynchronousRun`.

        (a - 1) D_a = ln sum_k binom(a, k) (1 - q)^(a - k) q^k exp(k (k - 1) / (2 m^2))    at integer orders a

    and chords of (a - 1) D_a between them, with q the sample rate and m the multiplier.
    """
    integers = sorted({bound for order in ORDERS for bound in (math.floor(order), math.ceil(order))})
    moments = []
    for order in integers:
        drawn = np.arange(order + 1)
        terms = gammaln(order + 1) - gammaln(drawn + 1) - gammaln(order - drawn + 1)
        terms += xlog1py(order - drawn, -rate) + xlogy(drawn, rate) + drawn * (drawn - 1) / (2 * multiplier**2)
        moments.append(logsumexp(terms))
    orders = np.asarray(ORDERS)
    return np.asarray(np.interp(orders, integers, moments) / (orders - 1))
