from __future__ import annotations

import numpy as np
import pytest

from common.images.frequencies import Frequencies
from common.images.model import ClassMeans, ImageModel, denoised_covariances, shrunk
from common.images.sums import ImageSums

SCALE = 2**16
FREQUENCIES = Frequencies((8, 8), 9)
SUMS = ImageSums(FREQUENCIES, 0.4, 2)


def films(patients: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return descriptions and labels of images that are bright at the top for one class, at the left for the other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, patients)
    slope = np.linspace(-50, 50, 8)
    planes = np.stack([np.tile(slope[:, None], 8), np.tile(slope, (8, 1))])[labels]
    planes = planes * rng.uniform(0.5, 1.5, (patients, 1, 1)) + rng.normal(0, 20, (patients, 8, 8))
    return FREQUENCIES.describe(np.clip(128 + planes, 0, 255).astype(np.uint8))[:, None, :], labels


def model_of(images: np.ndarray, labels: np.ndarray) -> ImageModel:
    means = ClassMeans.of(SUMS, SUMS.means(images, labels, SCALE), SCALE, 0.0)
    return ImageModel.of(SUMS, means, SUMS.moments(images, labels, means.means, SCALE), SCALE, 0.0)


class TestImageModel:
    def test_without_noise_has_the_moments_of_the_images(self) -> None:
        images, labels = films(2000)
        model = model_of(images, labels)
        low = images[labels == 1, 0, :9]
        assert model.means[1] == pytest.approx(low.mean(axis=0), abs=1e-3)
        assert model.covariances[1] == pytest.approx(np.cov(low.T), abs=0.02)
        power = images[labels == 1, 0, 9:].mean(axis=0) / FREQUENCIES.ring_sizes
        assert model.variances[1] == pytest.approx(power, rel=0.1)

    def test_drawn_images_have_class_and_scores(self) -> None:
        images, labels = films(1000)
        scores = FREQUENCIES.scores(images[:, 0], 2)
        drawn = model_of(images, labels).draw(labels, scores, np.random.default_rng(1))
        again = FREQUENCIES.describe(drawn)
        assert FREQUENCIES.scores(again, 2) == pytest.approx(scores, abs=0.02)  # pixels are whole numbers, cut at white
        for label in (0, 1):
            assert again[labels == label, :9].mean(axis=0) == pytest.approx(
                images[labels == label, 0, :9].mean(axis=0), abs=0.1
            )

    def test_one_seed_draws_the_same_images(self) -> None:
        images, labels = films(200)
        model, scores = model_of(images, labels), FREQUENCIES.scores(images[:, 0], 1)
        first, second = (model.draw(labels, scores, np.random.default_rng(5)) for _ in range(2))
        assert first.tobytes() == second.tobytes()


class TestDenoising:
    def test_rows_that_noise_explains_become_the_target(self) -> None:
        rows, target = np.array([[1.0, 1.0], [3.0, 3.0]]), np.array([1.0, 1.5])
        # Away: (0, -0.5) and (2, 1.5), squares 0.25 and 6.25; kept 1 - 2 x 0.25 / 0.25 < 0 and 1 - 2 x 0.25 / 6.25.
        assert shrunk(rows, target, np.array([0.5, 0.5])) == pytest.approx(np.array([[1.0, 1.5], [2.84, 2.88]]))

    def test_covariances_stay_positive_under_noise(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 50, (2, 9, 9))
        moments = 100 * np.stack([np.eye(9), 2 * np.eye(9)]) + noise + noise.transpose(0, 2, 1)
        covariances = denoised_covariances(moments, np.array([100.0, 100.0]), 70.0)
        assert np.linalg.eigvalsh(covariances).min() > 0

    def test_noise_does_not_widen_what_is_drawn(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 5, (1, 30, 30))
        moments = 1000 * np.diag([9.0, *[0.01] * 29])[None] + (noise + noise.transpose(0, 2, 1)) / np.sqrt(2)
        (covariance,) = denoised_covariances(moments, np.array([1000.0]), 5.0)
        assert np.trace(covariance) == pytest.approx(9.29, rel=0.05)
        assert covariance[0, 0] == pytest.approx(9.0, rel=0.02)
