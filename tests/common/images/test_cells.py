from __future__ import annotations

import numpy as np
import pytest

from common.images.cells import parts_in, pixels_of, pixels_text, scores_of, scores_text
from common.images.png import pixels_of_png, png_of, sheet_of

IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)


class TestCells:
    def test_pixels_come_back(self) -> None:
        assert pixels_text([IMAGE]) == "2x3:AAECAwQF"
        (first, second) = pixels_of(pixels_text([IMAGE, 255 - IMAGE]), (2, 3))
        assert (first == IMAGE).all()
        assert (second == 255 - IMAGE).all()

    @pytest.mark.parametrize("cell", ["", "films/a.png", "2x3:AAEC", "2x3:!!!!", "3x2:AAECAwQF", "2x3:AAECAwQ", "🙂"])
    def test_other_text_holds_none(self, cell: str) -> None:
        assert pixels_of(cell, (2, 3)) == []
        assert scores_of(cell, 1) is None

    def test_parts_are_counted_read_or_not(self) -> None:
        assert parts_in("a.png; b.png;") == 2

    def test_scores_come_back(self) -> None:
        scores = scores_of(scores_text([0.125, -0.031]), 2)
        assert scores is not None
        assert scores.tolist() == [0.125, -0.031]
        assert scores_of("scores nan 1", 2) is None


SHORT = png_of(IMAGE)[:23] + b"\x09" + png_of(IMAGE)[24:]
"""A file whose header says nine rows and that holds four."""


class TestPng:
    def test_file_comes_back(self) -> None:
        again = pixels_of_png(png_of(IMAGE))
        assert again is not None
        assert (again == IMAGE).all()

    @pytest.mark.parametrize("content", [b"", b"GIF89a", png_of(IMAGE)[:40], png_of(IMAGE)[:20] + bytes(40), SHORT])
    def test_other_content_is_none(self, content: bytes) -> None:
        assert pixels_of_png(content) is None

    def test_other_libraries_read_it(self, tmp_path) -> None:  # type: ignore[no-untyped-def]
        pillow = pytest.importorskip("PIL.Image")
        (tmp_path / "a.png").write_bytes(png_of(IMAGE))
        assert (np.asarray(pillow.open(tmp_path / "a.png")) == IMAGE).all()

    def test_sheet_holds_every_image(self) -> None:
        sheet = sheet_of([np.stack([IMAGE, IMAGE]), np.stack([IMAGE])], zoom=2)
        assert sheet.shape == (2 * (2 * 4 + 2), 2 * (2 * 5 + 2))
