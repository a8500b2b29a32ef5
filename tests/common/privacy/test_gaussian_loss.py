"""The vectorized privacy losses of Gaussian mechanisms are those of `dp-accounting`."""

from __future__ import annotations

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution

from common.privacy.gaussian_loss import discrete_gaussian_loss, gaussian_loss

DELTAS = (1e-9, 1e-5, 1e-2)


@pytest.mark.parametrize(
    ("noise_multiplier", "sample_rate", "steps"),
    [
        (1.2, 0.1, 20),
        (4.0, 1.0, 1),
        (0.6, 0.01, 300),
        (20.0, 0.25, 1000),
        (0.3, 0.5, 1),
        (0.9, 0.999, 2),
        (0.05, 0.3, 1),
    ],
)
def test_is_that_of_the_library(noise_multiplier: float, sample_rate: float, steps: int) -> None:
    grid = 5e-3
    library = privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier, sampling_prob=sample_rate, value_discretization_interval=grid
    )
    ours, theirs = (
        [loss.self_compose(steps).get_epsilon_for_delta(delta) for delta in DELTAS]
        for loss in (gaussian_loss(noise_multiplier, sample_rate, grid), library)
    )
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_loss_beyond_the_largest_number_keeps_its_mass() -> None:
    loss = gaussian_loss(0.02, 0.5, 1.0)  # losses up to about 1,600; exp(1,600) is infinite
    assert np.isfinite(loss.get_epsilon_for_delta(1e-5))
    # Half of the time the patient is in the sample, and then the loss is at least 1,000 for almost every outcome.
    assert loss.get_delta_for_epsilon(1000.0) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("sigma", "sensitivity"), [(0.7, 1), (2.5, 3), (40.0, 9), (600.0, 100)])
def test_discrete_noise_has_the_loss_of_the_library(sigma: float, sensitivity: int) -> None:
    grid = 1e-3
    library = privacy_loss_distribution.from_discrete_gaussian_mechanism(
        sigma, sensitivity=sensitivity, value_discretization_interval=grid
    )
    ours = discrete_gaussian_loss(sigma, sensitivity, grid)
    for delta in DELTAS:
        assert ours.get_epsilon_for_delta(delta) == pytest.approx(library.get_epsilon_for_delta(delta), rel=1e-9)
    targets = [0.0, 0.01, 0.5, 2.0]
    np.testing.assert_allclose(ours.get_delta_for_epsilon(targets), library.get_delta_for_epsilon(targets), rtol=1e-9)
