"""What a run releases beside its model: the synthetic table, and for a study of images one file for each of its rows.

All of it is post-processing of the released sums.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.images.cells import Pixels
from common.images.png import png_of
from common.model import Model
from common.planning.images import image_model
from common.planning.phases import PublicRun
from common.seeds import seed_for
from common.tables.conforming import format_table

IMAGES = "images"
"""Folder of images beside a synthetic table."""

TABLES = ("synthetic.csv", "visits.csv", "patients.csv")
"""Names of a run's tables."""


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every table in a run's folder, and of its images (`digest_of_images`), by name."""
    files = {name: sha256_of(folder / name) for name in TABLES if (folder / name).is_file()}
    if any(folder.glob(f"{IMAGES}/*.png")):
        files[IMAGES] = digest_of_images(folder, IMAGES)
    return files


def digest_of_images(folder: Path, images: str) -> str:
    """Return the SHA-256 of the lines that `sha256sum images/*` prints: `sha256sum images/* | sha256sum` gives it.

    Args:
        folder: the folder of the table.
        images: the folder of its images, relative to `folder`.
    """
    paths = sorted((folder / images).glob("*.png"))
    lines = "".join(f"{sha256_of(path)}  {images}/{path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class DrawnImages:
    """The images of a synthetic table.

    Attributes:
        folder: where they are written, from the folder of the table.
        column: name of the column of images.
        rows: the rows that have an image.
        pixels: their images, (images, rows of pixels, columns of pixels).
    """

    folder: str
    column: str
    rows: tuple[int, ...]
    pixels: Pixels

    def path(self, row: int) -> str:
        """Return the path of a row's image, from the folder of the table."""
        return f"{self.folder}/{row + 1:06d}.png"

    def files(self) -> dict[str, bytes]:
        """Return every file by its path."""
        return {self.path(row): png_of(image) for row, image in zip(self.rows, self.pixels, strict=True)}


def draw_images(
    model: Model | PublicRun, frame: pd.DataFrame, seed: int, *, folder: str = IMAGES
) -> DrawnImages | None:
    """Return an image for every row that has one: of the row's class, and with its scores; None without images.

    Args:
        model: the trained model, or the run that released its sums.
        frame: a conformed table drawn from it.
        seed: the same seed gives the same images.
        folder: where the images will be written, from the folder of the table.
    """
    public = PublicRun(model.study, model.plan, model.released)
    images = image_model(public)
    if images is None:
        return None
    column, target = model.study.images[0], model.study.evaluation.target
    scores = column.scores_in(frame)
    rows = np.flatnonzero(~np.isnan(scores[:, 0]))
    labels = public.encoder.encode(frame)[:, model.study.table.names.index(target)].astype(np.int64)
    pixels = images.draw(labels[rows], scores[rows], np.random.default_rng(seed_for(seed, "images")))
    return DrawnImages(folder, column.name, tuple(rows.tolist()), pixels)


def written_table(model: Model | PublicRun, frame: pd.DataFrame, images: DrawnImages | None) -> pd.DataFrame:
    """Return a drawn table as text, with the paths of its images.

    Args:
        model: the trained model, or the run that released its sums.
        frame: the conformed table.
        images: the images of its rows; None for none.
    """
    raw = format_table(frame, model.study.table)
    if images is not None:
        paths = np.full(len(raw), "", dtype=object)
        for row in images.rows:
            paths[row] = images.path(row)
        raw[images.column] = paths
    return raw
