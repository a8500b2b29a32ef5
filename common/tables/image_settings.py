"""What a hospital declares about its image files, and how pixels of any size and range become gray ones of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from common.arrays import Floats
from common.columns.image import LARGEST, MOST_IMAGES, SMALLEST
from common.images.cells import Pixels, Size
from common.images.png import MOST_PIXELS
from common.settings import Frozen

WHITE = 255
"""Gray level of white; black is 0."""

MOST_BYTES = 2**31
"""Most bytes of what a file holds once it is unpacked: a small file may hold far more than memory does."""

LONGEST_SHAPE = 20
"""Times that one side of an image may be as long as the other where it is scaled; a crafted strip would take all
memory."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray. Source: ITU-R BT.601-7."""


class ImageProblem(Exception):
    """Why a file cannot be read as an image, as the rest of a sentence."""


@contextmanager
def damage_refused(file: str, remedy: str = "save it again") -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into an `ImageProblem`; its warnings are dropped.

    Errors and warnings of a library may quote what the file says: only the kind of an error is repeated.

    Args:
        file: what the row has or names, such as "is a DICOM file".
        remedy: what a person should do.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        except ImageProblem:
            raise
        except Exception as problem:
            raise ImageProblem(f"{file} that cannot be read ({type(problem).__name__}); {remedy}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a reader takes from a file.

    Attributes:
        pixels: uint8 of shape (rows, columns), of any size.
        warning: what a person should know about the file, as the rest of "N images ..."; empty for nothing.
    """

    pixels: Pixels
    warning: str = ""


class ImageFiles(Frozen):
    """The image files of a column: `[images.COLUMN]` of site.toml.

    Attributes:
        folder: paths in the column are relative to it, and stay inside it.
        size: rows and columns of pixels of every image: those of the study.
        most_images: most images of a patient.
        missing: whether a patient may have none.
        fit: what becomes of images of another size. "exact" refuses them; "pad" scales the image until it fits into
            the size and adds black; "crop" scales it until it covers the size and cuts what is outside, alike on both
            sides; "stretch" scales rows and columns by themselves.
        color: "convert" turns color into gray with the weights `LUMA`; "refuse" refuses color.
        window: lowest and highest value, which become black and white, of files with other values than 8 bits of gray.
        plane: which slices of a volume (NIfTI) are images.
        slice: which slice, from 0 (left, back, foot) to 1 (right, front, head), where the cell names none.
    """

    folder: Path = Field(strict=False)
    size: tuple[int, int] = Field(strict=False)
    most_images: int = Field(default=1, ge=1, le=MOST_IMAGES)
    missing: bool = False
    fit: Literal["exact", "pad", "crop", "stretch"] = "exact"
    color: Literal["refuse", "convert"] = "refuse"
    window: tuple[float, float] | None = Field(default=None, strict=False)
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    slice: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(SMALLEST <= side <= LARGEST for side in self.size):
            raise ValueError(
                f"[images] size is rows and columns of pixels, each from {SMALLEST} to {LARGEST}; correct it"
            )
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("[images] window is a lowest and a highest value, the lowest first; correct it")
        return self

    def fitted(self, pixels: Pixels) -> Pixels:
        """Return the image in the declared size. Raises `ImageProblem` where `fit` refuses it.

        Scaling takes the mean of the area that a new pixel covers.

        Args:
            pixels: uint8 of shape (rows, columns), of any size.
        """
        if pixels.shape == self.size:
            return pixels
        if self.fit == "exact":
            rows, columns = pixels.shape
            raise ImageProblem(
                f"is an image of {rows} x {columns} pixels, and size is {self.size[0]} x {self.size[1]}; scale it, or "
                "declare `fit` in site.toml"
            )
        if pixels.size > MOST_PIXELS:
            raise ImageProblem(f"is an image of more than {MOST_PIXELS} pixels; scale it")
        if max(pixels.shape) > LONGEST_SHAPE * min(pixels.shape):
            raise ImageProblem(f"is an image with one side more than {LONGEST_SHAPE} times the other; cut it")
        target = self._scaled_size((pixels.shape[0], pixels.shape[1]))
        scaled = areas(pixels.shape[0], target[0]) @ pixels.astype(np.float64) @ areas(pixels.shape[1], target[1]).T
        image = np.zeros(self.size, dtype=np.uint8)
        kept = min(target[0], self.size[0]), min(target[1], self.size[1])
        image[_middle(self.size, kept)] = np.rint(scaled)[_middle(target, kept)]
        return image

    def _scaled_size(self, size: Size) -> Size:
        """Return the size to which an image of this size is scaled, before black is added or its edges are cut off."""
        if self.fit == "stretch":
            return self.size
        ratios = self.size[0] / size[0], self.size[1] / size[1]
        ratio = min(ratios) if self.fit == "pad" else max(ratios)
        return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))

    def gray(self, values: npt.NDArray[Any], window: tuple[float, float]) -> Pixels:
        """Return values as gray levels: `window` of these files if declared, else the window that is given.

        Args:
            values: numbers of any range; what is not a number becomes black.
            window: lowest and highest value, which become black and white.
        """
        low, high = self.window or window
        numbers = np.clip(np.nan_to_num(values.astype(np.float64), nan=low), low, high)
        return levels_to_pixels((numbers / 2 - low / 2) / max(high / 2 - low / 2, 1e-12))  # halves never overflow

    def from_color(self, values: npt.NDArray[np.uint8]) -> Pixels:
        """Return red, green and blue as gray. Raises `ImageProblem` where color is refused.

        Args:
            values: uint8 of shape (rows, columns, 3).
        """
        if self.color == "refuse":
            raise ImageProblem('is an image in color; convert it to gray, or declare color = "convert" in site.toml')
        return np.asarray(np.rint(values.astype(np.float64) @ np.array(LUMA)), dtype=np.uint8)


def _middle(size: Size, kept: Size) -> tuple[slice, slice]:
    """Return where the middle of an image is, of `kept` rows and columns."""
    top, left = (size[0] - kept[0]) // 2, (size[1] - kept[1]) // 2
    return slice(top, top + kept[0]), slice(left, left + kept[1])


def levels_to_pixels(levels: Floats) -> Pixels:
    """Return levels from 0 (black) to 1 (white) as pixels; what is beyond is cut."""
    return np.asarray(np.rint(np.clip(levels, 0, 1) * WHITE), dtype=np.uint8)


def areas(size: int, target: int) -> Floats:
    """Return the matrix that averages `size` pixels in a row to `target` pixels, weighted by the area that they share.

        w_ij = |[i s, (i + 1) s) and [j, j + 1)| / s,    s = size / target

    Returns:
        Shape (target, size); every row sums to 1.
    """
    edges = np.arange(target + 1) * (size / target)
    low, high = np.arange(size), np.arange(size) + 1
    shared = np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low)
    return np.asarray(np.maximum(shared, 0.0) / (size / target), dtype=np.float64)
