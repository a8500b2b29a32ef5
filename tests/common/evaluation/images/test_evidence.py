from __future__ import annotations

import base64

import numpy as np
import pytest

from common.evaluation.images.evidence import LabeledImages, assess_images, contact_sheet
from common.evaluation.images.frechet import frechet_distance, random_features
from common.images.png import png_of


def drawn(seed: int, images: int = 200, *, shift: int = 0) -> LabeledImages:
    """Return noisy images, of which those of one class are brighter on the left."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, images)
    slope = np.linspace(40, -40, 8) * (2 * labels[:, None, None] - 1)
    pixels = np.clip(128 + shift + slope + rng.normal(0, 30, (images, 8, 8)), 0, 255).astype(np.uint8)
    return LabeledImages(pixels, labels)


class TestFrechet:
    def test_of_one_dimension_can_be_worked_out_by_hand(self) -> None:
        first, second = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([[1.0], [5.0], [1.0], [5.0]])
        # Means 0 and 3, deviations sqrt(4/3) and sqrt(16/3): 9 + 4/3 + 16/3 - 2 sqrt(64/9) = 9 + 4/3.
        assert frechet_distance(np.hstack([first, 0 * first]), np.hstack([second, 0 * second])) == pytest.approx(31 / 3)

    def test_features_tell_brighter_images_apart(self) -> None:
        real = random_features(drawn(0).pixels)
        assert real.shape == (200, 64)
        like, unlike = (frechet_distance(random_features(drawn(1, shift=shift).pixels), real) for shift in (0, 40))
        assert unlike > 4 * like


class TestAssess:
    def test_images_of_one_kind_are_alike(self) -> None:
        evidence = assess_images(drawn(0), drawn(1), drawn(2))
        assert evidence is not None
        assert evidence.trained_on_synthetic == pytest.approx(evidence.trained_on_real, abs=0.03)
        assert evidence.low < 0.5 < evidence.high
        assert base64.b64decode(evidence.sheet).startswith(b"\x89PNG")
        assert "sheet" not in evidence.as_document()

    def test_sheet_shows_no_real_image(self) -> None:
        synthetic = drawn(2)
        sheets = {assess_images(drawn(seed), drawn(1), synthetic).sheet for seed in (0, 3)}  # type: ignore[union-attr]
        assert sheets == {base64.b64encode(png_of(contact_sheet(synthetic))).decode("ascii")}

    def test_copies_are_nearer_to_those_they_copy(self) -> None:
        training = drawn(0)
        evidence = assess_images(training, drawn(1), training)
        assert evidence is not None
        assert evidence.low > 0.9

    def test_too_few_images_are_not_compared(self) -> None:
        assert assess_images(drawn(0), drawn(1, 10), drawn(2)) is None
