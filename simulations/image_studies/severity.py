"""Invented patients whose truth is known: class, age and severity of a disease drive both the row and the image.

age      z ~ N(0, 1), age = 55 + 15 z
severity s = z / 2 + sqrt(3)/2 e
ill      yes with probability 1 / (1 + exp(-1.5 s))
lab      10 + 2 s + N(0, 1)
image    brightness 0.06 s, a slope of 0.08 z from above to below, one of 0.12 from left to right where ill,
         of -0.12 where not, and noise of 0.05 in every pixel, all as fractions of white around mid-gray
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.images.cells import pixels_text
from common.images.frequencies import Frequencies
from common.study.study import Study, parse_study
from simulations.image_studies.studies import HOSPITALS, Tables

SIZE = (16, 16)

STUDY = """
[study]
name = "severity"
[[schema.columns]]
name = "ill"
kind = "categorical"
categories = ["no", "yes"]
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 0
upper = 110
[[schema.columns]]
name = "severity"
kind = "numeric"
lower = -3
upper = 3
decimals = 1
[[schema.columns]]
name = "lab"
kind = "numeric"
lower = 0
upper = 20
decimals = 1
[[schema.columns]]
name = "film"
kind = "image"
size = [16, 16]
frequencies = 15
scores = 3
contrast = 0.25
[privacy]
epsilon = 3.0
delta = 1e-5
noise = "distributed"
[evaluation]
target = "ill"
holdout_fraction = 0.0
"""


def severity_study(*, seed: int, epsilon: float = 3.0, scores: int = 3) -> Study:
    """Return the study.

    Args:
        seed: of the study, and of the noise.
        epsilon: of every hospital.
        scores: how many scores of an image are numbers in its row.
    """
    text = STUDY.replace("scores = 3", f"scores = {scores}")
    return parse_study(text).amended(study={"seed": seed}, privacy={"epsilon": epsilon})


def severity_tables(patients: int = 500, *, seed: int = 0) -> Tables:
    """Return tables of four hospitals with this many patients each, and the pixels in the cells."""
    rng = np.random.default_rng(seed)
    return {name: _table(patients, rng) for name in HOSPITALS}


def _table(patients: int, rng: np.random.Generator) -> pd.DataFrame:
    z, e, noise = rng.standard_normal((3, patients))
    severity = z / 2 + np.sqrt(3) / 2 * e
    is_ill = rng.random(patients) < 1 / (1 + np.exp(-1.5 * severity))
    down, across = np.linspace(-1, 1, SIZE[0])[:, None], np.linspace(-1, 1, SIZE[1])[None, :]
    own = rng.standard_normal((3, patients)) / 2
    light, slope, tilt = 0.06 * (severity + own[0]), 0.08 * (z + own[1]), 0.12 * (np.where(is_ill, 1, -1) + own[2])
    planes = light[:, None, None] + slope[:, None, None] * down + tilt[:, None, None] * across
    planes = planes + 0.05 * rng.standard_normal((patients, *SIZE))
    pixels = np.clip(np.rint(255 * (planes + 0.5)), 0, 255).astype(np.uint8)
    return pd.DataFrame(
        {
            "ill": np.where(is_ill, "yes", "no"),
            "age": np.rint(np.clip(55 + 15 * z, 0, 110)).astype(int).astype(str),
            "severity": np.round(np.clip(severity, -3, 3), 1).astype(str),
            "lab": np.round(np.clip(10 + 2 * severity + noise, 0, 20), 1).astype(str),
            "film": [pixels_text([image]) for image in pixels],
        },
        dtype=object,
    )


def image_correlations(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]], rows: Floats) -> Floats:
    """Return the correlation of every leading score of the images with every number of their rows.

    Args:
        pixels: (images, rows, columns).
        rows: of class (0 or 1), age, severity and lab, (images, 4).

    Returns:
        Shape (3, 4): brightness, slope from left to right, slope from above to below.
    """
    transform = Frequencies(SIZE, 15)
    scores = transform.scores(transform.describe(pixels)[:, :15], 3)
    return np.asarray(np.corrcoef(scores.T, rows.T)[:3, 3:])
