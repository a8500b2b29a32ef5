"""Smooth distributions from noisy histograms: closer than cells by themselves, and spikes that stand out stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Integers
from common.columns.histograms import count_nodes, estimate, length
from common.columns.smoothing import CLEAR, PLACES, denoise

CELLS, PATIENTS, NOISE = 100, 1000, 30.0
ALIKE = np.ones(CELLS)


def peak() -> Floats:
    """Patients around one value."""
    shape = np.exp(-0.5 * ((np.arange(CELLS) - 40) / 10) ** 2)
    return np.asarray(np.rint(PATIENTS * shape / shape.sum()))


def noisy(counts: Floats, deviation: float, seed: int) -> Integers:
    noise = np.random.default_rng(seed).normal(0, deviation, length(len(counts)))
    return count_nodes(counts.astype(np.int64)) + np.rint(noise).astype(np.int64)


def distance(found: Floats, counts: Floats) -> float:
    return float(np.abs(found / found.sum() - counts / counts.sum()).sum()) / 2


class TestDenoise:
    def test_smooth_columns_come_closer_than_by_the_cells_alone(self) -> None:
        counts, smooth, rough = peak(), [], []
        for seed in range(5):
            released = noisy(counts, NOISE, seed)
            smooth.append(distance(denoise(released, ALIKE, NOISE), counts))
            rough.append(distance(estimate(released, CELLS, NOISE), counts))
        assert np.mean(smooth) < 0.75 * np.mean(rough)

    def test_spike_that_stands_out_of_the_noise_stays(self) -> None:
        counts = np.full(CELLS, 4.0)
        counts[30] = 600.0
        found = denoise(noisy(counts, 10.0, 0), ALIKE, 10.0)
        assert found[30] == pytest.approx(600, rel=0.1)
        assert found[[28, 32]].max() < 40

    def test_cells_that_can_hold_few_get_few(self) -> None:
        """Whole numbers only, in cells half as wide: every second cell is empty, and no count of one says so."""
        even = np.tile([1.0, 0.01], CELLS // 2)
        counts = np.rint(2 * peak() * (even == 1))
        comb, smooth = (denoise(noisy(counts, NOISE, 0), weights, NOISE) for weights in (even, ALIKE))
        assert comb[1::2].sum() < 0.02 * comb.sum()
        assert distance(comb, counts) < 0.5 * distance(smooth, counts)

    def test_cells_that_hold_more_than_noise_are_left_alone(self) -> None:
        counts = np.full(CELLS, 2 * CLEAR * 5.0)
        released = noisy(counts, 5.0, 0)
        assert denoise(released, ALIKE, 5.0).tolist() == estimate(released, CELLS, 5.0).tolist()

    def test_few_cells_are_left_alone(self) -> None:
        released = noisy(np.full(4, 3.0), 10.0, 0)
        assert denoise(released, np.ones(4), 10.0).tolist() == estimate(released, 4, 10.0).tolist()

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), cells=st.integers(8, 60), deviation=st.floats(1.0, 1e4))
    def test_weights_are_not_negative_and_keep_the_sum(self, seed: int, cells: int, deviation: float) -> None:
        released = noisy(np.full(cells, 3.0), deviation, seed)
        found, rough = denoise(released, np.ones(cells), deviation), estimate(released, cells, deviation)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(rough.sum(), rel=10.0**-PLACES)

    def test_digits_that_rounding_errors_change_are_dropped(self) -> None:
        released = noisy(peak(), NOISE, 0)
        kept = denoise(released, ALIKE, NOISE) / (estimate(released, CELLS, NOISE).sum() / CELLS) * 10**PLACES
        assert kept == pytest.approx(np.rint(kept), abs=1e-6)
