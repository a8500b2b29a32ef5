from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from common.tables import dicom
from common.tables.image_readers import reader_of
from common.tables.image_settings import ImageFiles, ImageProblem, Picture
from tests.testbeds.image_files import SECRET, write_dicom

pytest.importorskip("pydicom")

STORED = np.arange(72, dtype=np.uint16).reshape(8, 9)
"""Stored values 0, 1, 2, ..."""


def read(path: Path, stored: npt.NDArray[Any] = STORED, *, frame: int | None = None, **tags: Any) -> Picture:
    declared = {key: tags.pop(key) for key in ("window", "color") if key in tags}
    is_enhanced = bool(tags.pop("is_enhanced", False))
    write_dicom(path / "a.dcm", stored, is_enhanced=is_enhanced, **tags)
    files = ImageFiles.model_validate({"folder": path, "size": (8, 9), **declared})
    return reader_of(path / "a.dcm")(path / "a.dcm", frame, files)


class TestWindow:
    def test_linear_window_of_the_file(self, tmp_path: Path) -> None:
        pixels = read(tmp_path, WindowCenter=36, WindowWidth=72).pixels.ravel()
        # (x - 35.5) / 71 + 1/2: 0 is black, 71 white, 36 is 0.507 of white
        assert (pixels[0], pixels[36], pixels[71]) == (0, 129, 255)

    @pytest.mark.parametrize(
        ("function", "at_18"),
        [("LINEAR_EXACT", 64), ("SIGMOID", 69)],  # 18 / 72 = 1/4; 1 / (1 + e) = 0.269
    )
    def test_other_functions_of_the_file(self, tmp_path: Path, function: str, at_18: int) -> None:
        pixels = read(tmp_path, WindowCenter=36, WindowWidth=72, VOILUTFunction=function).pixels.ravel()
        assert pixels[18] == at_18

    def test_first_of_several_windows_counts(self, tmp_path: Path) -> None:
        pixels = read(tmp_path, WindowCenter=[36, 5], WindowWidth=[72, 2]).pixels.ravel()
        assert pixels[36] == 129

    def test_declared_window_comes_first_and_is_of_rescaled_values(self, tmp_path: Path) -> None:
        tags: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 36, "WindowWidth": 72}
        pixels = read(tmp_path, window=(-100, 0), **tags).pixels.ravel()  # 25 is -50, the middle
        assert (pixels[0], pixels[25], pixels[50], pixels[71]) == (0, 128, 255, 255)

    def test_all_values_of_the_bits_without_a_window(self, tmp_path: Path) -> None:
        assert read(tmp_path, STORED.astype(np.uint8)).pixels.ravel()[71] == 71
        signed = (STORED.astype(np.int16) - 36).astype(np.int8)
        assert read(tmp_path, signed).pixels.ravel()[36] == 128  # 0 of -128 to 127

    def test_inverted_gray_is_turned_round(self, tmp_path: Path) -> None:
        pixels = read(tmp_path, STORED.astype(np.uint8), PhotometricInterpretation="MONOCHROME1").pixels.ravel()
        assert (pixels[0], pixels[71]) == (255, 184)


class TestText:
    @pytest.mark.parametrize(
        ("tags", "warning"),
        [
            ({"BurnedInAnnotation": "YES"}, dicom.BURNT_IN),
            ({"BurnedInAnnotation": "NO", "Modality": "US"}, ""),
            ({"Modality": "US"}, dicom.MAYBE_BURNT_IN),
            ({"Modality": None}, dicom.MAYBE_BURNT_IN),
            ({"Modality": "CT"}, ""),
        ],
    )
    def test_burnt_in_text_is_warned_about(self, tmp_path: Path, tags: dict[str, Any], warning: str) -> None:
        assert read(tmp_path, **tags).warning == warning

    def test_no_tag_that_names_a_person_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pydicom

        seen = []
        honest = pydicom.dcmread

        def watched(*args: Any, **more: Any) -> Any:
            seen.append(honest(*args, **more))
            return seen[-1]

        monkeypatch.setattr(pydicom, "dcmread", watched)
        read(tmp_path)
        assert SECRET in str(honest(tmp_path / "a.dcm"))
        assert SECRET not in str(seen[0])


class TestForms:
    def test_a_named_frame_is_read_alone(self, tmp_path: Path) -> None:
        frames = np.stack([STORED, STORED + 10]).astype(np.uint8)
        assert read(tmp_path, frames, frame=1, NumberOfFrames=2).pixels[0, 0] == 10
        for frame, message in ((None, "several frames; name one"), (2, "names no frame")):
            with pytest.raises(ImageProblem, match=message):
                read(tmp_path, frames, frame=frame, NumberOfFrames=2)

    def test_color_is_converted_where_declared(self, tmp_path: Path) -> None:
        red = np.zeros((8, 9, 3), dtype=np.uint8)
        red[..., 0] = 200
        tags: dict[str, Any] = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        assert read(tmp_path, red, color="convert", **tags).pixels[0, 0] == 60  # 0.299 * 200
        with pytest.raises(ImageProblem, match="in color"):
            read(tmp_path, red, **tags)

    def test_files_without_an_ending_are_known_by_their_mark(self, tmp_path: Path) -> None:
        write_dicom(tmp_path / "IM0001", STORED)
        assert reader_of(tmp_path / "IM0001") is dicom.read_dicom

    def test_other_forms_and_damage_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ImageProblem, match="enhanced"):
            read(tmp_path, is_enhanced=True)
        with pytest.raises(ImageProblem, match="another form"):
            read(tmp_path, PhotometricInterpretation="PALETTE COLOR")
        with pytest.raises(ImageProblem, match="cannot be read") as caught:
            read(tmp_path, PixelData=STORED.tobytes()[:50])
        assert SECRET not in str(caught.value)
        (tmp_path / "b.dcm").write_bytes(b"no image")
        files = ImageFiles(folder=tmp_path, size=(8, 9))
        with pytest.raises(ImageProblem, match="cannot be read"):
            dicom.read_dicom(tmp_path / "b.dcm", None, files)
        monkeypatch.setattr(dicom, "MOST_PIXELS", 50)
        with pytest.raises(ImageProblem, match="more than 50 pixels"):
            read(tmp_path)

    @pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
    @pytest.mark.parametrize("slope", ["nan", "1e400", "0"])
    def test_rescaling_by_no_number_is_refused(self, tmp_path: Path, slope: str) -> None:
        with pytest.raises(ImageProblem, match="whose rescaling is no number, or 0"):
            read(tmp_path, RescaleSlope=slope)

    def test_deflated_files_are_not_unpacked(self, tmp_path: Path) -> None:
        import pydicom

        write_dicom(tmp_path / "a.dcm", STORED)
        dataset = pydicom.dcmread(tmp_path / "a.dcm")
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(tmp_path / "b.dcm")
        with pytest.raises(ImageProblem, match="deflated"):
            dicom.read_dicom(tmp_path / "b.dcm", None, ImageFiles(folder=tmp_path, size=(8, 9)))
