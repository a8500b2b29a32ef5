"""The tables of a benchmark of augmentation: those of other benchmarks, and the built-in studies of images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.images.cells import pixels_of
from common.study.study import Study
from simulations.benchmark.selection import TableSelection
from simulations.benchmark.tables import LoadedTable, TableSource, pooled
from simulations.image_studies.studies import TABLES, image_study


@dataclass(frozen=True, slots=True)
class ImageTable:
    """The patients of a built-in study of images, with the pixels in the cells."""

    name: str
    has_sites: bool = True

    def load(self) -> LoadedTable:
        """Return the patients of all hospitals. Raises `DataError` where the images are not there."""
        return LoadedTable(pooled(TABLES[self.name]()), image_study(self.name))


def sources_of(selection: TableSelection) -> list[TableSource]:
    """Return the selected tables, of which names may also be those of studies of images. Raises as `selection` does."""
    images: list[TableSource] = [ImageTable(name) for name in selection.names if name in TABLES]
    if not images or selection.study is not None or selection.target is not None:
        return selection.sources()
    others = tuple(name for name in selection.names if name not in TABLES)
    return [*images, *(replace(selection, names=others).sources() if others else [])]


def frequencies_of(raw: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the low frequencies of every row's first image as features; no column for a study without images.

    Args:
        raw: raw rows with pixels in the cells.
        study: says which column holds images.
    """
    features: dict[str, Floats] = {}
    for image in study.images:
        pixels = np.stack([pixels_of(cell, image.size)[0] for cell in raw[image.name]])
        low = image.transform.describe(pixels)[:, : image.frequencies]
        features |= {f"{image.name}: frequency {number + 1}": low[:, number] for number in range(low.shape[1])}
    return pd.DataFrame(features, index=raw.index)
