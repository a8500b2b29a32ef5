from __future__ import annotations

import numpy as np
import pytest

from common.images.frequencies import BRIGHTNESS_WEIGHT, RINGS, Frequencies


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 8, 10)).astype(np.uint8)


class TestFrequencies:
    def test_weights_even_out_what_falls_with_frequency(self) -> None:
        frequencies = Frequencies((8, 10), 6)  # sums of indices 0 1 1 2 2 2
        usual = 1 / np.array([1, 2, 2, 3, 3, 3])
        weighted = frequencies.low(usual[None] / frequencies.scale)[0]
        assert weighted == pytest.approx(weighted[1] * np.array([BRIGHTNESS_WEIGHT, 1, 1, 1, 1, 1]))
        # Its length is that of (1/2, 1/2, 1/2, 1/3, 1/3, 1/3): 3/4 + 3/9 = 13/12.
        assert (weighted**2).sum() == pytest.approx(13 / 12)

    def test_power_is_that_of_the_pixels(self, images: np.ndarray) -> None:
        frequencies = Frequencies((8, 10), 12)
        described = frequencies.describe(images)
        low = frequencies.scores(described, 12) * frequencies.scale
        # The transform is orthonormal: the squares of all coefficients sum to those of the pixels (Parseval).
        power = (low**2).sum(axis=1) + described[:, 12:].sum(axis=1)
        assert power == pytest.approx(((images / 255 - 0.5) ** 2).sum(axis=(1, 2)))

    def test_all_frequencies_give_the_image_back(self, images: np.ndarray) -> None:
        frequencies = Frequencies((8, 10), 80)
        assert frequencies.ring_count == 0
        again = frequencies.picture(frequencies.describe(images), np.empty((4, 0)))
        assert (again == images).all()

    def test_first_score_is_brightness_around_gray(self) -> None:
        frequencies = Frequencies((8, 10), 12)
        white = frequencies.describe(np.full((1, 8, 10), 255, dtype=np.uint8))
        scores = frequencies.scores(white, 2)
        assert scores[0] == pytest.approx([0.5, 0.0])
        assert frequencies.low(scores) == pytest.approx(white[:, :2])

    def test_rings_divide_what_is_not_kept(self) -> None:
        frequencies = Frequencies((8, 10), 12)
        assert frequencies.ring_sizes.sum() == 80 - 12
        assert frequencies.ring_count == RINGS
        assert Frequencies((8, 10), 77).ring_sizes.tolist() == [1, 1, 1]
