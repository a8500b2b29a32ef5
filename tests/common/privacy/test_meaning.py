from __future__ import annotations

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from common.privacy.accountant import epsilon
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Event, Unprotected
from common.privacy.meaning import equal_gaussian, group_epsilon, suspicion_after, suspicion_sentence

DELTA = 1e-5
VECTOR = DiscreteGaussianVector(10.0, 49)  # mu = sqrt(49) / 10 = 0.7


def of_gaussian(mu: float, delta: float) -> float:
    """Epsilon of the Gaussian mechanism, by the formula and not by the code under test."""
    return float(
        brentq(lambda e: norm.cdf(mu / 2 - e / mu) - math.exp(e) * norm.cdf(-mu / 2 - e / mu) - delta, 1e-3, 100)
    )


class TestSuspicion:
    def test_odds_grow_by_the_exponential_of_epsilon(self) -> None:
        # 1 in 100 has odds of 1 to 99; e^3 / 99 = 20.0855 / 99 = 0.20288, and 0.20288 / 1.20288 = 0.16866: 1 in 6.
        assert suspicion_after(0.01, 3.0) == pytest.approx(0.16866, abs=1e-5)
        assert suspicion_after(0.5, math.log(3)) == pytest.approx(0.75)

    def test_epsilon_zero_changes_nothing_a_huge_one_is_certainty(self) -> None:
        assert suspicion_after(0.01, 0.0) == pytest.approx(0.01)
        assert suspicion_after(0.01, math.inf) == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("value", "in_100"),
        [
            (1.0, 3),  # e / 99 = 0.02746, and 0.02746 / 1.02746 = 0.0267: never rounded down
            (2.8, 15),  # 0.1424
            (5.0, 60),  # e^5 / 99 = 1.499, and 1.499 / 2.499 = 0.5999
            (30.0, 100),
        ],
    )
    def test_a_sentence_says_what_a_suspicion_becomes(self, value: float, in_100: int) -> None:
        text = suspicion_sentence("record", value, 1e-5)
        assert "with a probability of 1 in 100, that a certain record is in the data" in text
        assert "an answer that reveals the truth with a probability of 1e-05 and otherwise raises" in text
        assert text.endswith(f"at most {in_100} in 100.")


class TestEqualGaussian:
    def test_figures_by_hand(self) -> None:
        # Phi(1/2 - 1) - e Phi(-1/2 - 1) = 0.308538 - 2.718282 x 0.066807 = 0.126937
        equal = equal_gaussian(1.0, 0.126937)
        assert equal.mu == pytest.approx(1.0, abs=1e-4)
        assert equal.rho == pytest.approx(0.5, abs=1e-4)

    @pytest.mark.parametrize(("target", "delta"), [(0.01, 1e-5), (3.0, 1e-5), (20.0, 1e-7)])
    def test_it_has_the_same_epsilon_at_the_same_delta(self, target: float, delta: float) -> None:
        mu = equal_gaussian(target, delta).mu
        assert of_gaussian(mu, delta) == pytest.approx(target, rel=1e-4)


class TestGroupEpsilon:
    def test_a_group_of_one_is_a_patient(self) -> None:
        assert epsilon([VECTOR], DELTA) <= group_epsilon([VECTOR], DELTA, 1) <= epsilon([VECTOR], DELTA) + 0.02

    @pytest.mark.parametrize("size", [2, 5])
    def test_a_group_has_the_sum_of_the_gaussian_parameters(self, size: int) -> None:
        # k patients of a mu-Gaussian mechanism are one patient of a (k mu)-Gaussian mechanism.
        exact = of_gaussian(0.7 * size, DELTA)
        assert exact <= group_epsilon([VECTOR], DELTA, size) <= exact + 0.03

    def test_tails_of_training_do_not_spoil_the_bound(self) -> None:
        # By losses alone, whose tails end near 1e-15, a family of five would have 81.
        events: list[Event] = [VECTOR, DpSgdRun(1.0, 0.05, 50)]
        pair, family = (group_epsilon(events, DELTA, size) for size in (2, 5))
        assert 2 * epsilon(events, DELTA) < pair < family < 36

    def test_a_bound_that_the_grid_cannot_reach_is_none(self) -> None:
        # mu = 7 / 2 = 3.5, so 17.5 for five patients: epsilon 17.5^2 / 2 + 4.26 x 17.5 = 228.
        assert group_epsilon([DiscreteGaussianVector(2.0, 49)], DELTA, 5) == math.inf

    def test_nothing_costs_nothing_and_unprotected_is_infinite(self) -> None:
        assert group_epsilon([], DELTA, 5) == 0.0
        assert group_epsilon([Unprotected()], DELTA, 2) == math.inf
