"""Images as text in a cell of a raw table, so that they take every way that a table takes.

A cell holds the pixels of a patient's images, `2x3:AAECAwQF` (rows, columns, base64 of one byte a pixel, images after
each other with a semicolon in between), or the scores of an image that is not there yet, `scores 0.125 -0.031`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from common.arrays import Floats

Pixels = npt.NDArray[np.uint8]
"""Gray images, 0 black to 255 white: shape (rows, columns), or (images, rows, columns)."""

Size = tuple[int, int]
"""Rows and columns of pixels."""

BETWEEN = ";"
"""Stands between two images of a cell."""

SCORES = "scores"
"""Begins a cell of scores."""

IMAGE = re.compile(r"(\d{1,4})x(\d{1,4}):([A-Za-z0-9+/=]+)")


def pixels_text(images: Sequence[Pixels]) -> str:
    """Return the cell that holds these images; "" for none."""
    return BETWEEN.join(
        f"{rows}x{columns}:{base64.b64encode(np.ascontiguousarray(image).tobytes()).decode('ascii')}"
        for image in images
        for rows, columns in [image.shape]
    )


def pixels_of(cell: str, size: Size) -> list[Pixels]:
    """Return the images of a cell that have this size. Never fails because of a cell: other text holds none."""
    images = []
    for part in cell.split(BETWEEN):
        match = IMAGE.fullmatch(part.strip())
        if match is None or (int(match[1]), int(match[2])) != size:
            continue
        try:
            content = base64.b64decode(match[3], validate=True)
        except binascii.Error:
            continue
        if len(content) == size[0] * size[1]:
            images.append(np.frombuffer(content, dtype=np.uint8).reshape(size))
    return images


def are_pixels(cells: Iterable[str]) -> bool:
    """Return whether every cell that is not blank holds the pixels of images, and one does."""
    held = [cell for cell in cells if cell.strip()]
    return bool(held) and all(IMAGE.fullmatch(part.strip()) for cell in held for part in cell.split(BETWEEN))


def parts_in(cell: str) -> int:
    """Return how many images a cell holds or tries to hold."""
    return len([part for part in cell.split(BETWEEN) if part.strip()])


def scores_text(scores: Sequence[float]) -> str:
    """Return the cell of an image of which only the scores are known."""
    return " ".join([SCORES, *(f"{score:.3f}" for score in scores)])


def scores_of(cell: str, number: int) -> Floats | None:
    """Return the scores of a cell that holds that many, finite; None for other text."""
    start, *rest = cell.split() or [""]
    if start != SCORES or len(rest) != number:
        return None
    try:
        scores = np.array([float(score) for score in rest], dtype=np.float64)
    except ValueError:
        return None
    return scores if np.isfinite(scores).all() else None
