"""The unit of all noise: what stands for a single count costs what the count costs."""

from __future__ import annotations

import pytest

from common.planning.calibration import LARGE_NOISE, single_count
from common.privacy import accountant
from common.privacy.events import DiscreteGaussianVector


def test_large_noise_costs_what_its_stand_in_costs() -> None:
    for sigma in (LARGE_NOISE - 1e-6, LARGE_NOISE):
        assert accountant.epsilon(single_count(sigma), 1e-5) == pytest.approx(
            accountant.epsilon([DiscreteGaussianVector(sigma * 10, 100)], 1e-5), rel=1e-3
        )
