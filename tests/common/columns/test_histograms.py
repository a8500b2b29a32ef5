"""Histograms at several resolutions: one node per level, and estimates that agree, add up and beat one fine level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.histograms import BRANCHES, SINGLE_LEVEL, count_nodes, estimate, length, levels, project_to_simplex

quick = settings(max_examples=60, deadline=None)


@quick
@given(cells=st.integers(1, 2000))
def test_every_level_refines_the_one_before_down_to_the_cells(cells: int) -> None:
    found = levels(cells)
    assert found[-1].tolist() == list(range(cells + 1))
    assert sum(len(borders) - 1 for borders in found) == length(cells)
    for coarse, fine in itertools.pairwise(found):
        assert set(coarse) < set(fine)
        assert max(np.diff(np.searchsorted(fine, coarse))) <= SINGLE_LEVEL
    assert len(found) == 1 or cells > SINGLE_LEVEL
    assert len(found[0]) - 1 <= SINGLE_LEVEL
    assert len(found) <= 1 + np.ceil(np.log(max(cells / SINGLE_LEVEL, 1)) / np.log(BRANCHES)) + 1e-9


def test_nodes_are_sums_of_their_cells() -> None:
    counts = np.arange(20)
    nodes = count_nodes(counts)
    coarse, _fine = levels(20)
    assert nodes[: len(coarse) - 1].tolist() == [counts[first:last].sum() for first, last in itertools.pairwise(coarse)]
    assert nodes[len(coarse) - 1 :].tolist() == counts.tolist()


@quick
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=300).filter(any))
def test_without_noise_the_counts_come_back(counts: list[int]) -> None:
    assert estimate(count_nodes(np.array(counts)), len(counts), 0.0) == pytest.approx(np.array(counts), abs=1e-6)


@quick
@given(cells=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), deviation=st.floats(0.5, 1e4))
def test_estimates_are_never_negative_and_add_up_level_by_level(cells: int, seed: int, deviation: float) -> None:
    noise = np.random.default_rng(seed).normal(0, deviation, length(cells)).round().astype(np.int64)
    noisy = noise + count_nodes(np.full(cells, 3))
    result = estimate(noisy, cells, deviation)
    assert result.shape == (cells,)
    assert (result >= 0).all()
    assert result.sum() >= 1 - 1e-6


def test_levels_beat_one_level_of_equal_cost() -> None:
    # 2,000 patients about one peak in 300 cells; noise of 8 in one level costs what 8 sqrt(levels) costs in all.
    cells, rng = 300, np.random.default_rng(0)
    shape = np.exp(-0.5 * ((np.arange(cells) - 120) / 25) ** 2)
    truth = rng.multinomial(2000, shape / shape.sum())
    deviation = 8 * len(levels(cells)) ** 0.5
    wide, flat = [], []
    for _ in range(20):
        noisy = count_nodes(truth) + rng.normal(0, deviation, length(cells)).round().astype(np.int64)
        wide.append(_distance(estimate(noisy, cells, deviation), truth))
        one = truth + rng.normal(0, 8, cells)
        flat.append(_distance(project_to_simplex(one, one.sum()), truth))
    assert np.mean(wide) < 0.6 * np.mean(flat)


def _distance(estimated: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference of the two distribution functions."""
    return float(np.abs(np.cumsum(estimated) / estimated.sum() - np.cumsum(truth) / truth.sum()).max())


def test_a_difference_within_the_noise_is_shared_evenly() -> None:
    # One level of four cells with noise 10: 19 and 21 are one stretch, as are 99 and 101.
    assert estimate(np.array([19, 21, 99, 101]), 4, 10.0).tolist() == [20.0, 20.0, 100.0, 100.0]


@quick
@given(
    noisy=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    total=st.floats(1.0, 1e6),
)
def test_denoised_counts_are_never_negative_and_add_up(noisy: list[float], total: float) -> None:
    result = project_to_simplex(np.array(noisy), total)
    assert (result >= 0).all()
    assert result.sum() == pytest.approx(total, rel=1e-6, abs=1e-6)


def test_denoised_counts_of_a_small_case() -> None:
    # Subtract s from 5, 1, -2 and cut at zero so that 3 are left: s = 2 leaves 3, 0, 0.
    assert project_to_simplex(np.array([1.0, 5.0, -2.0]), 3.0).tolist() == [0.0, 3.0, 0.0]
    # So that 5 are left: s = 0.5 leaves 0.5, 4.5, 0.
    assert project_to_simplex(np.array([1.0, 5.0, -2.0]), 5.0).tolist() == [0.5, 4.5, 0.0]
    assert project_to_simplex(np.array([]), 3.0).tolist() == []


@quick
@given(
    noisy=st.lists(st.integers(-8, 8), min_size=2, max_size=3),
    total=st.integers(1, 6),
)
def test_no_other_counts_with_that_sum_are_closer(noisy: list[int], total: int) -> None:
    given_counts = np.array(noisy, dtype=np.float64)
    result = project_to_simplex(given_counts, float(total))
    grid = np.linspace(0, total, 13)
    corners = np.stack(np.meshgrid(*[grid] * (len(noisy) - 1)), axis=-1).reshape(-1, len(noisy) - 1)
    last = total - corners.sum(1, keepdims=True)
    others = np.concatenate([corners, last], axis=1)[last[:, 0] >= -1e-9]
    distance = np.linalg.norm(result - given_counts)
    assert (np.linalg.norm(others - given_counts, axis=1) >= distance - 1e-9).all()


@quick
@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_counts_that_need_no_denoising_are_left_alone(counts: list[int]) -> None:
    exact = np.array(counts, dtype=np.float64)
    assert project_to_simplex(exact, float(exact.sum())) == pytest.approx(exact)
