import math
from functools import cache

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant, privacy_loss_distribution
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import norm

from common.privacy import accountant
from common.privacy.accountant import COMPOSITION_GRID_SIGMA, LOSS_GRID, calibrate, deltas, epsilon, epsilons
from common.privacy.events import (
    LEAST_SHARE,
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
    least_noise,
    merge,
)
from common.privacy.renyi import ORDERS, divergences, epsilon_rdp

DELTA = 1e-5

PLANS: dict[str, tuple[Event, ...]] = {
    "one count": (DiscreteGaussianVector(3.0, 1),),
    "histograms of five columns": (DiscreteGaussianVector(4.0, 5),),
    "histograms with much noise": (DiscreteGaussianVector(30.0, 5),),
    "histograms under three hospitals' noise": (DistributedGaussianVector(2.0, 3, 5),),
    "many tables under 23 hospitals' noise": (DistributedGaussianVector(LEAST_SHARE, 23, 45),) * 2,
    "shared noise and training": (DistributedGaussianVector(5.0, 3, 5), DpSgdRun(1.2, 0.1, 20)),
    "training at a sixteenth": (DpSgdRun(1.0, 1 / 16, 200),),
    "training at a quarter": (DpSgdRun(2.0, 0.25, 100),),
    "histograms and training": (DiscreteGaussianVector(8.0, 5), *(DpSgdRun(1.2, 0.1, 20),) * 5),
}


def gaussian_delta(sigma: float, at: float) -> float:
    """Delta of a Gaussian mechanism of sensitivity 1 (Balle and Wang 2018, theorem 8): Phi(a) - e^epsilon Phi(b)."""
    first, second = 1 / (2 * sigma) - at * sigma, -1 / (2 * sigma) - at * sigma
    return float(norm.cdf(first) - math.exp(at + norm.logcdf(second)))


def exact_delta(sigma: float, squared_sensitivity: int, at: float) -> float:
    """Delta of a discrete Gaussian vector by its definition: the sum over outputs of max(0, P - e^epsilon Q).

    P is `squared_sensitivity` discrete Gaussians around 0, Q around 1.
    """
    return exact_delta_of((1,) * squared_sensitivity, sigma, at)


def exact_delta_of(change: tuple[int, ...], sigma: float, at: float) -> float:
    """Delta of a discrete Gaussian vector to which a patient adds `change`, by its definition.

    With c = |change|^2, the ratio P(x) / Q(x) = exp((c - 2 S) / (2 sigma^2)) depends on the sum S of the outputs times
    their change alone.
    """
    sums, masses = weighted_sum(change, sigma)
    losses = (sum(weight**2 for weight in change) - 2 * sums) / (2 * sigma**2)
    return float(np.sum(masses * np.maximum(0.0, -np.expm1(at - losses))))


@cache
def weighted_sum(change: tuple[int, ...], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Values and probabilities of the sum of independent discrete Gaussians, each times an integer: a convolution."""
    reach = math.ceil(14 * sigma)
    one = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    one /= one.sum()
    total = np.ones(1)
    for weight in change:
        scaled = np.zeros(2 * reach * weight + 1)
        scaled[::weight] = one
        total = np.convolve(total, scaled)
    return np.arange(len(total)) - len(total) // 2, total


def exact_epsilon_of(change: tuple[int, ...], sigma: float, delta: float) -> float:
    return float(brentq(lambda at: exact_delta_of(change, sigma, at) - delta, 0.0, 300.0, xtol=1e-9))


def exact_epsilon(sigma: float, squared_sensitivity: int, delta: float) -> float:
    return exact_epsilon_of((1,) * squared_sensitivity, sigma, delta)


def one_share(sigma: float) -> tuple[np.ndarray, int]:
    """Probabilities of a discrete Gaussian, and how far they reach from 0."""
    reach = math.ceil(14 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return weights / weights.sum(), reach


def sum_of_shares(sigma: float, shares: int) -> tuple[np.ndarray, int]:
    """The same for the sum of so many, by direct convolution."""
    one, reach = one_share(sigma)
    total = np.ones(1)
    for _ in range(shares):
        total = np.convolve(total, one)
    return total, reach * shares


def exact_shared(sigma: float, shares: int, squared_sensitivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and privacy losses of every outcome in the coordinates that a patient changes, by definition."""
    law, _ = sum_of_shares(sigma, shares)
    law = law[law > 1e-40]  # what lies beyond is a mass of less than 1e-35
    here, there = np.append(law, 0.0), np.append(0.0, law)  # without the patient, and with: one further
    kept = (here > 0) & (there > 0)
    loss, mass = np.log(here[kept] / there[kept]), here[kept]
    losses, masses = np.zeros(1), np.ones(1)
    for _ in range(squared_sensitivity):
        losses, masses = (losses[:, None] + loss).ravel(), (masses[:, None] * mass).ravel()
    return losses, masses


class TestEpsilon:
    def test_nothing_is_free_and_an_unprotected_release_infinite(self) -> None:
        assert epsilon([], DELTA) == epsilon_rdp([], DELTA) == 0.0
        spent: list[Event] = [DiscreteGaussianVector(100.0, 1), Unprotected()]
        assert epsilon(spent, DELTA) == epsilon_rdp(spent, DELTA) == math.inf

    @pytest.mark.parametrize("name", PLANS)
    def test_renyi_bounds_confirm_it_and_are_a_quarter_looser(self, name: str) -> None:
        tight, loose = epsilon(PLANS[name], DELTA), epsilon_rdp(PLANS[name], DELTA)
        assert tight <= loose <= 1.25 * tight

    def test_two_releases_cost_more_than_one_less_than_their_sum(self) -> None:
        one, other = DiscreteGaussianVector(5.0, 2), DpSgdRun(1.5, 0.1, 50)
        alone = epsilon([one], DELTA), epsilon([other], DELTA)
        assert max(alone) < epsilon([one, other], DELTA) < sum(alone)

    def test_a_ledger_may_hold_a_thousand_releases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(accountant, "_loss", lambda _, grid: privacy_loss_distribution.identity(grid))
        assert epsilon([DiscreteGaussianVector(3e4, 1)] * 1000, DELTA) == 0.0

    def test_an_event_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no accountant knows"):
            epsilon(["a release"], DELTA)  # type: ignore[list-item]


class TestDiscreteGaussian:
    @pytest.mark.parametrize("squared_sensitivity", [1, 3])
    @pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
    def test_a_vector_costs_what_its_definition_says(self, sigma: float, squared_sensitivity: int) -> None:
        exact = exact_epsilon(sigma, squared_sensitivity, DELTA)
        # Never less; more by at most one rounding of the loss per coordinate.
        assert (
            exact - 1e-9
            <= epsilon([DiscreteGaussianVector(sigma, squared_sensitivity)], DELTA)
            <= exact + 1.01 * squared_sensitivity * LOSS_GRID
        )

    def test_the_definition_agrees_with_a_case_by_hand(self) -> None:
        # At epsilon = 0 delta is the total variation between neighbors. Moving a distribution that falls on both sides
        # of its peak by one exchanges exactly the peak: TV = P(0) = 1 / sum exp(-k^2 / 2) = 1 / 2.506628 for sigma = 1.
        assert exact_delta(1.0, 1, 0.0) == pytest.approx(1 / 2.5066283, rel=1e-6)

    @pytest.mark.parametrize(("sigma", "squared_sensitivity"), [(2.0, 4), (3.0, 6), (10.0, 6)])
    def test_one_grid_agrees_with_composing_each_coordinate(self, sigma: float, squared_sensitivity: int) -> None:
        one = privacy_loss_distribution.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=LOSS_GRID)
        explicit = one.self_compose(squared_sensitivity).get_epsilon_for_delta(DELTA)
        quantization = epsilon([DiscreteGaussianVector(sigma, squared_sensitivity)], DELTA)
        # Rounding up costs at most one grid step for the quantization and one for each coordinate of the explicit form.
        assert -squared_sensitivity * LOSS_GRID <= quantization - explicit <= LOSS_GRID
        assert quantization >= exact_epsilon(sigma, squared_sensitivity, DELTA) - 1e-4

    @pytest.mark.parametrize("squared_sensitivity", [2, 5])
    def test_the_cost_does_not_jump_where_the_grid_takes_over(self, squared_sensitivity: int) -> None:
        below = epsilon([DiscreteGaussianVector(COMPOSITION_GRID_SIGMA - 1e-6, squared_sensitivity)], DELTA)
        above = epsilon([DiscreteGaussianVector(COMPOSITION_GRID_SIGMA, squared_sensitivity)], DELTA)
        assert above == pytest.approx(below, abs=squared_sensitivity * LOSS_GRID)


class TestDpSgd:
    @pytest.mark.parametrize(("multiplier", "rate", "steps"), [(1.0, 0.05, 60), (2.0, 0.25, 40), (3.0, 1.0, 5)])
    def test_training_costs_what_the_library_computes(self, multiplier: float, rate: float, steps: int) -> None:
        step = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(multiplier))
        theirs = PLDAccountant().compose(dp_event.SelfComposedDpEvent(step, steps)).get_epsilon(DELTA)
        assert epsilon([DpSgdRun(multiplier, rate, steps)], DELTA) == pytest.approx(theirs, rel=1e-3)

    def test_without_sampling_a_step_is_a_plain_gaussian(self) -> None:
        at, sigma = epsilon([DpSgdRun(4.0, 1.0, 4)], DELTA), 4.0 / math.sqrt(4)  # four steps halve the noise
        delta = gaussian_delta(sigma, at)
        assert delta <= DELTA
        assert delta == pytest.approx(DELTA, rel=0.01)

    @pytest.mark.parametrize("delta", [1e-12, 1e-10])
    def test_rounding_never_hides_a_cost_at_a_tiny_delta(self, delta: float) -> None:
        # Without sampling, 782 steps are one Gaussian; by convolutions its epsilon came out up to 0.008 too small.
        sigma = 8.84398 / math.sqrt(782)
        exact = brentq(lambda at: gaussian_delta(sigma, at) - delta, 1.0, 100.0)
        assert epsilon([DpSgdRun(8.84398, 1.0, 782)], delta) >= exact
        assert epsilons([DpSgdRun(8.84398, 1.0, 782)], delta) == [epsilon([DpSgdRun(8.84398, 1.0, 782)], delta)]

    def test_merging_adds_up_equal_steps_and_nothing_else(self) -> None:
        events: list[Event] = [
            DpSgdRun(1.0, 0.1, 5),
            DiscreteGaussianVector(4.0, 2),
            DpSgdRun(2.0, 0.1, 1),
            DpSgdRun(1.0, 0.1, 7),
        ]
        vector = DiscreteGaussianVector(4.0, 2)
        assert merge([*events, vector]) == (vector, vector, DpSgdRun(1.0, 0.1, 12), DpSgdRun(2.0, 0.1, 1))

    def test_grouping_of_steps_does_not_change_the_cost(self) -> None:
        together = epsilon([DpSgdRun(1.5, 0.1, 12)], DELTA)
        assert epsilon([DpSgdRun(1.5, 0.1, 5), DpSgdRun(1.5, 0.1, 7)], DELTA) == together
        assert epsilon([DpSgdRun(1.5, 0.1, 1)] * 12, DELTA) == together


class TestCalibration:
    def test_it_meets_the_target_within_a_hundredth(self) -> None:
        sigma = calibrate(lambda s: [DiscreteGaussianVector(s, 2)], 1.0, DELTA)
        assert 0.99 <= epsilon([DiscreteGaussianVector(sigma, 2)], DELTA) <= 1.0
        first = DiscreteGaussianVector(20.0, 2)
        multiplier = calibrate(lambda m: [first, DpSgdRun(m, 0.25, 20)], 2.0, DELTA)
        assert 1.98 <= epsilon([first, DpSgdRun(multiplier, 0.25, 20)], DELTA) <= 2.0

    @pytest.mark.parametrize("target", [0.1, 20.0])
    def test_it_reaches_far_in_both_directions(self, target: float) -> None:
        sigma = calibrate(lambda s: [DiscreteGaussianVector(s, 1)], target, DELTA)
        assert 0.99 * target <= epsilon([DiscreteGaussianVector(sigma, 1)], DELTA) <= target

    def test_it_refuses_what_no_noise_can_meet(self) -> None:
        spent = DiscreteGaussianVector(1.0, 1)
        with pytest.raises(ValueError, match="no amount of noise"):
            calibrate(lambda m: [spent, DpSgdRun(m, 1.0, 1)], 1.0, DELTA)

    def test_it_ends_where_the_least_noise_meets_the_target(self) -> None:
        def at_least(sigma: float) -> list[Event]:
            return [DistributedGaussianVector(max(LEAST_SHARE, sigma), 9, 1)]

        assert at_least(calibrate(at_least, 40.0, DELTA)) == [DistributedGaussianVector(LEAST_SHARE, 9, 1)]


class TestSharedNoise:
    @pytest.mark.parametrize("shares", [2, 3, 6])
    @pytest.mark.parametrize("sigma", [0.75, 1.0, LEAST_SHARE])
    def test_a_sum_is_within_the_bound_of_a_discrete_gaussian(self, sigma: float, shares: int) -> None:
        law, reach = sum_of_shares(sigma, shares)
        places = np.arange(-reach, reach + 1)
        one = np.exp(-0.5 * places**2 / (shares * sigma**2))
        one /= one.sum()
        near = np.abs(places) <= 6 * sigma * math.sqrt(
            shares
        )  # further out, floating-point convolution loses its digits
        furthest = float(np.abs(np.log(law[near] / one[near])).max())
        # The formula of `divergence`, also below the least share that events accept.
        bound = 10 * sum(math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)) for k in range(1, shares))
        assert furthest <= bound + 1e-11
        if shares == 2 and sigma < 1.2:
            assert furthest > bound / 10  # so the comparison can fail; more shares smooth the sum further
        if sigma >= LEAST_SHARE:
            assert DistributedGaussianVector(sigma, shares, 7).divergence == pytest.approx(7 * bound)

    @pytest.mark.parametrize(("sigma", "shares", "squared_sensitivity"), [(1.5, 2, 1), (1.5, 3, 2), (2.5, 2, 2)])
    def test_a_vector_never_costs_less_than_its_definition(
        self, sigma: float, shares: int, squared_sensitivity: int
    ) -> None:
        losses, masses = exact_shared(sigma, shares, squared_sensitivity)

        def exact_delta_of(at: float) -> float:
            return float(np.sum(masses * np.maximum(0.0, -np.expm1(at - losses))))

        event = DistributedGaussianVector(sigma, shares, squared_sensitivity)
        exact = float(brentq(lambda at: exact_delta_of(at) - DELTA, 0.0, 300.0, xtol=1e-9))
        assert (
            exact - 1e-8
            <= epsilon([event], DELTA)
            <= exact + 1.01 * squared_sensitivity * LOSS_GRID + 3 * event.divergence
        )
        assert deltas([event], [exact])[0] >= DELTA * (1 - 1e-6)
        # Renyi divergence of every order, from the same law.
        for order, bound in zip(ORDERS, divergences([event]), strict=True):
            if order > 16:  # further out, the law's tails lie below what floating point tells
                break
            found = math.log(float(np.sum(masses * np.exp((order - 1) * losses)))) / (order - 1)
            assert found <= bound + 1e-9

    def test_more_honest_hospitals_cost_less(self) -> None:
        # Every sum that is opened holds at least the accounted shares; more of them cost less.
        costs = [epsilon([DistributedGaussianVector(4.0, shares, 3)], DELTA) for shares in (1, 2, 3, 5)]
        assert costs == sorted(costs, reverse=True)
        assert costs[0] == pytest.approx(epsilon([DiscreteGaussianVector(4.0, 3)], DELTA), abs=1e-12)
        # Three shares of 4 are one draw of 4 sqrt(3), up to a divergence below 10 x 3 x 2 x exp(-16 pi^2).
        assert costs[2] == pytest.approx(epsilon([DiscreteGaussianVector(4 * math.sqrt(3), 3)], DELTA), abs=1e-12)

    def test_divergence_adds_up_and_is_charged_twice(self) -> None:
        rough = DistributedGaussianVector(LEAST_SHARE, 4, 40)
        assert rough.divergence == pytest.approx(40 * 10 * math.exp(-(math.pi**2) * LEAST_SHARE**2), rel=1e-2)
        central = epsilon([rough.central] * 2, DELTA * math.exp(-2 * rough.divergence))
        assert epsilon([rough] * 2, DELTA) == pytest.approx(central + 4 * rough.divergence, abs=1e-12)
        assert epsilons([rough] * 2, DELTA)[-1] == pytest.approx(epsilon([rough] * 2, DELTA), abs=1e-9)


CHANGES = ((2,), (7,), (2, 3), (6, 4), (3, 3, 3), (12, 8, 9), (5, 1, 1), (1, 2, 3, 4, 5))
"""What a patient adds to tables with weights, with a common divisor and without one."""


class TestWeights:
    @pytest.mark.parametrize("times", [1.0, 1.7, 6.0])
    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_weights_cost_what_their_definition_says(self, change: tuple[int, ...], times: float) -> None:
        squared, largest = sum(weight**2 for weight in change), max(change)
        event = DiscreteGaussianVector(times * least_noise(largest), squared, largest)
        exact = exact_epsilon_of(change, event.sigma, DELTA)
        # Never less. More by one rounding of the loss, and by at most what the bound on the divergence says: that of a
        # Gaussian is below exact + 2 T at a delta larger by exp(T), and 2 T and another exp(T) are charged on top.
        assert exact - 1e-9 <= epsilon([event], DELTA) <= exact + 1.01 * LOSS_GRID + 5 * event.divergence
        assert deltas([event], [exact])[0] >= DELTA * (1 - 1e-6)

    @pytest.mark.parametrize("change", [(2,), (1, 1), (6,), (4, 2, 2), (6, 5, 4), (1,) * 9])
    def test_a_smaller_change_costs_less_than_is_charged(self, change: tuple[int, ...]) -> None:
        event = DiscreteGaussianVector(least_noise(6), 80, 6)
        assert exact_epsilon_of(change, event.sigma, DELTA) <= epsilon([event], DELTA)
        assert exact_delta_of(change, event.sigma, 0.3) <= deltas([event], [0.3])[0]

    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_renyi_divergences_with_weights_are_bounded(self, change: tuple[int, ...]) -> None:
        squared, largest = sum(weight**2 for weight in change), max(change)
        event = DiscreteGaussianVector(least_noise(largest), squared, largest)
        sums, masses = weighted_sum(change, event.sigma)
        losses = (squared - 2 * sums) / (2 * event.sigma**2)
        for order, bound in zip(ORDERS, divergences([event]), strict=True):
            if order <= 16:  # further out, the law's tails lie below what floating point tells
                found = math.log(float(np.sum(masses * np.exp((order - 1) * losses)))) / (order - 1)
                assert 0.99 * bound <= found <= bound + 1e-9

    @pytest.mark.parametrize("part", [0.5, 0.7, 0.9])
    @pytest.mark.parametrize("change", [(2, 3), (5, 3, 2), (6, 4), (3, 2, 2, 1)])
    def test_a_weighted_sum_is_near_a_discrete_gaussian(self, change: tuple[int, ...], part: float) -> None:
        # The first step of the proof of `divergence`, also below the least noise that events accept.
        squared, largest, divisor = sum(weight**2 for weight in change), max(change), math.gcd(*change)
        sigma = part * largest
        sums, masses = weighted_sum(change, sigma)
        deviation = sigma * math.sqrt(squared)
        on_lattice = (sums % divisor == 0) & (np.abs(sums) <= 6 * deviation)  # further out, digits are lost
        gaussian = np.exp(
            -0.5 * (np.arange(-40 * largest * squared, 40 * largest * squared + 1, divisor) / deviation) ** 2
        )
        one = np.exp(-0.5 * (sums[on_lattice] / deviation) ** 2) / gaussian.sum()
        furthest = float(np.abs(np.log(masses[on_lattice] / one)).max())
        assert furthest <= 10 * squared * math.exp(-((math.pi * sigma / largest) ** 2)) + 1e-11
        if len(change) == 2 and part < 0.6:
            assert furthest > 1e-6  # so the comparison can fail; more terms smooth the sum further

    @pytest.mark.parametrize("spread", [8.0, 15.5])
    def test_a_discrete_gaussian_is_near_a_rounded_one(self, spread: float) -> None:
        # The second step: on the integers, up to 12 standard deviations.
        places = np.arange(0, int(12 * spread) + 1)
        one = np.exp(-0.5 * (np.arange(-400, 401) / spread) ** 2)
        discrete = -0.5 * (places / spread) ** 2 - math.log(one.sum())
        tails = norm.logsf((places[:, None] + [-0.5, 0.5]) / spread)
        rounded = logsumexp(tails, axis=1, b=[1.0, -1.0])
        furthest = float(np.abs(discrete - rounded).max())
        assert 1 / spread**2 < furthest <= 7 / spread**2

    def test_divergences_of_weights_and_shares_add_up(self) -> None:
        # Two shares of 6 make the least noise for weights of 2, 6 sqrt(2) > 8 x 2 / sqrt(4).
        shared = DistributedGaussianVector(6.0, 2, 4, 2)
        assert (shared.central.squared_sensitivity, shared.central.largest_change) == (4, 2)
        total = shared.divergence + shared.central.divergence
        gaussian = DpSgdRun(shared.central.sigma / 2, 1.0, 1)  # noise multiplier sigma / sqrt(4)
        charged = epsilon([gaussian], DELTA * math.exp(-total)) + 2 * total
        assert epsilon([shared], DELTA) == pytest.approx(charged, abs=1e-9)
        assert epsilons([shared, shared], DELTA)[-1] == pytest.approx(epsilon([shared] * 2, DELTA), abs=1e-9)
        rough = DistributedGaussianVector(LEAST_SHARE, 50, 100, 5)  # both are seen: 1.5 sqrt(50) = 10.6 > 2 x 5
        assert epsilon([rough], DELTA) > epsilon([rough.central], DELTA) + 1.9 * rough.divergence
        assert rough.central.divergence > 0.01


class TestSynchronousSteps:
    @pytest.mark.parametrize(("multiplier", "rate"), [(1.0, 0.01), (0.7, 0.25), (3.0, 0.1), (2.0, 1.0)])
    def test_a_step_costs_a_sampled_gaussian_at_integer_orders(self, multiplier: float, rate: float) -> None:
        ours = divergences([SynchronousRun(multiplier / 2, 4, rate, 1)])  # four shares double the multiplier
        theirs = divergences([DpSgdRun(multiplier, rate, 1)])
        for order, mine, other in zip(ORDERS, ours, theirs, strict=True):
            if order == round(order):
                assert mine == pytest.approx(other, rel=1e-6)
            else:
                assert mine >= other * (1 - 1e-9)

    @pytest.mark.parametrize("shift", [(2,), (1, 1)])
    @pytest.mark.parametrize(("sigma", "shares"), [(1.5, 1), (1.0, 2)])
    @pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
    def test_a_step_diverges_no_more_than_is_charged(
        self, shift: tuple[int, ...], sigma: float, shares: int, rate: float
    ) -> None:
        one, _ = sum_of_shares(sigma, shares)
        without = np.ones(1)
        with_patient = np.ones(1)
        for place in shift:  # a joint law over all coordinates, padded so that the shifted one fits beside
            without = np.multiply.outer(without, np.append(one, np.zeros(place)))
            with_patient = np.multiply.outer(with_patient, np.append(np.zeros(place), one))
        kept = (without > 1e-60) & (with_patient > 1e-60)
        base = np.log(without[kept])
        mixed = np.log((1 - rate) * without[kept] + rate * with_patient[kept])
        norm = math.sqrt(sum(place**2 for place in shift))
        charged = dict(zip(ORDERS, divergences([SynchronousRun(sigma / norm, shares, rate, 1)]), strict=True))
        tau = 0.0 if shares == 1 else 10 * math.exp(-(math.pi**2) * sigma**2)

        def divergence(above: np.ndarray, below: np.ndarray, order: float) -> float:
            return float(logsumexp(order * above + (1 - order) * below)) / (order - 1)

        for order in (2.0, 2.5, 3.0, 5.75, 8.0):
            slack = (2 * order - 1) / (order - 1) * tau * len(shift)  # what shares as small as these would be charged
            for above, below in ((mixed, base), (base, mixed)):
                assert divergence(above, below, order) <= charged[order] + slack + 1e-9
        if shares == 1:  # at whole orders nothing is given away
            assert divergence(mixed, base, 3.0) == pytest.approx(charged[3.0], rel=1e-6)

    @pytest.mark.parametrize(("multiplier", "rate", "steps"), [(1.2, 0.05, 300), (2.0, 0.25, 100)])
    def test_steps_cost_at_most_a_quarter_more_than_central_ones(
        self, multiplier: float, rate: float, steps: int
    ) -> None:
        run = SynchronousRun(multiplier / math.sqrt(3), 3, rate, steps)
        central = epsilon([DpSgdRun(multiplier, rate, steps)], DELTA)
        assert central <= epsilon([run], DELTA) <= 1.25 * central
        counts: list[Event] = [DistributedGaussianVector(8.0, 3, 5), DiscreteGaussianVector(9.0, 2)]
        together = epsilon([*counts, run], DELTA)
        assert together == epsilon_rdp([*counts, run], DELTA)
        assert epsilon([*counts, DpSgdRun(multiplier, rate, steps)], DELTA) <= together
        halves = [SynchronousRun(run.share_multiplier, 3, rate, steps // 2)] * 2
        assert epsilon([*counts, *halves], DELTA) == pytest.approx(together, rel=1e-12)
        assert epsilons([*counts, run], DELTA)[-1] == pytest.approx(together, rel=1e-12)
        assert deltas([*counts, run], [together])[0] <= DELTA * (1 + 1e-9)
