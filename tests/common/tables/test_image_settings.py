from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from common.images.cells import Pixels
from common.tables.image_settings import ImageFiles, ImageProblem, areas

WIDE = np.repeat(np.array([[0, 100, 100, 200]], dtype=np.uint8), 8, axis=0).repeat(8, axis=1)
"""8 x 32 pixels in four squares: black, gray, gray, bright."""


def fitted(pixels: Pixels, fit: str) -> Pixels:
    return ImageFiles.model_validate({"folder": Path(), "size": (8, 8), "fit": fit}).fitted(pixels)


class TestFit:
    def test_areas_average(self) -> None:
        # three pixels to two: each new one covers one and a half
        assert np.allclose(areas(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])

    def test_stretch_averages_both_axes(self) -> None:
        assert fitted(WIDE, "stretch")[0].tolist() == [0, 0, 100, 100, 100, 100, 200, 200]

    def test_pad_keeps_the_shape_and_adds_black(self) -> None:
        padded = fitted(WIDE, "pad")
        assert padded[3:5].tolist() == [[0, 0, 100, 100, 100, 100, 200, 200]] * 2
        assert not padded[:3].any()
        assert not padded[5:].any()

    def test_crop_keeps_the_middle(self) -> None:
        assert (fitted(WIDE, "crop") == 100).all()

    def test_smaller_images_grow(self) -> None:
        assert (fitted(np.full((4, 4), 77, dtype=np.uint8), "pad") == 77).all()

    def test_exact_refuses_another_size(self) -> None:
        with pytest.raises(ImageProblem, match="8 x 32 pixels, and size is 8 x 8"):
            fitted(WIDE, "exact")

    @pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
    @pytest.mark.parametrize("size", [(1, 200_000), (0, 8), (4200, 4200)])
    def test_crafted_shapes_are_refused_unscaled(self, fit: str, size: tuple[int, int]) -> None:
        with pytest.raises(ImageProblem, match=r"one side more than 20 times the other|more than 16777216 pixels"):
            fitted(np.broadcast_to(np.uint8(0), size), fit)


def test_no_number_overflows_on_the_way_to_gray() -> None:
    values = np.array([[-1e308, 1e308, np.inf, -np.inf, np.nan]])
    files = ImageFiles.model_validate({"folder": Path(), "size": (8, 8)})
    assert files.gray(values, (-1e308, 1e308)).tolist() == [[0, 255, 255, 0, 0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": (4, 8)}, "each from 8 to 64"), ({"window": (5, 5)}, "lowest first"), ({"most_images": 99}, "16")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageFiles.model_validate({"folder": Path(), "size": (8, 8), **settings})
