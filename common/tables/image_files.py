"""Image files of a table: the paths in a column of images become the pixels themselves, strictly, at the hospital.

Only gray pixels are kept: what a file says besides, such as names or dates, is not read into the table. Messages name
column, row and limit, and no cell.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.columns.cells import is_missing
from common.columns.image import Image
from common.errors import DataError
from common.images.cells import BETWEEN, Pixels, pixels_of, pixels_text
from common.images.png import MOST_PIXELS, pixels_of_png
from common.tables.extras import load

ENTRY = "#"
"""Before the number of an image in a NumPy archive, from 0: `films.npz#17`."""

MOST_PROBLEMS = 20
"""Problems that are listed of one column."""

MOST_DIGITS = 12
"""Most digits of the number of an image in an archive."""

MOST_BYTES = 2**31
"""Most bytes of an archive's images once they are unpacked: a small file may hold far more than memory does."""


class ImageProblem(Exception):
    """Why a file cannot be read as an image, as the rest of a sentence."""


def read_images(raw: pd.DataFrame, images: Iterable[Image], folder: Path, name: str) -> pd.DataFrame:
    """Return the table with pixels in place of paths; a table whose cells hold pixels is returned as it is.

    Args:
        raw: a raw table.
        images: the columns of images.
        folder: paths are relative to it, and stay inside it.
        name: name of the table, for messages.

    Raises:
        DataError: one line for each problem: a file is missing, outside the folder, cannot be read, has another size,
            several channels or frames, or a row has more images than allowed, or none.
    """
    for image in images:
        if image.name in raw.columns:
            raw = raw.assign(**{image.name: _embedded(raw[image.name].tolist(), image, folder, name)})
    return raw


def _embedded(cells: list[str], image: Image, folder: Path, name: str) -> list[str]:
    files, texts, problems = Files(folder, image.size), [], []
    for row, cell in enumerate(cells):
        if pixels_of(cell, image.size):
            texts.append(cell)
            continue
        try:
            texts.append(_pixels_in(cell, image, files))
        except ImageProblem as problem:
            problems.append(f"{name}: column '{image.name}', row {row + 1} {problem}")
    if problems:
        more = [f"{name}: and {len(problems) - MOST_PROBLEMS} rows more"] * (len(problems) > MOST_PROBLEMS)
        raise DataError("\n".join([*problems[:MOST_PROBLEMS], *more]))
    return texts


def _pixels_in(cell: str, image: Image, files: Files) -> str:
    paths = [path.strip() for path in cell.split(BETWEEN) if not is_missing(path)]
    if not paths and not image.missing:
        raise ImageProblem("has no image; set missing = true, or leave the row out")
    if len(paths) > image.most_images:
        raise ImageProblem(
            f"has {len(paths)} images, more than most_images = {image.most_images}; choose some, or raise it"
        )
    return pixels_text([files.read(path) for path in paths])


class Files:
    """Reads the image files of one table; an archive is opened once.

    Args:
        folder: paths are relative to it.
        size: rows and columns of pixels that every image must have.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._folder, self._size = folder.resolve(), size
        self._archives: dict[Path, Any] = {}

    def read(self, path: str) -> Pixels:
        """Return the pixels of a file. Raises `ImageProblem` for one that is no gray image of the size."""
        name, _, entry = path.partition(ENTRY)
        file = self._file(name)
        reader = READERS.get(file.suffix.lower())
        if reader is None:
            raise ImageProblem(f"names a file of an unknown format; save it as {', '.join(READERS)}")
        pixels = self._of_archive(file, entry) if file.suffix.lower() == ".npz" else reader(file)
        if pixels.shape != self._size:
            rows, columns = pixels.shape[:2]
            wanted = f"{self._size[0]} x {self._size[1]}"
            raise ImageProblem(f"is an image of {rows} x {columns} pixels, and size is {wanted}; scale it")
        return pixels

    def _file(self, name: str) -> Path:
        """Return the file of that name inside the folder; no error repeats the name, which may be pixels."""
        try:
            file = (self._folder / name).resolve()
            is_file = file.is_file()
        except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a character that no name has
            size = f"{self._size[0]} x {self._size[1]}"
            raise ImageProblem(
                f"holds neither a path nor an image of {size} pixels; correct the path, or scale the image"
            ) from None
        if not file.is_relative_to(self._folder):
            raise ImageProblem("names a file outside the table's folder; copy it there")
        if not is_file:
            raise ImageProblem("names a file that is not there; correct the path, relative to the table's folder")
        return file

    def _of_archive(self, file: Path, entry: str) -> Pixels:
        images = self._archives.get(file)
        if images is None:
            images = self._archives[file] = _archive(file)
        if not entry.isdecimal() or len(entry) > MOST_DIGITS or int(entry) >= len(images):
            raise ImageProblem("names no image of its archive; write the file and its number from 0, as in a.npz#0")
        return np.asarray(images[int(entry)])


DAMAGE = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for a damaged archive."""


def _archive(file: Path) -> Pixels:
    """Return the images of a NumPy archive: its only array, or that named `images`."""
    names: list[str] = []
    try:
        with zipfile.ZipFile(file) as opened:
            if sum(member.file_size for member in opened.infolist()) > MOST_BYTES:
                raise ImageProblem(f"names an archive of more than {MOST_BYTES // 2**20} MiB unpacked; split it")
        with np.load(file, allow_pickle=False) as archive:
            names = list(archive.keys())
            images = archive["images" if "images" in names else names[0]] if names else None
    except DAMAGE as problem:
        raise ImageProblem(f"names an archive that cannot be read ({type(problem).__name__}); save it again") from None
    if images is None or (len(names) > 1 and "images" not in names):
        raise ImageProblem("names an archive of several arrays; call that of the images 'images'")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 3:
        raise ImageProblem("names an archive whose array is not uint8 of (images, rows, columns); convert it")
    return np.asarray(images, dtype=np.uint8)


def _png(file: Path) -> Pixels:
    """Return a PNG file as gray pixels; one that this project wrote needs no library."""
    try:
        pixels = pixels_of_png(file.read_bytes())
    except OSError as problem:
        raise ImageProblem(f"is a file that cannot be read ({type(problem).__name__}); save it again") from None
    return _picture(file) if pixels is None else pixels


def _picture(file: Path) -> Pixels:
    """Return a PNG or JPEG file as gray pixels. Its metadata is dropped."""
    pillow = load("PIL.Image", "images")
    try:
        with pillow.open(file, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MOST_PIXELS:  # before anything is unpacked
                raise ImageProblem(f"is an image of more than {MOST_PIXELS} pixels; scale it")
            if getattr(picture, "n_frames", 1) > 1:
                raise ImageProblem("is a file of several frames; save each as a file of its own")
            if picture.mode not in ("L", "1"):
                raise ImageProblem(f"is an image of mode {picture.mode}, not 8 bits of gray; convert it")
            return np.asarray(picture.convert("L"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, pillow.DecompressionBombError) as problem:
        raise ImageProblem(f"is a file that cannot be read ({type(problem).__name__}); save it again") from None


READERS: dict[str, Callable[[Path], Pixels]] = {
    ".png": _png,
    ".jpg": _picture,
    ".jpeg": _picture,
    ".npz": _archive,
}
"""What reads a file of that suffix."""
