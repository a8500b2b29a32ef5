"""Image files of a table: the paths in a column of images become the pixels themselves, strictly, at the hospital.

Only gray pixels are kept: what a file says besides, such as names or dates, is not read into the table. Messages name
column, row and limit, and no cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from common.columns.cells import is_missing
from common.columns.image import Image
from common.errors import DataError
from common.images.cells import BETWEEN, Pixels, pixels_of, pixels_text
from common.tables.image_readers import ARCHIVE, archive_of, entry_of, reader_of
from common.tables.image_settings import MOST_BYTES, ImageFiles, ImageProblem, Picture

ENTRY = re.compile(r"(.*)#(\d{1,12})", re.DOTALL)
"""A path with the number from 0 of an image in an archive, of a frame or of a slice: `films.npz#17`."""

MOST_ROWS = 5
"""Rows that are listed of one problem of a column."""


def read_images(raw: pd.DataFrame, images: Iterable[Image], folder: Path, name: str) -> pd.DataFrame:
    """Return the table with pixels in place of paths; a table whose cells hold pixels is returned as it is.

    Args:
        raw: a raw table.
        images: the columns of images.
        folder: paths are relative to it, and stay inside it.
        name: name of the table, for messages.

    Raises:
        DataError: as `ImageColumn.texts` raises it.
    """
    for image in images:
        if image.name in raw.columns:
            files = ImageFiles(folder=folder, size=image.size, most_images=image.most_images, missing=image.missing)
            texts = ImageColumn(image.name, files, name).texts(raw[image.name].tolist())
            raw = raw.assign(**{image.name: texts})
    return raw


class ImageColumn:
    """Reads the image files of one column, part by part; an archive is opened once, as long as memory holds it.

    Attributes:
        images: images that were read.
        warnings: for each warning of a reader the number of images, and the row of the first, from 1.

    Args:
        column: its name.
        files: what is declared about its files.
        name: name of the table, for messages.
    """

    def __init__(self, column: str, files: ImageFiles, name: str) -> None:
        self._column, self._files, self._name = column, files, name
        self._folder = files.folder.resolve()
        self._archives: dict[Path, Pixels] = {}
        self._rows = 0
        self.images = 0
        self.warnings: dict[str, tuple[int, int]] = {}

    def texts(self, cells: Sequence[str]) -> list[str]:
        """Return the cells of the next rows with pixels in place of paths.

        Raises:
            DataError: one line for each kind of problem, with its rows: a file is missing, outside the folder, cannot
                be read, has another size, color or several frames, or a row has more images than allowed, or none.
        """
        texts, problems = [], dict[str, list[int]]()
        for cell in cells:
            self._rows += 1
            try:
                texts.append(self._text(cell))
            except ImageProblem as problem:
                problems.setdefault(str(problem), []).append(self._rows)
        if problems:
            raise DataError("\n".join(self._lines(problem, rows) for problem, rows in problems.items()))
        return texts

    def _lines(self, problem: str, rows: Sequence[int]) -> str:
        """Return the line about a problem: its first row, and how many and which more have the same one."""
        more = ", ".join(map(str, rows[1:MOST_ROWS]))
        also = f" ({len(rows)} rows: also {more}{', ...' if len(rows) > MOST_ROWS else ''})" if more else ""
        return f"{self._name}: column '{self._column}', row {rows[0]} {problem}{also}"

    def notices(self) -> list[str]:
        """Return what a person at the hospital should know about the images, with exact counts."""
        return [
            f"column '{self._column}': {count} {'image' if count == 1 else 'images'}, first in row {row}, {warning}; "
            "look at them, and leave out what names a person"
            for warning, (count, row) in sorted(self.warnings.items())
        ]

    def _text(self, cell: str) -> str:
        held = pixels_of(cell, self._files.size)
        if held:
            self.images += len(held)
            return cell
        paths = [path.strip() for path in cell.split(BETWEEN) if not is_missing(path)]
        if not paths and not self._files.missing:
            raise ImageProblem("has no image; set missing = true, or leave the row out")
        if len(paths) > (most := self._files.most_images):
            raise ImageProblem(f"has {len(paths)} images, more than most_images = {most}; choose some, or raise it")
        return pixels_text([self._read(path) for path in paths])

    def _read(self, path: str) -> Pixels:
        """Return the pixels of a file. Raises `ImageProblem` for one that is no image of the declared form."""
        match = ENTRY.fullmatch(path)
        name, number = (path, None) if match is None else (match[1], int(match[2]))
        file = self._file(name)
        if file.name.lower().endswith(ARCHIVE):
            picture = self._of_archive(file, number)
        else:
            picture = reader_of(file)(file, number, self._files)
        if picture.warning:
            count, row = self.warnings.get(picture.warning, (0, self._rows))
            self.warnings[picture.warning] = count + 1, row
        pixels = self._files.fitted(picture.pixels)
        self.images += 1
        return pixels

    def _file(self, name: str) -> Path:
        """Return the file of that name inside the folder; no error repeats the name, which may be pixels."""
        try:
            file = (self._folder / name).resolve()
            is_file = file.is_file()
            is_large = is_file and file.stat().st_size > MOST_BYTES
        except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a character that no name has
            size = f"{self._files.size[0]} x {self._files.size[1]}"
            raise ImageProblem(
                f"holds neither a path nor an image of {size} pixels; correct the path, or scale the image"
            ) from None
        if not file.is_relative_to(self._folder):
            raise ImageProblem("names a file outside the folder of images; copy it there")
        if not is_file:
            raise ImageProblem(
                "names a file that is not there; correct the path: it starts at the table's folder, at a site at the "
                "folder that [images] names"
            )
        if is_large:
            raise ImageProblem(f"names a file of more than {MOST_BYTES // 2**20} MiB; split it")
        return file

    def _of_archive(self, file: Path, number: int | None) -> Picture:
        if file not in self._archives:
            archive = archive_of(file)
            if sum(held.nbytes for held in self._archives.values()) + archive.nbytes > MOST_BYTES:
                self._archives.clear()
            self._archives[file] = archive
        return entry_of(self._archives[file], number)
