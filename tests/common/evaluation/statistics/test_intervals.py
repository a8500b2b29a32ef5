from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from common.evaluation.statistics.intervals import (
    Estimate,
    auroc,
    bootstrap,
    mean_of,
    paired_difference,
    residual_risk,
    weighted_auroc,
    weighted_mean,
    wilson,
)

REPETITIONS = 200
BINOMIAL_ERROR = 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)  # 0.046


def coverage(measure: Callable[[np.random.Generator], Estimate], truth: float) -> float:
    rng = np.random.default_rng(1)
    found = [measure(rng) for _ in range(REPETITIONS)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def test_wilsons_interval_ends_where_the_score_test_does() -> None:
    found = wilson(3, 10)
    for limit in (found.low, found.high):
        assert abs(0.3 - limit) == pytest.approx(1.959964 * math.sqrt(limit * (1 - limit) / 10))
    theirs = binomtest(3, 10).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_no_hits_and_nothing_but_hits_leave_room() -> None:
    assert wilson(0, 10).low == 0
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)  # z^2 / (10 + z^2) = 3.84 / 13.84
    assert wilson(10, 10).low == pytest.approx(1 - 0.2775, abs=1e-4)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


def test_an_estimate_outside_its_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="not within"):
        Estimate(0.5, 0.6, 0.7, 10)
    with pytest.raises(ValueError, match="5 hits in 4 trials"):
        wilson(5, 4)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_estimate_refuses_a_level_without_an_interval(level: float) -> None:
    with pytest.raises(ValueError, match=r"not in \(0, 1\)"):
        Estimate(0.5, 0.5, 0.5, 10, level)


def test_residual_risk_refuses_rates_of_different_levels() -> None:
    with pytest.raises(ValueError, match=r"level 0\.9 and a control at 0\.95"):
        residual_risk(wilson(1, 4, 0.9), wilson(1, 4))


def test_the_residual_risk_is_what_the_control_leaves_to_gain() -> None:
    assert residual_risk(wilson(60, 100), wilson(20, 100)).value == pytest.approx(0.5)  # (0.6 - 0.2) / (1 - 0.2)
    assert residual_risk(wilson(20, 100), wilson(20, 100)).value == 0
    everybody = residual_risk(wilson(100, 100), wilson(20, 100))
    assert everybody.value == 1
    assert 0.9 < everybody.low < 1 == everybody.high
    nothing_to_gain = residual_risk(wilson(10, 10), wilson(10, 10))
    assert (nothing_to_gain.low, nothing_to_gain.value, nothing_to_gain.high) == (-1, 0, 1)


def test_the_interval_of_the_residual_risk_is_found_at_its_ends() -> None:
    # MOVER-R: at a limit R, ((1 - a) - R (1 - c))^2 equals the squared distances to the limits of both rates.
    attack, control = wilson(60, 100), wilson(20, 100)
    found = residual_risk(attack, control)
    for limit, above, below in ((found.low, attack.low, control.high), (found.high, attack.high, control.low)):
        ratio = 1 - limit
        gap = (0.4 - ratio * 0.8) ** 2
        assert gap == pytest.approx((above - attack.value) ** 2 + ratio**2 * (below - control.value) ** 2)


@pytest.mark.parametrize(("attack", "control", "trials"), [(0.1, 0.1, 150), (0.5, 0.2, 100), (0.02, 0.01, 300)])
def test_the_residual_risk_covers_the_truth_as_often_as_it_says(attack: float, control: float, trials: int) -> None:
    def measure(rng: np.random.Generator) -> Estimate:
        return residual_risk(
            wilson(rng.binomial(trials, attack), trials), wilson(rng.binomial(trials, control), trials)
        )

    assert coverage(measure, (attack - control) / (1 - control)) == pytest.approx(0.95, abs=BINOMIAL_ERROR)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_wilson_covers_a_known_rate_as_often_as_it_says(rate: float) -> None:
    measured = coverage(lambda rng: wilson(rng.binomial(200, rate), 200), rate)
    assert measured == pytest.approx(0.95, abs=BINOMIAL_ERROR)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_the_auroc_covers_a_known_area_as_often_as_it_says(distance: float) -> None:
    truth = float(norm.cdf(distance / math.sqrt(2)))  # of two normal distributions of one width
    measured = coverage(lambda rng: auroc(rng.normal(distance, 1, 80), rng.normal(0, 1, 60)), truth)
    assert measured == pytest.approx(0.95, abs=BINOMIAL_ERROR)


def test_the_bootstrap_covers_a_known_mean_as_often_as_it_says() -> None:
    def measure(rng: np.random.Generator) -> Estimate:
        values = (rng.random(120) < 0.3).astype(float)
        return bootstrap(weighted_mean(values), 120, seed=int(rng.integers(1 << 30)), resamples=400)

    assert coverage(measure, 0.3) == pytest.approx(0.95, abs=BINOMIAL_ERROR)


def test_paired_difference_covers_truth_and_is_narrower() -> None:
    def patients(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        base = rng.normal(size=100)
        return base + 0.2 + 0.3 * rng.normal(size=100), base

    def measure(rng: np.random.Generator) -> Estimate:
        first, second = (weighted_mean(values) for values in patients(rng))
        return paired_difference(first, second, 100, seed=int(rng.integers(1 << 30)), resamples=400)

    assert coverage(measure, 0.2) == pytest.approx(0.95, abs=BINOMIAL_ERROR)
    first, second = patients(np.random.default_rng(0))
    paired = paired_difference(weighted_mean(first), weighted_mean(second), 100, seed=0, resamples=1000)
    alone = bootstrap(weighted_mean(first), 100, seed=0, resamples=1000)
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_areas_agree_with_scikit_learn_with_ties_and_weights() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.4
    scores = rng.integers(0, 6, 60) + truth.astype(float)
    assert auroc(scores[truth], scores[~truth]).value == pytest.approx(roc_auc_score(truth, scores))
    weights = rng.integers(0, 4, (5, 60)).astype(float)
    expected = [roc_auc_score(truth, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auroc(truth, scores)(weights), expected)


def test_samples_that_do_not_overlap_leave_room_in_the_area() -> None:
    found = auroc(np.arange(10.0, 20.0), np.arange(10.0))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - 0.2775, abs=1e-4)  # as ten hits in ten trials
    assert (auroc(np.empty(0), np.ones(3)).low, auroc(np.empty(0), np.ones(3)).high) == (0, 1)


def test_a_resample_of_one_kind_of_patient_has_no_area() -> None:
    statistic = weighted_auroc(np.array([True, False]), np.array([1.0, 0.0]))
    assert np.isnan(statistic(np.array([[2.0, 0.0]]))).all()
    with pytest.raises(ValueError, match="not defined"):
        bootstrap(weighted_auroc(np.array([True, True]), np.zeros(2)), 2, seed=0, resamples=10)


def test_mean_of_leaves_out_undefined_statistics() -> None:
    first, second = weighted_mean(np.array([1.0, np.nan])), weighted_mean(np.array([np.nan, 3.0]))
    np.testing.assert_allclose(mean_of([first, second])(np.array([[1.0, 1.0], [2.0, 0.0]])), [2.0, 1.0])


def test_the_same_seed_gives_the_same_interval() -> None:
    statistic = weighted_mean(np.arange(50.0))
    assert bootstrap(statistic, 50, seed=3, resamples=100) == bootstrap(statistic, 50, seed=3, resamples=100)
    assert bootstrap(statistic, 50, seed=3, resamples=100) != bootstrap(statistic, 50, seed=4, resamples=100)
