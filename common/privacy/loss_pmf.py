"""The distribution of a privacy loss on a grid, composed and inverted without a loop in Python over its points.

`dp-accounting` loops over the points in Python, which was most of the time that a plan took. Rounding, truncation and
the mass of an infinite loss follow its `DensePLDPmf`, so results differ by rounding errors alone.
"""

from __future__ import annotations

import math

import numpy as np
from dp_accounting.pld.pld_pmf import DensePLDPmf
from scipy import fft, signal

from common.arrays import Floats

CHERNOFF_ORDERS = 20
"""Number of orders at which each tail of a self-composition is bounded: 1, 2, ... divided by the number of points."""


class LossPmf(DensePLDPmf):  # type: ignore[misc]
    """Probabilities of the losses `lowest * grid`, `(lowest + 1) * grid` and so on, rounded up, and of an infinite one.

    Args:
        grid: spacing of the losses.
        lowest: smallest loss, in units of `grid`.
        probabilities: of each loss, in increasing order.
        infinity_mass: probability of an infinite loss.
    """

    def __init__(self, grid: float, lowest: int, probabilities: Floats, infinity_mass: float) -> None:
        super().__init__(grid, lowest, probabilities, infinity_mass, True)

    def compose(self, other: LossPmf, tail_mass_truncation: float = 0.0) -> LossPmf:
        """Return the loss of both mechanisms together.

        Args:
            other: loss on the same grid.
            tail_mass_truncation: mass to cut off, half in each tail: the lower tail is added to the smallest loss that
                is kept, the upper tail to the infinite loss.
        """
        probabilities = signal.fftconvolve(self._probs, other._probs)
        infinity_mass = self._infinity_mass + other._infinity_mass - self._infinity_mass * other._infinity_mass
        below = above = 0
        if tail_mass_truncation > 0:
            below = _light_prefix(probabilities, tail_mass_truncation / 2)
            above = _light_prefix(np.flip(probabilities), tail_mass_truncation / 2)
        end = max(len(probabilities) - above, below + 1)
        kept = probabilities[below:end]
        kept[0] += probabilities[:below].sum()
        infinity_mass += float(probabilities[end:].sum())
        return LossPmf(self._discretization, self._lower_loss + other._lower_loss + below, kept, infinity_mass)

    def self_compose(self, num_times: int, tail_mass_truncation: float = 1e-15) -> LossPmf:
        """Return the loss of `num_times` runs of the mechanism.

        Args:
            num_times: number of runs, at least 1.
            tail_mass_truncation: upper bound on the mass of the two tails that are cut off; it is added to the mass of
                the infinite loss.
        """
        lowest, highest = _tail_bounds(self._probs, num_times, tail_mass_truncation)
        points = fft.next_fast_len(max(highest - lowest + 1, len(self._probs)), real=True)
        wrapped = fft.irfft(fft.rfft(self._probs, points) ** num_times, points)
        probabilities = np.roll(wrapped, -lowest)[: highest - lowest + 1]
        infinite = tail_mass_truncation - math.expm1(num_times * math.log1p(-self._infinity_mass))
        return LossPmf(self._discretization, self._lower_loss * num_times + lowest, probabilities, infinite)

    def get_epsilon_for_delta(self, delta: float) -> float:
        """Return the smallest epsilon of at least 0 whose hockey-stick divergence is at most delta, or infinity.

        With U the mass of all losses above epsilon and L the sum of their masses times exp(-loss), the divergence is
        U - exp(epsilon) L. From the largest loss downwards, epsilon = log((U - delta) / L) is computed for the losses
        so far; the first that is at least the next loss is the answer.
        """
        if self._infinity_mass > delta:
            return math.inf
        first = min(max(0, -self._lower_loss), len(self._probs))  # losses below 0 cannot raise epsilon above 0
        losses = (np.arange(first, len(self._probs)) + self._lower_loss)[::-1] * self._discretization
        probabilities = self._probs[first:][::-1]
        upper = np.cumsum(np.concatenate(([self._infinity_mass], probabilities)))
        lower = np.cumsum(np.concatenate(([0.0], np.exp(-losses) * probabilities)))
        with np.errstate(divide="ignore", invalid="ignore"):
            solved = np.log((upper[:-1] - delta) / lower[:-1])
        is_last = (upper[:-1] > delta) & (lower[:-1] > 0) & (solved >= losses)
        is_vanishing = (upper[1:] >= delta) & (lower[1:] == 0)  # exp(-loss) is 0: the loss itself is the answer
        ends = np.flatnonzero(is_last | is_vanishing)
        if len(ends) and is_vanishing[ends[0]]:
            return float(losses[ends[0]])
        end = ends[0] if len(ends) else len(losses)
        if upper[end] <= lower[end] + delta:
            return 0.0
        return math.log((upper[end] - delta) / lower[end])


def _light_prefix(probabilities: Floats, mass: float) -> int:
    """Return the largest number of points, from the start, whose masses sum to at most `mass`."""
    is_heavy = np.cumsum(probabilities) > mass
    return int(is_heavy.argmax()) if is_heavy.any() else len(probabilities)


def _tail_bounds(probabilities: Floats, num_times: int, tail_mass: float) -> tuple[int, int]:
    """Return the interval outside which a sum of `num_times` draws has at most `tail_mass`, by Chernoff's bound.

        P(sum >= b) <= M(t)^n exp(-t b)  for t > 0,  M(t) = sum_k p_k exp(t k)

    Args:
        probabilities: of the points 0, 1, and so on.
        num_times: number of draws n.
        tail_mass: largest mass outside, half of it on each side.

    Returns:
        The lowest and the highest point of the interval.
    """
    points = len(probabilities)
    lowest, highest = 0, (points - 1) * num_times
    if tail_mass == 0:
        return lowest, highest
    for sign in (-1, 1):
        unit = np.exp(sign * np.arange(points) / points)
        weighted = probabilities
        for number in range(1, CHERNOFF_ORDERS + 1):
            weighted = weighted * unit
            order = sign * number / points
            moment = float(weighted.sum())
            if not 0 < moment < math.inf:
                continue
            bound = (num_times * math.log(moment) + math.log(2 / tail_mass)) / order
            if sign > 0:
                highest = min(highest, math.ceil(bound))
            else:
                lowest = max(lowest, math.floor(bound))
    return lowest, highest
