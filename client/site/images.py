"""The image files of a hospital: read into the table at its import, and what a study takes from them.

The pixels stand in the cells of the frozen table, so that its digest covers them. The agent opens no image file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256

import numpy as np
import pandas as pd

from client.site.config import Site
from client.site.imported import Imported
from common.columns.cells import count_rows
from common.errors import DataError, SiteError
from common.images.cells import pixels_of
from common.study.study import Study
from common.tables.image_files import ImageColumn
from common.tables.parts import Part, PlainCells
from common.tables.patients import first_rows
from common.tables.raw import near_name


class SiteImages:
    """Reads the image files of a table while it is imported.

    Args:
        site: its `images` says which columns name files, and how these are read.
    """

    def __init__(self, site: Site) -> None:
        self._columns = {name: ImageColumn(name, files, site.name) for name, files in site.images.items()}
        for name, files in site.images.items():
            if not files.folder.is_dir():
                raise SiteError(f"[images.{name}] folder '{files.folder}' is no folder; correct it in site.toml")

    def embedded(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Yield the parts of a table with pixels in place of paths; each row counts, also one of a patient seen before.

        Raises:
            SiteError: the table has no such column.
            DataError: a file cannot be read as declared; the text names column and row.
        """
        for part in parts:
            columns = dict(part.columns)
            for name, column in self._columns.items():
                if name not in columns:
                    raise SiteError(
                        f"[images.{name}]: the table has no column '{name}'; {near_name(name, list(columns))}"
                    )
                columns[name] = PlainCells.of(column.texts(part.cells(name)))
            yield Part(part.rows, columns)

    @property
    def read(self) -> int:
        """How many images were read."""
        return sum(column.images for column in self._columns.values())

    def notices(self) -> list[str]:
        """Return what a person at the hospital should know about the files, with exact counts."""
        return [line for column in self._columns.values() for line in column.notices()]


def declared_digest(site: Site) -> str:
    """Return the digest of what site.toml declares about image files; empty where it declares none."""
    declared = {name: files.model_dump(mode="json") for name, files in sorted(site.images.items())}
    return sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest() if declared else ""


def image_notices(site: Site, imported: Imported, study: Study, raw: pd.DataFrame) -> list[str]:
    """Return what a study takes from images and how their files were read, with exact counts: for the hospital only.

    Args:
        site: the site.
        imported: description of the latest import.
        study: the study; without a column of images there is nothing to say.
        raw: the frozen table.

    Raises:
        DataError: no cell of the column holds an image of the study's size.
    """
    if not study.images:
        return []
    notices = [*_taken_notices(site, study, raw), *imported.images_found.splitlines()]
    if imported.images != declared_digest(site):
        notices.append(
            "[images] of site.toml was changed since the table was imported; run `fedsynth site import --replace`"
        )
    return notices


def _taken_notices(site: Site, study: Study, raw: pd.DataFrame) -> list[str]:
    """Return what a study takes from images, as `image_notices`, whose arguments and errors these are."""
    image, rows = study.images[0], first_rows(raw, site.patient_column)
    numbers = np.array([len(pixels_of(cell, image.size)) for cell in rows[image.name]], dtype=np.int64)
    if not numbers.any():
        raise DataError(
            f"{site.name}: no cell of column '{image.name}' holds an image of {image.size[0]} x {image.size[1]} "
            f"pixels; declare [images.{image.name}] with folder and size in site.toml, and run `fedsynth site import "
            "--replace`"
        )
    kept = np.minimum(numbers, image.most_images)
    notices = [
        f"column '{image.name}': {int((kept > 0).sum())} of {count_rows(len(rows))} have an image, {int(kept.sum())} "
        f"images in all. The study takes {image.frequencies} numbers of an image; all images of a "
        f"{study.privacy.unit} together change a sum by at most 1 in length, before noise is added"
    ]
    target = study.table[study.evaluation.target]
    classes = target.conform(rows[target.name].tolist())
    empty = [label for label in target.labels if not (kept[classes == label] > 0).any()]
    if empty:
        notices.append(
            f"column '{image.name}': no image here is of {target.name} {', '.join(empty)}; if no hospital has any, "
            "synthetic images of this class are noise, and the study should leave it out"
        )
    return notices
