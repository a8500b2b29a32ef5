"""What a mechanism that chooses as it goes may still spend, counted as Gaussian differential privacy.

A Gaussian sum with noise of s times its L2 sensitivity is 1/s-GDP, and a choice by the exponential mechanism is m-GDP
with the m of `choice_price`. Under fully adaptive composition squares add up, whatever the earlier answers were (Smith
and Thakurta 2022, arXiv 2210.17520; Koskela, Tobaben and Honkela 2022, arXiv 2209.15596): as long as their sum stays
within M^2, everything together is M-GDP, which means as much as one Gaussian sum with noise 1/M (Dong, Roth and Su
2019, arXiv 1905.02383). The original papers convert zCDP instead, which is looser.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

from common.arrays import Floats, Integers


def choice_price(epsilon: float) -> float:
    """Return the m of an exponential mechanism: it is m-GDP.

    The mechanism has bounded range epsilon (Dong, Durfee and Rogers 2020, arXiv 1909.13830): its privacy loss takes
    values in an interval of that length. The worst such mechanism has two answers, with losses +-epsilon / 2:

        m = 2 Phi^-1(1 / (1 + exp(-epsilon / 2)))
    """
    return 2 * float(ndtri(1 / (1 + math.exp(-epsilon / 2))))


def choice_epsilon(price: float) -> float:
    """Return the epsilon of the exponential mechanism that is exactly `price`-GDP, the inverse of `choice_price`."""
    return 2 * float(log_ndtr(price / 2) - log_ndtr(-price / 2))


def ranked(scores: Floats, sensitivity: float, epsilon: float, rng: np.random.Generator) -> Integers:
    """Return the indices of the candidates, best first, by their scores with Gumbel noise.

    The first one of any set that does not depend on the scores is a draw of the exponential mechanism on that set,
    with probability in proportion to exp(epsilon score / (2 sensitivity)). Only one may be used.

    Args:
        scores: quality of every candidate.
        sensitivity: how much one patient can change a score.
        epsilon: of the choice.
        rng: draws the noise.
    """
    return np.argsort(-(epsilon / (2 * sensitivity) * scores + rng.gumbel(size=len(scores))))


def gaussian_price(epsilon: float, delta: float) -> float:
    """Return the M for which M-GDP is exactly (epsilon, delta)-differential privacy (Balle and Wang 2018).

    delta = Phi(-epsilon / M + M / 2) - exp(epsilon) Phi(-epsilon / M - M / 2)
    """

    def excess(price: float) -> float:
        likely, unlikely = (log_ndtr(-epsilon / price + sign * price / 2) for sign in (1, -1))
        return float(np.exp(likely) - np.exp(epsilon + unlikely)) - delta

    return float(brentq(excess, 1e-6, 1e3, xtol=1e-12))
