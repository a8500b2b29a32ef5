"""A vectorized privacy loss composes and inverts like the one of `dp-accounting`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld.pld_pmf import DensePLDPmf

from common.arrays import Floats
from common.privacy.loss_pmf import LossPmf

GRID = 1e-2
DELTAS = (1e-9, 1e-5, 1e-2, 0.3, 0.9)


def bell(points: int, middle: float, width: float) -> Floats:
    """Probabilities that fall off on both sides, together a little below 1: the rest is the infinite loss's."""
    weights = np.exp(-(((np.arange(points) - middle) / width) ** 2) / 2)
    return np.asarray(weights / weights.sum() * (1 - 1e-12))


PAIRS = [
    (-300, bell(900, 420, 60), -50, bell(200, 110, 15)),
    (-10, bell(30, 12, 3), 4, bell(25, 5, 2)),
    (-450, bell(400, 200, 40), -450, bell(300, 150, 30)),  # no loss above 0: epsilon is 0
    (90_000, bell(50, 25, 5), 0, np.array([1.0 - 1e-12])),  # exp(-loss) is 0
]


@pytest.mark.parametrize(("lowest", "ours", "other_lowest", "other"), PAIRS)
def test_composes_as_the_library_does(lowest: int, ours: Floats, other_lowest: int, other: Floats) -> None:
    for tail in (0.0, 1e-15, 1e-6):
        fast = LossPmf(GRID, lowest, ours, 1e-12).compose(LossPmf(GRID, other_lowest, other, 1e-12), tail)
        slow = DensePLDPmf(GRID, lowest, ours, 1e-12, True).compose(
            DensePLDPmf(GRID, other_lowest, other, 1e-12, True), tail
        )
        assert (fast.size, fast._lower_loss) == (slow.size, slow._lower_loss)
        np.testing.assert_array_equal(fast._probs, slow._probs)
        assert fast._infinity_mass == pytest.approx(slow._infinity_mass, rel=1e-9)
        for delta in DELTAS:
            assert fast.get_epsilon_for_delta(delta) == pytest.approx(slow.get_epsilon_for_delta(delta), rel=1e-9)


@pytest.mark.parametrize("times", [1, 2, 7, 150])
@pytest.mark.parametrize(("lowest", "ours"), [pair[:2] for pair in PAIRS])
def test_composes_with_itself_as_the_library_does(lowest: int, ours: Floats, times: int) -> None:
    fast = LossPmf(GRID, lowest, ours, 1e-12).self_compose(times)
    slow = DensePLDPmf(GRID, lowest, ours, 1e-12, True).self_compose(times)
    assert abs(fast._lower_loss - slow._lower_loss) <= 1  # a bound may be rounded to the other side
    assert fast._infinity_mass == slow._infinity_mass
    for delta in DELTAS:
        expected = slow.get_epsilon_for_delta(delta)
        assert fast.get_epsilon_for_delta(delta) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_epsilon_by_hand() -> None:
    # Losses 0.01 and 0.02 with probabilities 1/2: at epsilon = 0 the divergence is
    # (1 - e^-0.01) / 2 + (1 - e^-0.02) / 2 = 0.014876; at 0.01 it is (1 - e^-0.01) / 2 = 0.004975.
    loss = LossPmf(GRID, 1, np.array([0.5, 0.5]), 0.0)
    assert loss.get_epsilon_for_delta(0.015) == 0
    assert loss.get_epsilon_for_delta((1 - math.exp(-0.01)) / 2) == pytest.approx(0.01)
    assert loss.get_epsilon_for_delta(0.0) == pytest.approx(0.02)


def test_an_infinite_loss_above_delta_has_no_epsilon() -> None:
    loss = LossPmf(GRID, 0, np.array([0.9]), 0.1)
    assert loss.get_epsilon_for_delta(0.09) == math.inf
    assert loss.get_epsilon_for_delta(0.1) == 0
