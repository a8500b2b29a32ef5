"""The lifetime cap of a cohort over studies that are chosen one after another: a Renyi filter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

from common.privacy.accountant import epsilon
from common.privacy.events import Event
from common.privacy.renyi import ORDERS, divergences


def fits_lifetime(spent: Iterable[Event], new: Iterable[Event], cap: float, delta: float) -> bool:
    """Return whether a cohort that is committed to `spent` may take on the plan `new` under its lifetime cap.

    Unit: one patient; neighboring tables differ by adding or removing one. What is promised: everything ever released
    about the cohort is (cap, delta)-DP, although studies are chosen one after another, each in sight of what the ones
    before it released. Composition of plans fixed in advance does not cover such a choice. A Renyi filter does: if the
    bounds on the divergence of order alpha of adaptively chosen releases sum to at most B on every path, all of them
    together are (alpha, B)-RDP (Feldman and Zrnic 2021, "Individual Privacy Accounting via a Renyi Filter", arXiv
    2008.11193; here with one bound for all patients). The theorem is about one order, so alpha is a function of cap and
    delta alone (`filter_order`), and B is the divergence that `dp-accounting` converts to (cap, delta) at that order.

    The first plan may pass another way: all its events are fixed in advance, so it is also taken where its PLD epsilon
    is at most `cap`. If the filter could not have taken it, its divergence alone exceeds B and nothing fits after it.
    So the cohort's whole life is one of two: a single fixed plan, which is (cap, delta)-DP by PLD, or a sequence under
    the filter. Which of them holds is decided by the first plan, before any record is read; no path mixes them, and
    delta is spent once. For this, `spent` has to hold all events of that first plan even if its run was abandoned;
    `History.committed` returns them so.

    Args:
        spent: every event that the cohort is committed to, planned or charged.
        new: every event of the plan.
        cap: the largest epsilon of the cohort's life; infinity for no cap.
        delta: delta of the cohort's whole life.
    """
    spent, new = tuple(spent), tuple(new)
    if cap == math.inf or fits_filter((*spent, *new), cap, delta):
        return True
    return not spent and epsilon(new, delta) <= cap


def fits_filter(events: Iterable[Event], cap: float, delta: float) -> bool:
    """Return whether the Renyi filter of (cap, delta) lets all these events pass; see `fits_lifetime`.

    Args:
        events: every event of the cohort's life, planned or charged.
        cap: largest epsilon of the cohort's life.
        delta: delta of the cohort's life.
    """
    order = filter_order(cap, delta)
    spent = float(divergences(events)[ORDERS.index(order)])
    return float(compute_epsilon((order,), (spent,), delta)[0]) <= cap


@lru_cache(maxsize=32)
def filter_order(cap: float, delta: float) -> float:
    """Return the one order of the filter: that of `ORDERS` at which Gaussian noise spends (cap, delta) last.

    A Gaussian of rho-zCDP has divergence alpha rho. The order is the one that admits the largest rho:

        rho = (cap - ln(1 - 1 / alpha) + ln(delta alpha) / (alpha - 1)) / alpha
    """

    def largest_rho(order: float) -> float:
        return float(cap - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)) / order

    return max(ORDERS, key=largest_rho)
