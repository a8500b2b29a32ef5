"""Image files of other programs, written with the libraries that read them: DICOM and NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SECRET = "canary-7"
"""Stands in tags that name a person; it must reach no table and no message."""


def write_dicom(path: Path, stored: npt.NDArray[Any], *, is_enhanced: bool = False, **tags: object) -> None:
    """Write a DICOM file with a patient's name.

    Args:
        path: file to write.
        stored: stored values, (rows, columns), or (frames, rows, columns) where `NumberOfFrames` is among the tags;
            with three samples a pixel the last axis is that of colors.
        is_enhanced: add values for each frame.
        tags: more tags, or others than those of a plain gray file, by keyword.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    is_color = tags.get("SamplesPerPixel") == 3
    rows, columns = stored.shape[-3:-1] if is_color else stored.shape[-2:]
    bits = stored.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    usual: dict[str, object] = {
        "PatientName": SECRET,
        "PatientID": SECRET,
        "StudyDescription": SECRET,
        "Modality": "DX",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "PixelData": stored.tobytes(),
    }
    for keyword, value in (usual | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    if is_enhanced:
        dataset.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    dataset.save_as(path, enforce_file_format=True)


def write_nifti(path: Path, values: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None) -> None:
    """Write a NIfTI volume, whose axes lie as `affine` says: right, front, head unless it is given."""
    import nibabel

    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)  # type: ignore[no-untyped-call]
    image.header["descrip"] = SECRET.encode()
    nibabel.save(image, path)
