"""Measure the images of a finished simulation against those of its hospitals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from common.columns.image import Image
from common.evaluation.images.evidence import ImageEvidence, LabeledImages, assess_images
from common.images.cells import pixels_of
from common.study.study import Study
from common.tables.formats import read_table
from common.tables.image_files import read_images
from simulations.federation.sites import Shards


def images_against_real(study: Study, out: Path, shards: Shards) -> ImageEvidence | None:
    """Return what the report says about images; None for a study without, or with too few of them.

    Args:
        study: study of the run.
        out: its folder, with the synthetic table and its images.
        shards: the records of each hospital.
    """
    if not study.images:
        return None
    image, opened = study.images[0], [open_shard() for open_shard in shards.values()]
    raw = read_images(read_table(out / "synthetic.csv"), study.images, out, "synthetic.csv")
    target = study.table[study.evaluation.target]
    synthetic = pd.DataFrame(target.read(raw[target.name].tolist())).assign(**{image.name: raw[image.name].to_numpy()})
    tables = [
        pd.concat([shard.training for shard in opened], ignore_index=True),
        pd.concat([shard.holdout for shard in opened], ignore_index=True),
        synthetic,
    ]
    cells = [
        np.concatenate([shard.training_images for shard in opened]),
        np.concatenate([shard.holdout_images for shard in opened]),
        raw[image.name].to_numpy(dtype=object),
    ]
    train, holdout, fake = (
        labeled(table[target.name], list(texts), target.labels, image)
        for table, texts in zip(tables, cells, strict=True)
    )
    return assess_images(train, holdout, fake, seed=study.seed)


def labeled(classes: pd.Series, cells: list[str], labels: tuple[str, ...], image: Image) -> LabeledImages:
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
