"""A slice of a NIfTI volume as a gray image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from common.tables.extras import load
from common.tables.image_settings import MOST_BYTES, ImageFiles, ImageProblem, Picture, damage_refused

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis along which slices of a plane follow each other: 0 to the right, 1 to the front, 2 to the head."""


def read_nifti(file: Path, number: int | None, files: ImageFiles) -> Picture:
    """Return a slice of a volume as gray pixels, in the way radiologists look at it.

    The file gives the direction of its axes in the patient; the axis nearest to that of the declared plane is taken.
    Head or front are above, and the patient's right is on the left. Values are cut to the declared window, else to the
    lowest and the highest value of this slice.

    Args:
        file: the file.
        number: number of the slice from 0, from left, back or foot; None takes the declared `slice`.
        files: what is declared about the files.

    Raises:
        ImageProblem: it cannot be read, is no single volume, or has no such slice.
        DataError: the library that reads it is not installed.
    """
    nibabel = load("nibabel", "images")
    with damage_refused("is a NIfTI file"):
        values = _slice_of(nibabel, nibabel.load(file), number, files)
    finite = values[np.isfinite(values)]
    window = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return Picture(files.gray(values, window))


def _slice_of(nibabel: Any, volume: Any, number: int | None, files: ImageFiles) -> np.ndarray[Any, Any]:
    shape = volume.shape
    if len(shape) < 3 or any(side != 1 for side in shape[3:]):
        raise ImageProblem("is a NIfTI file of no single volume; save the volume as a file of its own")
    if math.prod(shape) * 8 > MOST_BYTES:  # 8 bytes a number, once it is scaled
        raise ImageProblem(f"is a volume of more than {MOST_BYTES // 8} values; make it smaller")
    axes = nibabel.io_orientation(volume.affine)[:3]  # for each axis of the file: that of the patient, and its sign
    along = next(axis for axis in range(3) if axes[axis, 0] == PLANES[files.plane])
    index = round(files.slice * (shape[along] - 1)) if number is None else number
    if index >= shape[along]:
        raise ImageProblem("names no slice of its volume; write the file and a number from 0, as in a.nii.gz#0")
    chosen: list[Any] = [slice(None)] * 3 + [0] * (len(shape) - 3)
    chosen[along] = index if axes[along, 1] > 0 else shape[along] - 1 - index
    values = np.asarray(volume.dataobj[tuple(chosen)])
    if values.ndim != 2 or values.dtype.kind not in "iufb":
        raise ImageProblem("is a NIfTI file of color or of complex numbers; save one number for each place")
    first, second = (axis for axis in range(3) if axis != along)
    values = values[:: int(axes[first, 1]), :: int(axes[second, 1])]
    if axes[first, 0] > axes[second, 0]:
        values = values.T
    return np.asarray(values[::-1, ::-1].T, dtype=np.float64)
