"""Built-in studies of images, and the tables of their hospitals with the pixels in the cells."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.errors import DataError
from common.images.cells import Pixels, pixels_text
from common.study.study import Study, parse_study

DIGITS, CHEST_FILMS = "digits", "chest-films"
"""Names of the studies."""

HOSPITALS = ("north", "east", "south", "west")

FOLDER, FILMS = "FEDSYNTH_DATA", "pneumoniamnist.npz"
"""Environment variable with the folder of data that are not part of the project, and the file of films in it."""

BRIGHTEST = 16
"""Largest value of a pixel of the digits."""

Tables = dict[str, pd.DataFrame]


def image_study(name: str) -> Study:
    """Return a study of images by its name."""
    text = (resources.files("simulations") / "studies" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_study(text, source="the built-in study")


def image_tables(study: Study) -> Tables:
    """Return the tables of a built-in study of images.

    Raises:
        DataError: it is none of these, or its images are not there.
    """
    if study.name not in TABLES:
        raise DataError(f"study '{study.name}' has no built-in tables; give its table or folder as --data")
    return TABLES[study.name]()


def digit_tables() -> Tables:
    """Return the digits of four hospitals, in the order of the source, which is that of its writers."""
    from sklearn.datasets import load_digits

    source = load_digits()
    pixels = np.rint(source.images * (255 / BRIGHTEST)).astype(np.uint8)
    return _tables(pixels, source.target.astype(np.int64).astype(str), ("digit", "image"))


def film_tables(part: str = "train") -> Tables:
    """Return the chest films of four hospitals.

    Args:
        part: of the source: train, val or test.

    Raises:
        DataError: the environment names no folder that holds the films.
    """
    pixels, labels = chest_films(part)
    return _tables(pixels, np.where(labels == 1, "yes", "no"), ("pneumonia", "film"))


def chest_films(part: str) -> tuple[Pixels, Integers]:
    """Return films, uint8, and whether each shows pneumonia; the arguments and errors are those of `film_tables`."""
    file = Path(os.environ.get(FOLDER, "")) / FILMS
    if FOLDER not in os.environ or not file.is_file():
        raise DataError(f"the films are not part of this project: set {FOLDER} to a folder that holds {FILMS}")
    with np.load(file, allow_pickle=False) as archive:
        return archive[f"{part}_images"], archive[f"{part}_labels"].ravel().astype(np.int64)


def _tables(pixels: Pixels, labels: np.ndarray, columns: tuple[str, str]) -> Tables:
    """Return the images in four hospitals of about equal size, in the order in which they come.

    Args:
        pixels: the images.
        labels: class of each, as text.
        columns: names of the columns of classes and of images.
    """
    target, image = columns
    frame = pd.DataFrame(
        {target: labels.astype(object), image: [pixels_text([picture]) for picture in pixels]}, dtype=object
    )
    parts = np.array_split(np.arange(len(frame)), len(HOSPITALS))
    return {name: frame.iloc[part].reset_index(drop=True) for name, part in zip(HOSPITALS, parts, strict=True)}


TABLES: dict[str, Callable[[], Tables]] = {DIGITS: digit_tables, CHEST_FILMS: film_tables}
