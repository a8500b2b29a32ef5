from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Integers
from common.images.frequencies import Frequencies
from common.images.sums import ImageSums, clipped, from_triangle

SCALE = 2**12
SUMS = ImageSums(Frequencies((8, 10), 6), 0.3, 3)


def squared(change: Integers) -> int:
    return int((change.astype(object) ** 2).sum())


def described(patients: int, images: int, size: float, seed: int) -> Floats:
    """Return descriptions of any size, with patients who have from none to all of their images."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, size, (patients, images, SUMS.frequencies.width))
    values[:, :, 6:] = np.abs(values[:, :, 6:])
    for patient, held in enumerate(rng.integers(0, images + 1, patients)):
        values[patient, held:] = np.nan
    return values


class TestOnePatient:
    """Adds and removes a patient, whatever the images are."""

    @settings(max_examples=60, deadline=None)
    @given(
        images=st.integers(1, 4),
        size=st.sampled_from([0.0, 1e-3, 0.5, 10.0, 1e9]),
        label=st.integers(0, 2),
        seed=st.integers(0, 10**6),
    )
    def test_changes_a_sum_by_no_more_than_the_scale(self, images: int, size: float, label: int, seed: int) -> None:
        others, rng = described(5, images, 1.0, seed), np.random.default_rng(seed)
        labels, one = rng.integers(0, 3, 5), described(1, images, size, seed + 1)
        both, all_labels = np.concatenate([others, one]), np.append(labels, label)
        means = rng.normal(0, 5, (3, 6))
        changes = [
            SUMS.means(both, all_labels, SCALE) - SUMS.means(others, labels, SCALE),
            SUMS.moments(both, all_labels, means, SCALE) - SUMS.moments(others, labels, means, SCALE),
        ]
        for change in changes:
            assert squared(change) <= SCALE**2
            assert np.abs(change).max() <= SCALE

    def test_with_several_images_weighs_as_one(self) -> None:
        same = np.full((1, 1, SUMS.frequencies.width), 0.2)
        several = np.repeat(same, 3, axis=1)
        label = np.array([1])
        assert (SUMS.means(same, label, SCALE) == SUMS.means(several, label, SCALE)).all()
        zero = np.zeros((3, 6))
        assert (SUMS.moments(same, label, zero, SCALE) == SUMS.moments(several, label, zero, SCALE)).all()

    def test_far_from_the_mean_reaches_the_scale(self) -> None:
        far = np.full((1, 1, SUMS.frequencies.width), 1e6)
        for change in (
            SUMS.means(far, np.array([0]), SCALE),
            SUMS.moments(far, np.array([0]), np.zeros((3, 6)), SCALE),
        ):
            assert 0.98 * SCALE < squared(change) ** 0.5 <= SCALE

    def test_without_an_image_adds_nothing(self) -> None:
        none = np.full((2, 3, SUMS.frequencies.width), np.nan)
        assert not SUMS.means(none, np.array([0, 1]), SCALE).any()
        assert not SUMS.moments(none, np.array([0, 1]), np.zeros((3, 6)), SCALE).any()


def test_triangles_are_read_back() -> None:
    vector = np.array([[1.0, 2.0, 3.0]])
    upper = np.triu_indices(3)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2))
    values = vector[:, upper[0]] * vector[:, upper[1]] * weight
    assert np.linalg.norm(values) == pytest.approx(14.0)  # |v|^2 = 1 + 4 + 9
    assert from_triangle(values, 3)[0] == pytest.approx(np.outer(vector[0], vector[0]))


def test_clipping_shortens_long_vectors_alone() -> None:
    assert clipped(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0) == pytest.approx(np.array([[0.6, 0.8], [0.3, 0.4]]))
