from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from common.images.cells import Pixels
from common.tables import nifti
from common.tables.image_readers import reader_of
from common.tables.image_settings import ImageFiles, ImageProblem
from tests.testbeds.image_files import write_nifti

pytest.importorskip("nibabel")

X, Y, Z = np.indices((8, 9, 10))
"""Steps to the right, to the front and to the head."""


def read(
    path: Path, values: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None, **declared: object
) -> Pixels:
    number = declared.pop("number", None)
    assert number is None or isinstance(number, int)
    write_nifti(path / "a.nii.gz", values, affine)
    files = ImageFiles.model_validate({"folder": path, "size": (8, 9), "window": (0, 255), **declared})
    return reader_of(path / "a.nii.gz")(path / "a.nii.gz", number, files).pixels


class TestSlices:
    @pytest.mark.parametrize(
        ("plane", "shape", "up", "left"),
        [("axial", (9, 8), Y, X), ("coronal", (10, 8), Z, X), ("sagittal", (10, 9), Z, Y)],
    )
    def test_planes_lie_as_radiologists_look(
        self, tmp_path: Path, plane: str, shape: tuple[int, int], up: npt.NDArray[Any], left: npt.NDArray[Any]
    ) -> None:
        pixels = read(tmp_path, (10 * up + left).astype(np.int16), plane=plane)
        assert pixels.shape == shape
        # the highest value of both axes is above and on the left: of the front and the patient's right
        assert pixels[0, 0] == 10 * up.max() + left.max()
        assert (pixels[0, 0] - pixels[1, 0], pixels[0, 0] - pixels[0, 1]) == (10, 1)

    def test_slice_is_that_of_the_declared_part_or_number(self, tmp_path: Path) -> None:
        volume = (20 * Z).astype(np.int16)
        assert read(tmp_path, volume)[0, 0] == 80  # the middle of 0 to 9 is 4.5, rounded to the even 4
        assert read(tmp_path, volume, slice=1.0)[0, 0] == 180
        assert read(tmp_path, volume, number=2)[0, 0] == 40

    def test_axes_of_the_file_may_lie_otherwise(self, tmp_path: Path) -> None:
        volume = (20 * Z + X).astype(np.int16)
        # in the file: first axis to the foot, second to the left, third to the front
        turned = np.transpose(volume, (2, 0, 1))[::-1, ::-1]
        affine = np.zeros((4, 4))
        affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = -1, -1, 1, 1
        for number in (0, 7):
            expected = read(tmp_path, volume, number=number)
            assert (read(tmp_path, turned, affine, number=number) == expected).all()

    def test_range_of_the_slice_without_a_window(self, tmp_path: Path) -> None:
        volume = (X * 1000.0 - 500).astype(np.float32)
        volume[0, 0, :] = np.nan
        pixels = read(tmp_path, volume, window=None)
        assert (pixels[0, 0], pixels[0, -1], pixels[-1, -1]) == (255, 0, 0)


class TestProblems:
    def test_other_volumes_and_slices_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        volume = X.astype(np.int16)
        for values, number, message in (
            (volume[..., None].repeat(2, axis=3), None, "no single volume"),
            (volume[0], None, "no single volume"),
            (volume, 10, "names no slice"),
            (volume.astype(np.complex64), None, "complex numbers"),
        ):
            with pytest.raises(ImageProblem, match=message):
                read(tmp_path, values, number=number)
        monkeypatch.setattr(nifti, "MOST_BYTES", 8 * 100)
        with pytest.raises(ImageProblem, match="more than 100 values"):
            read(tmp_path, volume)

    def test_damage_is_refused(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "a.nii", X.astype(np.int16))
        content = (tmp_path / "a.nii").read_bytes()
        files = ImageFiles(folder=tmp_path, size=(8, 9))
        for damaged in (b"", b"no image", content[:400]):
            (tmp_path / "b.nii").write_bytes(damaged)
            with pytest.raises(ImageProblem, match="cannot be read"):
                nifti.read_nifti(tmp_path / "b.nii", None, files)
