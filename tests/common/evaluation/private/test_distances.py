"""Distances from noisy counts: hand-worked values, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.arrays import Integers
from common.evaluation.private.distances import MEAN_ABSOLUTE, Patients, count_patients, mean_absolute, mean_distance


class TestPatients:
    def test_totals_count_by_the_inverse_of_their_variance(self) -> None:
        # (100 / 4 + 130 / 16) / (1 / 4 + 1 / 16) = 33.125 / 0.3125 = 106, of variance 1 / 0.3125 = 3.2.
        patients = count_patients([(100.0, 2.0), (130.0, 4.0)])
        assert patients.number == pytest.approx(106)
        assert patients.deviation == pytest.approx(math.sqrt(3.2))

    def test_an_exact_total_is_the_number(self) -> None:
        assert count_patients([(100.0, 0.0), (100.0, 0.0)]) == Patients(100.0, 0.0)

    @pytest.mark.parametrize(("number", "is_known"), [(49.0, False), (50.0, True)])
    def test_a_number_within_five_deviations_of_none_is_unknown(self, number: float, is_known: bool) -> None:
        assert Patients(number, 10.0).is_known is is_known


class TestMeanDistance:
    def test_of_many_exact_counts_is_the_distance(self) -> None:
        # 0.6 and 0.4 against 0.5 and 0.5: half of 0.1 + 0.1.
        counted, made = np.array([600_000, 400_000]), np.array([50, 50])
        found = mean_distance([counted], [made], 0.0, Patients(1e6, 0.0))
        assert found.value == pytest.approx(0.1, abs=1e-5)
        assert found.low < 0.1 < found.high
        assert found.high - found.low < 0.005

    def test_what_noise_explains_is_no_distance(self) -> None:
        # Of 100 patients, noise of 30 in each of 2 cells explains counts of 60 and 40.
        found = mean_distance([np.array([60, 40])], [np.array([50, 50])], 30.0, Patients(100.0, 10.0))
        assert (found.value, found.low) == (0.0, 0.0)
        assert found.high > 0.3

    def test_mean_absolute_is_that_of_a_shifted_normal_number(self) -> None:
        assert mean_absolute(0.0) == pytest.approx(MEAN_ABSOLUTE)
        assert mean_absolute(8.0) == pytest.approx(8.0)
        drawn = np.abs(np.random.default_rng(0).normal(size=200_000) + 1)
        assert mean_absolute(1.0) == pytest.approx(float(drawn.mean()), abs=0.01)

    @pytest.mark.parametrize("shift", [0.0, 0.5])
    @pytest.mark.parametrize(("patients", "sigma"), [(60, 4.0), (300, 0.0), (300, 20.0), (3000, 60.0)])
    def test_intervals_hold_the_population_and_values_are_near(self, shift: float, patients: int, sigma: float) -> None:
        rng = np.random.default_rng(5)
        population, synthetic = columns(rng, 400_000, 0.0), tables(columns(rng, 20_000, shift))
        truth = [distance(of, made) for of, made in zip(tables(population), synthetic, strict=True)]
        held, values, draws = np.zeros(2), [], 200
        for _ in range(draws):
            counted = tables(population[rng.integers(0, len(population), patients)])
            noisy = [table + np.rint(rng.normal(0, sigma, table.shape)).astype(np.int64) for table in counted]
            number = count_patients([(float(table.sum()), sigma * table.size**0.5) for table in noisy])
            for group, part in enumerate((slice(0, 5), slice(5, None))):
                found = mean_distance(noisy[part], synthetic[part], sigma, number, 0.9)
                held[group] += found.low <= np.mean(truth[part]) <= found.high
                values.append(found.value - np.mean(truth[part]))
        assert (held >= 0.85 * draws).all()
        # Without a distance, what noise leaves is positive: up to 0.2 among 3000 patients under noise of 60.
        assert abs(float(np.mean(values))) < (0.02 if shift and patients >= 300 else 0.05)


def columns(rng: np.random.Generator, rows: int, shift: float) -> Integers:
    """Rows of five columns of four codes that depend on each other."""
    common = 0.8 * rng.normal(size=(rows, 1))
    numbers = rng.normal(size=(rows, 5)) + common + shift * np.arange(5) / 5
    return np.clip(np.floor(numbers + 2), 0, 3).astype(np.int64)


def tables(rows: Integers) -> list[Integers]:
    """Counts of every column, and of every two."""
    singles = [np.bincount(rows[:, column], minlength=4) for column in range(5)]
    pairs = [np.bincount(4 * rows[:, one] + rows[:, two], minlength=16) for one in range(5) for two in range(one)]
    return [*singles, *pairs]


def distance(one: Integers, other: Integers) -> float:
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)
