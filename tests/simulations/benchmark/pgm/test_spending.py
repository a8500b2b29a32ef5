"""What AIM and MST may spend."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from common.planning.calibration import spend_all
from simulations.benchmark.pgm.spending import choice_epsilon, choice_price, gaussian_price, ranked


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 10.0])
def test_a_budget_is_that_of_one_count_of_this_project(epsilon: float) -> None:
    assert 1 / gaussian_price(epsilon, 1e-5) == pytest.approx(spend_all(epsilon, 1e-5), rel=0.02)


@pytest.mark.parametrize("epsilon", [0.01, 0.3, 1.0, 4.0])
class TestChoice:
    def test_its_price_covers_every_mechanism_of_that_range(self, epsilon: float) -> None:
        """Two answers with losses t and t - epsilon: p exp(-t) + (1 - p) exp(epsilon - t) = 1."""
        for loss in np.linspace(0.001, 0.999, 200) * epsilon:
            likely = (math.exp(epsilon) - math.exp(loss)) / (math.exp(epsilon) - 1)
            assert ndtri(likely) - ndtri(likely * math.exp(-loss)) <= choice_price(epsilon) * (1 + 1e-9)

    def test_epsilon_is_the_inverse_of_its_price(self, epsilon: float) -> None:
        assert choice_epsilon(choice_price(epsilon)) == pytest.approx(epsilon)


def test_choices_follow_the_exponential_mechanism() -> None:
    rng = np.random.default_rng(0)
    chosen = [ranked(np.array([0.0, 2.0]), 1.0, 1.0, rng)[0] for _ in range(4000)]
    assert np.mean(chosen) == pytest.approx(math.e / (1 + math.e), abs=0.025)
