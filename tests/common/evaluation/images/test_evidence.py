from __future__ import annotations

import base64

import numpy as np
import pytest

from common.columns.image import Image
from common.evaluation.images.evidence import ImageEvidence, assess_images, contact_sheet
from common.evaluation.images.frechet import frechet_distance, random_features
from common.evaluation.images.nearest import nearest_images
from common.evaluation.statistics.images import ComparedImages, LabeledImages
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


COLUMN = Image(name="film", size=(8, 8), frequencies=10)


def compared(training: LabeledImages, held_out: LabeledImages, synthetic: LabeledImages) -> ImageEvidence | None:
    return assess_images(ComparedImages(COLUMN, training, held_out, synthetic))


class TestAssess:
    def test_images_of_one_kind_are_alike(self) -> None:
        evidence = compared(drawn(0), drawn(1), drawn(2))
        assert evidence is not None
        on_synthetic, on_real = evidence.trained_on_synthetic, evidence.trained_on_real
        assert on_synthetic.value == pytest.approx(on_real.value, abs=0.03)
        assert on_synthetic.low <= on_synthetic.value <= on_synthetic.high <= 1
        assert evidence.nearest.nearer_to_training.low < 0.5 < evidence.nearest.nearer_to_training.high
        assert evidence.nearest.to_training == pytest.approx(evidence.nearest.control, rel=0.1)
        assert base64.b64decode(evidence.sheet).startswith(b"\x89PNG")
        assert "sheet" not in evidence.as_document()

    def test_sheet_shows_no_real_image(self) -> None:
        synthetic = drawn(2)
        sheets = {compared(drawn(seed), drawn(1), synthetic).sheet for seed in (0, 3)}  # type: ignore[union-attr]
        assert sheets == {base64.b64encode(png_of(contact_sheet(synthetic))).decode("ascii")}

    def test_copies_are_nearer_to_those_they_copy(self) -> None:
        training = drawn(0)
        evidence = compared(training, drawn(1), training)
        assert evidence is not None
        assert evidence.nearest.nearer_to_training.low > 0.9
        assert evidence.nearest.to_training == (0.0,) * 5
        assert min(evidence.nearest.to_held_out) > 0

    def test_images_near_one_real_image_count_once(self) -> None:
        training, held_out = drawn(0), drawn(1)
        few = LabeledImages(np.repeat(training.pixels[:4], 25, axis=0), np.repeat([0, 1, 0, 1], 25))
        found = nearest_images(training, held_out, few, np.random.default_rng(0)).nearer_to_training
        assert (found.value, found.size) == (1.0, 4)  # (4 * 25)^2 / (4 * 25^2)
        assert found.low < 0.6

    def test_too_few_images_are_not_compared(self) -> None:
        assert compared(drawn(0), drawn(1, 10), drawn(2)) is None
