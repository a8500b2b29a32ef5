"""A small study of images in three hospitals, and tables of invented images for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from client.shard import Shard
from common.evaluation.statistics.images import ComparedImages
from common.images.cells import Pixels, pixels_text
from common.study.study import Study, parse_study

STUDY = """
[study]
name = "films"
seed = 3
[[schema.columns]]
name = "ill"
kind = "categorical"
categories = ["no", "yes"]
[[schema.columns]]
name = "film"
kind = "image"
size = [8, 10]
frequencies = 10
scores = 2
most_images = 3
contrast = 0.3
[[hospitals]]
name = "north"
declared_rows = 100
[[hospitals]]
name = "south"
declared_rows = 100
[[hospitals]]
name = "west"
declared_rows = 100
[privacy]
epsilon = 3.0
noise = "distributed"
[evaluation]
target = "ill"
holdout_fraction = 0.0
"""

SIZE = (8, 10)
"""Rows and columns of pixels of its images."""

KEY = b"a key of the holdout for tests.."


def images_study(**sections: dict[str, Any]) -> Study:
    """Return the study, with some keys of some sections replaced."""
    return parse_study(STUDY).amended(**sections)


def invented_image(label: str, rng: np.random.Generator) -> Pixels:
    """Return a noisy image that is brighter on the left for one class and on the right for the other."""
    slope = np.linspace(-60, 60, 10) * (1 if label == "yes" else -1)
    return np.clip(128 + slope + rng.normal(0, 25, (8, 10)), 0, 255).astype(np.uint8)


def images_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a raw table of patients with one image each."""
    rng = np.random.default_rng(seed)
    labels = [str(label) for label in rng.choice(["no", "yes"], rows)]
    return pd.DataFrame(
        {"ill": labels, "film": [pixels_text([invented_image(label, rng)]) for label in labels]}, dtype=object
    )


def compared_images() -> ComparedImages:
    """Return invented images of training patients, of held-out patients, and synthetic ones."""
    rows = [images_table(count, seed) for seed, count in enumerate((60, 40, 50))]
    compared = ComparedImages.of(images_study(), rows, [table["film"] for table in rows])
    assert compared is not None, "a study of images"
    return compared


def row_of(label: str, images: Sequence[Pixels]) -> pd.DataFrame:
    """Return a raw table of one patient with these images."""
    return pd.DataFrame({"ill": [label], "film": [pixels_text(images)]}, dtype=object)


def shard_of(raw: pd.DataFrame, study: Study) -> Shard:
    """Return the records of a raw table."""
    return Shard(raw, study, key=KEY)
