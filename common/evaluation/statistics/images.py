"""Images under evaluation: those of training and of held-out patients, and synthetic ones, each with its class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.image import Image
from common.images.cells import Pixels, pixels_of
from common.study.study import Study

FEWEST_IMAGES = 20
"""Training, held-out or synthetic images below which images are neither compared nor attacked."""


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Images and their classes.

    Attributes:
        pixels: (images, rows, columns).
        labels: number of each image's class, (images,).
    """

    pixels: Pixels
    labels: Integers

    def sample(self, most: int, rng: np.random.Generator) -> LabeledImages:
        """Return at most `most` images, chosen at random, in their order."""
        rows = np.sort(rng.permutation(len(self.labels))[:most])
        return LabeledImages(self.pixels[rows], self.labels[rows])

    @property
    def values(self) -> Floats:
        """Pixels from 0 to 1, one row an image."""
        return self.pixels.reshape(len(self.pixels), -1).astype(np.float64) / 255


@dataclass(frozen=True, slots=True, eq=False)
class ComparedImages:
    """The images of a synthetic table beside real ones.

    Attributes:
        column: the column of images, with its public description.
        training: images that the model was trained on, the first of every patient who has any.
        held_out: images of patients whom it never saw.
        synthetic: images of the table under test.
    """

    column: Image
    training: LabeledImages
    held_out: LabeledImages
    synthetic: LabeledImages

    @classmethod
    def of(cls, study: Study, tables: Iterable[pd.DataFrame], cells: Iterable[Iterable[str]]) -> ComparedImages | None:
        """Return the images of a study; None for a study without.

        Args:
            study: names the column of images and the classes.
            tables: conformed rows: training, held-out, synthetic.
            cells: the cells of images of the same rows, in which pixels stand.
        """
        if not study.images:
            return None
        column, target = study.images[0], study.table[study.evaluation.target]
        training, held_out, synthetic = (
            labeled(table[target.name], texts, target.labels, column)
            for table, texts in zip(tables, cells, strict=True)
        )
        return cls(column, training, held_out, synthetic)


def labeled(classes: pd.Series, cells: Iterable[str], labels: tuple[str, ...], image: Image) -> LabeledImages:
    """Return the first image of every row that has one, with its class.

    Args:
        classes: conformed classes of the rows.
        cells: their cells of images.
        labels: the classes in order.
        image: the column of images.
    """
    pixels, numbers = [], []
    for label, cell in zip(classes, cells, strict=True):
        images = pixels_of(cell, image.size)
        if images and label in labels:
            pixels.append(images[0])
            numbers.append(labels.index(label))
    stacked = np.stack(pixels) if pixels else np.empty((0, *image.size), dtype=np.uint8)
    return LabeledImages(stacked, np.array(numbers, dtype=np.int64))
