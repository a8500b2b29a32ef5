"""DICOM files as gray images. Only what is needed to show the pixels is read; no tag reaches a table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from common.arrays import Floats
from common.images.cells import Pixels
from common.images.png import MOST_PIXELS
from common.tables.extras import load
from common.tables.image_settings import ImageFiles, ImageProblem, Picture, damage_refused, levels_to_pixels

TAGS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "RescaleSlope", "RescaleIntercept",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "BurnedInAnnotation", "Modality", "SharedFunctionalGroupsSequence",
)  # fmt: skip
"""What is read of a file: nothing that names a person, a place or a time."""

DEFLATED = "1.2.840.10008.1.2.1.99"
"""Transfer syntax that unpacks a whole file at once, to any size."""

PREAMBLE, MARK = 128, b"DICM"
"""Bytes before the mark of a DICOM file, and the mark."""

WITH_TEXT = frozenset({"", "DOC", "ES", "GM", "OT", "RF", "SC", "US", "XA", "XC"})
"""Modalities whose pixels often hold text; "" stands for a file that names none."""

BURNT_IN = "say that text is burnt into their pixels (BurnedInAnnotation)"
MAYBE_BURNT_IN = "do not say whether text is burnt into their pixels, and images of their modality often hold some"


def is_dicom(file: Path) -> bool:
    """Return whether a file, of any name, has the mark of a DICOM file."""
    try:
        with file.open("rb") as opened:
            return opened.read(PREAMBLE + len(MARK))[PREAMBLE:] == MARK
    except OSError:
        return False


def read_dicom(file: Path, frame: int | None, files: ImageFiles) -> Picture:
    """Return one frame of a DICOM file as gray pixels, as its window shows them.

    Stored values are rescaled, then cut to the declared window, else to the file's first one, else to all values that
    its bits can hold. MONOCHROME1 is turned round, so that white is what MONOCHROME2 shows white.

    Args:
        file: the file.
        frame: number of the frame, from 0; None for the only one.
        files: what is declared about the files.

    Raises:
        ImageProblem: it cannot be read, has several frames and none is named, or has another form.
        DataError: the library that reads it is not installed.

    Source: DICOM PS3.3 2024, C.7.6.3 (image pixel), C.11.1 (rescale) and C.11.2 (window).
    """
    pydicom = load("pydicom", "images")
    with damage_refused("is a DICOM file", "save it again, uncompressed"):
        if pydicom.filereader.read_file_meta_info(file).get("TransferSyntaxUID") == DEFLATED:
            raise ImageProblem("is a deflated DICOM file; save it uncompressed")
        dataset = pydicom.dcmread(file, specific_tags=list(TAGS))
        index = _frame(dataset, frame)
        pixels = load("pydicom.pixels", "images").pixel_array(dataset, index=index)
        return Picture(_gray(dataset, pixels, files), _warning(dataset))


def _frame(dataset: Any, frame: int | None) -> int:
    """Return the number of the frame to read, before anything is unpacked."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    if "SharedFunctionalGroupsSequence" in dataset:
        raise ImageProblem("is an enhanced DICOM file, with values for each frame; save its frames as classic ones")
    if int(dataset.Rows) * int(dataset.Columns) > MOST_PIXELS:
        raise ImageProblem(f"is an image of more than {MOST_PIXELS} pixels; scale it")
    if frame is None and frames > 1:
        raise ImageProblem("is a file of several frames; name one by its number from 0, as in a.dcm#0")
    if frame is not None and not frame < frames:
        raise ImageProblem("names no frame of its file; write the file and a number from 0, as in a.dcm#0")
    return frame or 0


def _gray(dataset: Any, pixels: np.ndarray[Any, Any], files: ImageFiles) -> Pixels:
    photometric = str(dataset.PhotometricInterpretation)
    if pixels.ndim == 3 and pixels.dtype == np.uint8 and photometric != "PALETTE COLOR":
        return files.from_color(pixels)
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or pixels.ndim != 2:
        raise ImageProblem("is a DICOM file of another form than gray or 8 bits of color; convert it")
    slope, intercept = (float(dataset.get(key, usual)) for key, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise ImageProblem("is a DICOM file whose rescaling is no number, or 0; correct RescaleSlope and its intercept")
    levels = _levels(dataset, pixels * slope + intercept, files, (slope, intercept))
    return levels_to_pixels(1 - levels if photometric == "MONOCHROME1" else levels)


def _levels(dataset: Any, values: Floats, files: ImageFiles, rescale: tuple[float, float]) -> Floats:
    """Return levels from 0 to 1, and beyond for what the window cuts.

        LINEAR:        (x - (c - 1/2)) / (w - 1) + 1/2
        LINEAR_EXACT:  (x - c) / w + 1/2
        SIGMOID:       1 / (1 + exp(-4 (x - c) / w))

    Args:
        dataset: gives window and bits.
        values: x, rescaled.
        files: its window comes first.
        rescale: slope and intercept.
    """
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if files.window is not None:
        low, high = files.window
    elif center is not None and width is not None and width >= 1:
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500))))
        exact = function == "LINEAR_EXACT"
        half = width / 2 if exact else max(width - 1, 1e-9) / 2
        middle = center if exact else center - 0.5
        low, high = middle - half, middle + half
    else:
        bits, is_signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
        low, high = sorted(end * rescale[0] + rescale[1] for end in ends)
    return np.asarray((values - low) / max(high - low, 1e-12), dtype=np.float64)


def _first(value: Any) -> float | None:
    """Return the first of a tag's numbers; None where it has none that is finite."""
    if value is None or value == "":
        return None
    number = float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    return number if math.isfinite(number) else None


def _warning(dataset: Any) -> str:
    """Return what a person should know about text in the pixels; nothing of the file is repeated."""
    burnt_in = str(dataset.get("BurnedInAnnotation") or "").upper()
    if burnt_in == "YES":
        return BURNT_IN
    return MAYBE_BURNT_IN if burnt_in != "NO" and str(dataset.get("Modality") or "").upper() in WITH_TEXT else ""
