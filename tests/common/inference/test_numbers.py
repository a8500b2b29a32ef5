"""Figures of a column of numbers of which only the cells are counted."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Floats
from common.columns.parts import Parts
from common.inference.counts import Table
from common.inference.noisy import NoisyCounts
from common.inference.numbers import NumberFigures, Numbers

LOWS, HIGHS = np.array([0.0, 10.0, 20.0]), np.array([9.0, 19.0, 29.0])


def numbers(counts: list[float], bins: list[int], highs: Floats = HIGHS) -> Numbers:
    """Cells of whole numbers, which lie in bins; without noise."""
    eye, patients = np.eye(len(counts)), np.array(counts)
    labels = ("",) * len(counts)
    parts = Parts(eye, eye, np.array(bins), LOWS[: len(counts)], highs[: len(counts)], 1.0, labels, patients)
    return Numbers(parts, NoisyCounts(patients, 0.0 * eye))


def of_first_group(column: Numbers, counts: list[float]) -> NumberFigures:
    """The figures of the first of two groups; `counts` are its patients by bin and then those of the other."""
    bins = len(counts) // 2
    shape = (bins, 2)
    table = Table(
        (0, 1),
        shape,
        (np.arange(bins), np.arange(2)),
        NoisyCounts(np.array(counts).reshape(2, bins).T.ravel(), np.zeros((len(counts),) * 2)),
    )
    return column.of_group(table, np.tile([1.0, 0.0], bins), (0.5,))


class TestWideCells:
    @pytest.mark.parametrize("number", [0.0, 9.0])
    def test_intervals_hold_numbers_at_the_end_of_a_cell(self, number: float) -> None:
        # A million patients have the same number: sampling says nothing, the cell all.
        found = numbers([1e6], [0]).overall((0.5,))
        assert found.mean.low <= number <= found.mean.high
        assert found.quantiles[0].low <= number <= found.quantiles[0].high
        assert found.mean.high - found.mean.low < 1.2 * 9

    def test_cells_of_one_number_add_nothing(self) -> None:
        found = numbers([5e5, 5e5], [0, 1], LOWS).overall((0.25,))
        assert found.mean.high - found.mean.low == pytest.approx(2 * 1.96 * 5 / 1e3, rel=0.01)
        assert (found.quantiles[0].low, found.quantiles[0].high) == (0.0, 0.0)

    def test_cells_are_as_likely_to_lean_either_way(self) -> None:
        found = numbers([1e9, 1e9, 1e9], [0, 1, 2]).overall((0.5,))
        # Three cells of width 9 with a third of the patients each: 3 (9 / 3)^2 / 12 = 2.25.
        assert found.mean.high - found.mean.low == pytest.approx(2 * 1.96 * 1.5, rel=0.01)


class TestGroups:
    def test_a_groups_mean_holds_the_sampling_within_bins(self) -> None:
        # One bin of two numbers, 0 and 10, of 200 patients: its mean has variance 25 / 200.
        found = of_first_group(numbers([100.0, 100.0], [0, 0], LOWS), [50.0, 50.0])
        assert found.mean.value == pytest.approx(5.0)
        assert (found.mean.high - found.mean.low) / 2 == pytest.approx(1.96 * np.sqrt(25 / 200), rel=0.05)
