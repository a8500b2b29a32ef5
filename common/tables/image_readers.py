"""Readers of image files by their format: PNG, JPEG, NumPy archives, DICOM, NIfTI.

Only pixels are taken of a file, in the order in which it stores them: metadata that turn a picture are ignored.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.images.cells import Pixels
from common.images.png import MOST_PIXELS, pixels_of_png
from common.tables.dicom import is_dicom, read_dicom
from common.tables.extras import load
from common.tables.image_settings import MOST_BYTES, ImageFiles, ImageProblem, Picture, damage_refused
from common.tables.nifti import read_nifti

Reader = Callable[[Path, int | None, ImageFiles], Picture]
"""Returns the image of a file: its frame, slice or entry of that number from 0, None where the cell names none."""

GRAY, DEEP = ("L", "LA", "1"), ("I", "I;16", "I;16B", "I;16L")
"""Modes of pictures in Pillow: at most 8 bits of gray, and more bits of gray. All others are in color."""

OPAQUE = 255
"""Alpha of a pixel that hides what is behind it."""


def reader_of(file: Path) -> Reader:
    """Return what reads a file that is no archive, by the end of its name; a DICOM file may have any other.

    Raises:
        ImageProblem: the file is of another format.
    """
    name = file.name.lower()
    reader = next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), None)
    if reader is None and not is_dicom(file):
        raise ImageProblem(f"names a file of an unknown format; save it as {', '.join((*READERS, ARCHIVE))}")
    return reader or read_dicom


def archive_of(file: Path) -> Pixels:
    """Return the images of a NumPy archive: its only array, or that named `images`."""
    names: list[str] = []
    with damage_refused("names an archive"):
        with zipfile.ZipFile(file) as opened:
            if sum(member.file_size for member in opened.infolist()) > MOST_BYTES:
                raise ImageProblem(f"names an archive of more than {MOST_BYTES // 2**20} MiB unpacked; split it")
        with np.load(file, allow_pickle=False) as archive:
            names = list(archive.keys())
            images = archive["images" if "images" in names else names[0]] if names else None
    if images is None or (len(names) > 1 and "images" not in names):
        raise ImageProblem("names an archive of several arrays; call that of the images 'images'")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 3:
        raise ImageProblem("names an archive whose array is not uint8 of (images, rows, columns); convert it")
    return np.asarray(images, dtype=np.uint8)


def entry_of(images: Pixels, number: int | None) -> Picture:
    """Return an image of an archive. Raises `ImageProblem` where there is none of that number."""
    if number is None or number >= len(images):
        raise ImageProblem("names no image of its archive; write the file and its number from 0, as in a.npz#0")
    return Picture(np.asarray(images[number]))


def _png(file: Path, number: int | None, files: ImageFiles) -> Picture:
    """Return a PNG file; one that this project wrote needs no library."""
    with damage_refused("is a file"):
        pixels = pixels_of_png(file.read_bytes()) if number is None else None
    return _picture(file, number, files) if pixels is None else Picture(pixels)


def _picture(file: Path, number: int | None, files: ImageFiles) -> Picture:
    """Return a PNG or JPEG file. Its metadata is dropped."""
    if number is not None:
        raise ImageProblem("names a part of a file that has none; leave the number out")
    pillow = load("PIL.Image", "images")
    with damage_refused("is a file"), pillow.open(file, formats=("PNG", "JPEG")) as picture:
        if picture.width * picture.height > MOST_PIXELS:  # before anything is unpacked
            raise ImageProblem(f"is an image of more than {MOST_PIXELS} pixels; scale it")
        if getattr(picture, "n_frames", 1) > 1:
            raise ImageProblem("is a file of several frames; save each as a file of its own")
        return Picture(_gray(picture, files))


def _gray(picture: Any, files: ImageFiles) -> Pixels:
    if picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema()[0] < OPAQUE:
        raise ImageProblem("is an image with transparent pixels; save it with an opaque background")
    if picture.mode in GRAY:
        return np.asarray(picture.convert("L"), dtype=np.uint8)
    if picture.mode not in DEEP:
        return files.from_color(np.asarray(picture.convert("RGB"), dtype=np.uint8))
    if files.window is None:
        raise ImageProblem(
            "is an image of 16 bits of gray; declare `window`, the values of black and white, in site.toml, or convert "
            "it to 8 bits"
        )
    return files.gray(np.asarray(picture), files.window)


READERS: dict[str, Reader] = {
    ".png": _png,
    ".jpg": _picture,
    ".jpeg": _picture,
    ".dcm": read_dicom,
    ".dicom": read_dicom,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
}
"""What reads a file of one image, of frames or of slices, by the end of its name."""

ARCHIVE = ".npz"
"""End of the name of a NumPy archive, which is opened once for all its images."""
