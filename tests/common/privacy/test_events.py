import json
import math

import pytest

from common.privacy.events import (
    EVENTS,
    LEAST_SHARE,
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
    event_from_json,
    event_to_json,
    least_noise,
)

EXAMPLES: tuple[Event, ...] = (
    DiscreteGaussianVector(sigma=0.1 + 0.2, squared_sensitivity=3),
    DiscreteGaussianVector(sigma=900.1 + 0.2, squared_sensitivity=40_000, largest_change=150),
    DistributedGaussianVector(share_sigma=1.6 + 0.1, honest_hospitals=3, squared_sensitivity=7),
    DistributedGaussianVector(share_sigma=900.3, honest_hospitals=3, squared_sensitivity=40_000, largest_change=150),
    DpSgdRun(1.1, 1 / 3, 50),
    SynchronousRun(0.7, 3, 1 / 3, 50),
    Unprotected(),
)


class TestJson:
    @pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
    def test_an_event_survives_with_every_digit(self, event: Event) -> None:
        text = event_to_json(event)
        assert event_from_json(text) == event
        assert "\n" not in text
        assert json.loads(text)["kind"] == event.kind

    def test_every_kind_has_an_example_here(self) -> None:
        assert {type(event) for event in EXAMPLES} == set(EVENTS.values())

    @pytest.mark.parametrize(
        "text",
        ['{"kind": "laplace", "scale": 1.0}', '{"sigma": 1.0, "squared_sensitivity": 1}', '{"kind": null}'],
    )
    def test_an_unknown_kind_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="no accountant knows the event kind"):
            event_from_json(text)


class TestVectors:
    @pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
    def test_a_vector_needs_positive_finite_noise(self, sigma: float) -> None:
        with pytest.raises(ValueError, match="sigma"):
            DiscreteGaussianVector(sigma, 1)

    def test_a_vector_that_nobody_changes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="squared_sensitivity=0"):
            DiscreteGaussianVector(1.0, 0)

    def test_a_share_is_large_enough_for_the_bound_of_its_sum(self) -> None:
        DistributedGaussianVector(LEAST_SHARE, 1, 1)
        for sigma in (LEAST_SHARE - 1e-9, 0.0, -2.0, math.nan, math.inf):
            with pytest.raises(ValueError, match="share_sigma"):
                DistributedGaussianVector(sigma, 3, 1)
        with pytest.raises(ValueError, match="honest_hospitals=0"):
            DistributedGaussianVector(2.0, 0, 1)
        with pytest.raises(ValueError, match="squared_sensitivity=0"):
            DistributedGaussianVector(2.0, 3, 0)

    def test_least_noise_is_that_of_the_heaviest_table(self) -> None:
        assert least_noise(1) == 0.0
        assert least_noise(3) == 8.0  # more than 2 times 3
        assert least_noise(5) == 10.0

    @pytest.mark.parametrize(("squared_sensitivity", "largest_change"), [(9, 3), (36, 3), (40_000, 150)])
    def test_weights_with_too_little_noise_are_refused(self, squared_sensitivity: int, largest_change: int) -> None:
        least = least_noise(largest_change)
        DiscreteGaussianVector(least, squared_sensitivity, largest_change)
        with pytest.raises(ValueError, match="is too small for weights"):
            DiscreteGaussianVector(least * (1 - 1e-9), squared_sensitivity, largest_change)
        # Of shares it is the noise of all honest hospitals that must suffice: 4 shares of half as much.
        DistributedGaussianVector(least / 2, 4, squared_sensitivity, largest_change)
        with pytest.raises(ValueError, match="is too small for weights"):
            DistributedGaussianVector(least / 2, 3, squared_sensitivity, largest_change)

    def test_a_change_by_less_than_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="largest_change=0"):
            DiscreteGaussianVector(1.0, 1, 0)

    def test_divergence_with_weights_is_that_of_its_formula(self) -> None:
        assert DiscreteGaussianVector(1.0, 9).divergence == 0.0
        # 10 x 36 exp(-pi^2 (8 / 3)^2) + 7 / 64, for sigma = 8, c = 36 and w = 3.
        by_hand = 360 * math.exp(-((8 * math.pi / 3) ** 2)) + 7 / 64
        assert DiscreteGaussianVector(8.0, 36, 3).divergence == pytest.approx(by_hand, rel=1e-12)

    def test_noise_beyond_the_integers_is_refused(self) -> None:
        DiscreteGaussianVector(2.0**40, 1)
        with pytest.raises(ValueError, match="sigma"):
            DiscreteGaussianVector(2.0**40 * 1.01, 1)


class TestSteps:
    @pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
    def test_a_step_needs_positive_finite_noise(self, multiplier: float) -> None:
        with pytest.raises(ValueError, match="noise_multiplier"):
            DpSgdRun(multiplier, 0.1, 1)

    def test_a_synchronous_run_checks_its_values(self) -> None:
        assert SynchronousRun(0.5, 4, 0.1, 3).central_multiplier == 1.0  # 0.5 x sqrt(4)
        for faulty in ((0.0, 3, 0.1, 1), (math.inf, 3, 0.1, 1), (1.0, 0, 0.1, 1), (1.0, 3, 0.0, 1), (1.0, 3, 0.1, 0)):
            with pytest.raises(ValueError, match=r"is not|below 1"):
                SynchronousRun(*faulty)

    @pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan])
    def test_a_sample_rate_outside_zero_and_one_is_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match="sample_rate"):
            DpSgdRun(1.0, rate, 1)

    def test_a_run_of_no_steps_is_refused(self) -> None:
        with pytest.raises(ValueError, match="steps=0"):
            DpSgdRun(1.0, 0.1, 0)
