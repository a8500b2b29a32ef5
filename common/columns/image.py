"""Columns of images: a gray image of one size for each patient, modeled by its scores and by class-wise frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from common.arrays import Floats
from common.columns.base import LONGEST_NAME, Column, TableColumn, Texts
from common.columns.cells import each, notice
from common.columns.drafting import ColumnEvidence, Draft
from common.columns.drafting_forms import draft_images
from common.columns.numeric import Numeric
from common.images.cells import parts_in, pixels_of, pixels_text, scores_of, scores_text
from common.images.frequencies import Frequencies
from common.images.sums import ImageSums

SMALLEST, LARGEST = 8, 64
"""Bounds on the rows and columns of pixels."""

MOST_IMAGES, MOST_SCORES = 16, 8
"""Bounds on `most_images` and `scores`."""

MOST_KEPT = 120
"""Largest number of kept frequencies: their second moments are 7,260 numbers for each class."""

SCORE_DECIMALS = 3
"""Scores are mean deviations from mid-gray, at most 1/2: a thousandth is a quarter of a gray level of 255."""


class Image(TableColumn):
    """A gray image of a patient; cells of a file hold the path of an image, or several with semicolons in between.

    `size` is rows and columns of pixels. The `frequencies` lowest frequencies of an image describe it, and the classes
    of `[evaluation] target` are told apart. The first `scores` of them, the first being mean brightness, are columns of
    numbers that are counted together with all other columns, so that image and row belong together. `contrast` is
    about the root mean square of pixels around mid-gray, as a fraction of white, above which an image is clipped
    (`ImageSums`). A patient has at most `most_images`, which together weigh as much as one; the row's scores are those
    of the first. Where `missing` is allowed, a patient may have none.
    """

    drafts_missing: ClassVar[bool] = False

    kind: Literal["image"] = "image"
    size: tuple[int, int] = Field(strict=False)
    channels: Literal[1] = 1
    most_images: int = Field(default=1, ge=1, le=MOST_IMAGES)
    frequencies: int = Field(default=36, ge=2, le=MOST_KEPT)
    scores: int = Field(default=1, ge=1, le=MOST_SCORES)
    contrast: float = Field(default=0.18, ge=0.01, le=0.5)

    @model_validator(mode="after")
    def _check(self) -> Self:
        where = f"column '{self.name}':"
        if not all(SMALLEST <= side <= LARGEST for side in self.size):
            raise ValueError(
                f"{where} size is rows and columns of pixels, each from {SMALLEST} to {LARGEST}; scale the images"
            )
        if not self.scores < self.frequencies <= self.size[0] * self.size[1]:
            raise ValueError(f"{where} frequencies are more than scores and at most the pixels; correct them")
        if len(self.name) > LONGEST_NAME - len(": score 8"):
            raise ValueError(f"{where} its name is too long for the names of its scores; use a shorter one")
        return self

    @cached_property
    def transform(self) -> Frequencies:
        """How its images are described."""
        return Frequencies(self.size, self.frequencies)

    def sums(self, classes: int) -> ImageSums:
        """Return what is summed over its images, for that many classes."""
        return ImageSums(self.transform, self.contrast, classes)

    @cached_property
    def modeled(self) -> tuple[Column, ...]:
        return tuple(
            Numeric(
                name=f"{self.name}: score {number + 1}",
                lower=-0.5,
                upper=0.5,
                decimals=SCORE_DECIMALS,
                missing=self.missing and not number,
            )
            for number in range(self.scores)
        )

    @property
    def outlying_cell(self) -> str:
        """An image of a black and a white half: far from mid-gray in low frequencies, which brightness alone is not."""
        halves = np.zeros(self.size, dtype=np.uint8)
        halves[:, : self.size[1] // 2] = 255
        return pixels_text([halves])

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | None:
        return draft_images(evidence, MOST_IMAGES)

    def read(self, cells: list[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the scores of the first image of every cell; mid-gray where there is none and missing is not allowed.

        Where missing is allowed, the first score is missing and the others are 0.
        """
        scores = np.stack(each(cells, self._scores_of)) if cells else np.empty((0, self.scores))
        scores = np.clip(np.round(scores, SCORE_DECIMALS) + 0.0, -0.5, 0.5)
        is_there = ~np.isnan(scores[:, 0])
        values = {part.name: np.where(is_there, scores[:, number], 0.0) for number, part in enumerate(self.modeled)}
        if self.missing:
            values[self.modeled[0].name] = scores[:, 0]
        return values

    def _scores_of(self, cell: str) -> Floats:
        images = pixels_of(cell, self.size)
        if images:
            described = self.transform.describe(np.stack(images[:1]))
            return np.asarray(self.transform.scores(described, self.scores)[0])
        scores = scores_of(cell, self.scores)
        return np.full(self.scores, np.nan) if scores is None else scores

    def describe(self, cells: list[str]) -> Floats:
        """Return the description of every image: (cells, most_images, `Frequencies.width`), NaN where there is none.

        What a cell gives depends on that cell alone, and none makes it fail. Of more images than allowed the first
        ones are kept.
        """
        described = np.full((len(cells), self.most_images, self.transform.width), np.nan)
        for row, cell in enumerate(cells):
            images = pixels_of(cell, self.size)[: self.most_images]
            if images:
                described[row, : len(images)] = self.transform.describe(np.stack(images))
        return described

    def check(self, cells: list[str]) -> list[str]:
        held = np.array([(parts_in(cell), len(pixels_of(cell, self.size))) for cell in cells]).reshape(-1, 2)
        is_known = np.array([scores_of(cell, self.scores) is not None for cell in cells], dtype=np.bool_)
        outcome = "taken for missing" if self.missing else "whose scores count as 0 and which are in no sum of images"
        notices = []
        size = f"{self.size[0]} x {self.size[1]}"
        is_lost = (held[:, 1] == 0) & ~is_known & ((held[:, 0] > 0) | (not self.missing))
        if none := int(is_lost.sum()):
            notices.append(notice(f"holds no image of {size} pixels", none, outcome))
        if partly := int(((held[:, 1] > 0) & (held[:, 1] < held[:, 0])).sum()):
            notices.append(notice(f"holds images of another size than {size} beside others", partly, "left out"))
        if more := int((held[:, 1] > self.most_images).sum()):
            notices.append(notice(f"holds more than {self.most_images} images", more, "of which the first are kept"))
        return notices

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        """Return the scores of every row; a run's folder has the paths of images in their place."""
        parts = [frame[part.name].to_numpy(dtype=np.float64) for part in self.modeled]
        rows = zip(*parts, strict=True)
        return np.array(["" if np.isnan(row[0]) else scores_text(row) for row in rows], dtype=object)

    def invent(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        return {part.name: part.draw(rows, rng) for part in self.modeled}

    def scores_in(self, frame: pd.DataFrame) -> Floats:
        """Return the scores of every row of a conformed table, (rows, scores); NaN first where it has no image."""
        return frame[[part.name for part in self.modeled]].to_numpy(dtype=np.float64)
