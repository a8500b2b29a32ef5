"""The lifetime cap over studies that are chosen one after another."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.accountant import calibrate, epsilon, epsilons
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Event, Unprotected
from common.privacy.lifetime import filter_order, fits_filter, fits_lifetime
from common.privacy.renyi import ORDERS, divergences, epsilon_of

DELTA = 1e-5

vectors = st.builds(DiscreteGaussianVector, st.floats(2.0, 60.0), st.integers(1, 60))
runs = st.builds(DpSgdRun, st.floats(0.8, 20.0), st.sampled_from([0.05, 0.25, 1.0]), st.integers(1, 40))
plans = st.lists(vectors | runs, min_size=1, max_size=4).map(tuple)
caps = st.sampled_from([0.3, 1.0, 3.0, 8.0, 20.0])


def more_noise(event: Event) -> Event:
    match event:
        case DiscreteGaussianVector(sigma):
            return replace(event, sigma=1.5 * sigma)
        case DpSgdRun(noise_multiplier):
            return replace(event, noise_multiplier=1.5 * noise_multiplier)
        case _:
            return event


class TestFilter:
    @settings(max_examples=60)
    @given(spent=plans, new=plans, extra=vectors | runs, cap=caps)
    def test_what_fits_still_fits_where_less_is_asked(
        self, spent: tuple[Event, ...], new: tuple[Event, ...], extra: Event, cap: float
    ) -> None:
        if fits_filter((*spent, *new, extra), cap, DELTA):
            assert fits_filter((*spent, *new), cap, DELTA)
        if fits_filter((*spent, *new), cap, DELTA):
            assert fits_filter(new, cap, DELTA)
            assert fits_filter((*spent, *map(more_noise, new)), cap, DELTA)
            for larger in (1.01 * cap, 2 * cap, 10 * cap):
                assert fits_filter((*spent, *new), larger, DELTA)

    @pytest.mark.parametrize("cap", [0.3, 1.0, 3.0, 8.0, 20.0])
    def test_gaussians_reach_four_fifths_of_the_cap(self, cap: float) -> None:
        # As much noise as costs cap / 1.25 in four equal releases, each asked for after the others.
        sigma = calibrate(lambda sigma: [DiscreteGaussianVector(sigma, 1)] * 4, cap / 1.25, DELTA)
        one = (DiscreteGaussianVector(sigma, 1),)
        for taken in range(4):
            assert fits_lifetime(one * taken, one, cap, DELTA)

    def test_the_order_is_the_best_for_gaussians(self) -> None:
        for cap in (0.3, 1.0, 3.0, 8.0):
            order = filter_order(cap, DELTA)
            # rho-zCDP has divergence order * rho. Bisect for the largest rho that the chosen order takes ...
            low, high = 0.0, cap
            for _ in range(60):
                middle = (low + high) / 2
                spent = order * middle + math.log1p(-1 / order) - math.log(DELTA * order) / (order - 1)
                low, high = (middle, high) if spent <= cap else (low, middle)
            # ... and no other order takes it more cheaply.
            others = [one * low + math.log1p(-1 / one) - math.log(DELTA * one) / (one - 1) for one in ORDERS]
            assert min(others) == pytest.approx(cap, rel=1e-9)


class TestLifetime:
    @settings(max_examples=15)
    @given(spent=plans, new=plans, cap=caps)
    def test_nothing_fits_that_one_fixed_plan_could_not_afford(
        self, spent: tuple[Event, ...], new: tuple[Event, ...], cap: float
    ) -> None:
        if fits_lifetime(spent, new, cap, DELTA):
            # PLD rounds every loss up, by at most a grid step of 1e-4 for each of few compositions.
            assert epsilon((*spent, *new), DELTA) <= cap + 0.01

    @pytest.mark.parametrize("cap", [1.0, 3.0])
    def test_a_first_plan_may_spend_the_whole_cap_by_pld(self, cap: float) -> None:
        sigma = calibrate(lambda sigma: [DiscreteGaussianVector(sigma, 3)], cap, DELTA)
        plan = (DiscreteGaussianVector(sigma, 3),)
        assert not fits_filter(plan, cap, DELTA)
        assert fits_lifetime((), plan, cap, DELTA)
        assert not fits_lifetime(plan, (DiscreteGaussianVector(1e6, 1),), cap, DELTA)
        # The same releases, asked for in two plans, were not fixed in advance: the filter decides, and refuses.
        half = DiscreteGaussianVector(sigma * math.sqrt(2), 3)
        assert not fits_lifetime((half,), (half,), cap, DELTA)

    def test_a_first_plan_beyond_the_cap_is_refused(self) -> None:
        sigma = calibrate(lambda sigma: [DiscreteGaussianVector(sigma, 3)], 3.0, DELTA)
        assert not fits_lifetime((), (DiscreteGaussianVector(0.95 * sigma, 3),), 3.0, DELTA)

    def test_an_unprotected_release_needs_an_infinite_cap(self) -> None:
        small = DiscreteGaussianVector(1e3, 1)
        for spent, new in (((), (Unprotected(),)), ((small,), (Unprotected(),)), ((Unprotected(),), (small,))):
            assert not fits_lifetime(spent, new, 1e6, DELTA)
            assert fits_lifetime(spent, new, math.inf, DELTA)


class TestDivergences:
    def test_they_add_up_and_match_the_formula_for_gaussians(self) -> None:
        one, other = DiscreteGaussianVector(4.0, 5), DpSgdRun(3.0, 1.0, 7)
        # order * changed / (2 sigma^2), and order * steps / (2 multiplier^2) where every patient is in every batch.
        expected = [order * (5 / (2 * 16) + 7 / (2 * 9)) for order in ORDERS]
        assert divergences([one, other]) == pytest.approx(expected)
        assert divergences([one]) + divergences([other]) == pytest.approx(expected)
        assert epsilon_of(divergences([]), DELTA) == 0.0

    def test_epsilon_so_far_is_that_of_the_events_so_far(self) -> None:
        events: list[Event] = [DiscreteGaussianVector(8.0, 5), DpSgdRun(2.0, 0.25, 10), DpSgdRun(2.0, 0.25, 10)]
        assert epsilons(events, DELTA) == pytest.approx(
            [epsilon(events[:count], DELTA) for count in (1, 2, 3)], rel=1e-3
        )
        assert epsilons([events[0], Unprotected(), events[1]], DELTA)[1:] == [math.inf, math.inf]
        assert epsilons([], DELTA) == []
