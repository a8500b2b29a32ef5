from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.columns.image import Image
from common.errors import DataError
from common.images.cells import Pixels, pixels_of, pixels_text
from common.images.png import png_of
from common.tables import image_files, image_readers
from common.tables.image_files import ImageColumn, read_images
from common.tables.image_settings import LUMA, ImageFiles

SIZE = (8, 9)
FILM = np.arange(72, dtype=np.uint8).reshape(SIZE)


def column(**settings: object) -> Image:
    return Image.model_validate({"name": "film", "size": list(SIZE), "frequencies": 10, **settings})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(png_of(FILM))
    (tmp_path / "small.png").write_bytes(png_of(FILM[:4]))
    (tmp_path / "text.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    (tmp_path / "page.txt").write_text("no image")
    np.savez(tmp_path / "films.npz", np.stack([FILM, 255 - FILM]))
    np.savez(tmp_path / "two.npz", a=FILM, b=FILM)
    np.savez(tmp_path / "wide.npz", images=np.zeros((2, *SIZE)))
    return tmp_path


def read(folder: Path, *cells: str, **settings: object) -> list[str]:
    raw = pd.DataFrame({"film": cells}, dtype=object)
    return read_images(raw, [column(**settings)], folder, "north")["film"].tolist()


class TestReading:
    def test_paths_become_pixels(self, folder: Path) -> None:
        cells = read(folder, "films/a.png", "films.npz#1", "films/a.png; films.npz#0", most_images=2)
        assert (pixels_of(cells[0], SIZE)[0] == FILM).all()
        assert (pixels_of(cells[1], SIZE)[0] == 255 - FILM).all()
        assert len(pixels_of(cells[2], SIZE)) == 2

    def test_pixels_stay(self, folder: Path) -> None:
        assert read(folder, pixels_text([FILM])) == [pixels_text([FILM])]

    def test_missing_images_stay_missing_where_allowed(self, folder: Path) -> None:
        assert read(folder, "", missing=True) == [""]

    def test_other_gray_files_are_read_with_pillow(self, folder: Path) -> None:
        pillow = pytest.importorskip("PIL.Image")
        pillow.fromarray(FILM).save(folder / "b.png", compress_level=1)
        pillow.fromarray(FILM).save(folder / "b.jpg", quality=95)
        first, second = (pixels_of(cell, SIZE)[0] for cell in read(folder, "b.png", "b.jpg"))
        assert (first == FILM).all()
        assert np.abs(second.astype(int) - FILM).max() < 12  # JPEG loses a little

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("", "has no image; set missing = true"),
            ("none.png", "a file that is not there"),
            ("../a.png", "outside the folder of images"),
            ("page.txt", "an unknown format; save it as .png, .jpg"),
            ("small.png", "an image of 4 x 9 pixels, and size is 8 x 9; scale it"),
            ("films/a.png;films/a.png", "has 2 images, more than most_images = 1"),
            ("films.npz#2", "no image of its archive"),
            ("films.npz", "no image of its archive"),
            ("films/a.png#0", "names a part of a file that has none; leave the number out"),
            ("two.npz#0", "several arrays"),
            ("wide.npz#0", "not uint8"),
        ],
    )
    def test_problems_name_column_and_row(self, folder: Path, cell: str, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            read(folder, "films/a.png", cell)
        assert str(caught.value).startswith("north: column 'film', row 2 ")

    @pytest.mark.parametrize(
        "cell", [pixels_text([np.zeros((28, 28), dtype=np.uint8)]), "a\0.png", "\ud800.png", "loop.png"]
    )
    def test_problems_never_repeat_a_cell(self, folder: Path, cell: str) -> None:
        (folder / "loop.png").symlink_to("loop.png")
        with pytest.raises(DataError, match=r"row 1 holds neither a path nor an image of 8 x 9 pixels") as caught:
            read(folder, cell)
        assert cell not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_links_out_of_the_folder_are_refused(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside") / "a.png"
        outside.write_bytes(png_of(FILM))
        (folder / "link.png").symlink_to(outside)
        with pytest.raises(DataError, match="outside the folder of images"):
            read(folder, "link.png")

    def test_damaged_archives_are_refused(self, folder: Path) -> None:
        (folder / "bad.npz").write_bytes(b"PK\x03\x04damaged")
        (folder / "empty.npz").write_bytes(b"")
        np.save(folder / "array.npy", np.stack([FILM]))
        (folder / "array.npy").rename(folder / "array.npz")
        np.savez(folder / "pickled.npz", images=np.array([{"a": 1}], dtype=object))
        with zipfile.ZipFile(folder / "text.npz", "w") as archive:
            archive.writestr("images", "no array")
        for name in ("bad", "empty", "array", "pickled"):
            with pytest.raises(DataError, match="an archive that cannot be read"):
                read(folder, f"{name}.npz#0")
        with pytest.raises(DataError, match="not uint8"):
            read(folder, "text.npz#0")
        with pytest.raises(DataError, match="holds neither a path"):
            read(folder, f"films.npz#{'1' * 5000}")

    @pytest.mark.parametrize("header", ["{[]: 1}", "{'descr': (((", "{'shape': (" + "9" * 30 + ",), 'descr': '|u1'}"])
    def test_crafted_headers_of_archives_are_refused(self, folder: Path, header: str) -> None:
        text = header.replace("}", ", 'fortran_order': False}") if "shape" in header else header
        content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        with zipfile.ZipFile(folder / "crafted.npz", "w") as archive:
            archive.writestr("images.npy", content)
        with pytest.raises(DataError, match="row 1 names an archive that cannot be read"):
            read(folder, "crafted.npz#0")

    def test_archives_are_not_kept_beyond_memory(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images = np.zeros((50, *SIZE), dtype=np.uint8)
        for name in ("one.npz", "other.npz"):
            np.savez_compressed(folder / name, images=images)
        monkeypatch.setattr(image_files, "MOST_BYTES", images.nbytes)
        opened, archive_of = list[str](), image_readers.archive_of

        def noted(file: Path) -> Pixels:
            opened.append(file.name)
            return archive_of(file)

        monkeypatch.setattr(image_files, "archive_of", noted)
        read(folder, "one.npz#0", "one.npz#1", "other.npz#0", "one.npz#2")
        assert opened == ["one.npz", "other.npz", "one.npz"]

    def test_huge_files_are_not_opened(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_files, "MOST_BYTES", 10)
        with pytest.raises(DataError, match="row 1 names a file of more than 0 MiB; split it"):
            read(folder, "films/a.png")

    def test_bombs_are_not_unpacked(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_readers, "MOST_BYTES", 1000)
        np.savez_compressed(folder / "bomb.npz", images=np.zeros((100, *SIZE), dtype=np.uint8))
        with pytest.raises(DataError, match="unpacked; split it"):
            read(folder, "bomb.npz#0")
        pillow = pytest.importorskip("PIL.Image")
        pillow.new("L", (5000, 4000)).save(folder / "bomb.png")
        monkeypatch.setattr(pillow.Image, "convert", lambda *_: pytest.fail("was unpacked"))
        with pytest.raises(DataError, match="more than 16777216 pixels; scale it"):
            read(folder, "bomb.png")

    def test_color_frames_and_damage_are_refused(self, folder: Path) -> None:
        pillow = pytest.importorskip("PIL.Image")
        pillow.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(folder / "color.png")
        frames = [pillow.fromarray(FILM), pillow.fromarray(255 - FILM)]
        frames[0].save(folder / "frames.png", save_all=True, append_images=frames[1:])
        for name, message in (
            ("color.png", "an image in color"),
            ("frames.png", "several frames"),
            ("text.png", "cannot be"),
        ):
            with pytest.raises(DataError, match=message):
                read(folder, name)


COLOR = np.stack([FILM, 2 * FILM, FILM], axis=2)
OPAQUE, CLEAR = np.full(SIZE, 255, dtype=np.uint8), np.arange(72, dtype=np.uint8).reshape(SIZE)
DEEP = FILM.astype(np.uint16) * 257  # 16 bits: level v of 255 is 257 v of 65,535
LUMA_OF_COLOR = np.rint(0.413 * FILM + 0.587 * 2 * FILM)  # .299 + .114 = .413


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        (COLOR, {}, 'in color; convert it to gray, or declare color = "convert"'),
        (COLOR, {"color": "convert"}, LUMA_OF_COLOR),
        (np.stack([FILM] * 3, axis=2), {"color": "convert"}, FILM),  # gray, saved with three equal channels
        (np.dstack([COLOR, OPAQUE]), {"color": "convert"}, LUMA_OF_COLOR),
        (np.dstack([COLOR, CLEAR]), {"color": "convert"}, "transparent pixels; save it with an opaque background"),
        (np.dstack([FILM, OPAQUE]), {}, FILM),
        (np.dstack([FILM, CLEAR]), {}, "transparent pixels; save it with an opaque background"),
        (DEEP, {}, "of 16 bits of gray; declare `window`, the values of black and white, in site.toml"),
        (DEEP, {"window": (0, 65535)}, FILM),
        (FILM > 35, {}, 255 * (FILM > 35)),  # one bit
    ],
)
def test_kinds_of_png_become_gray_or_are_refused(
    tmp_path: Path, values: np.ndarray, settings: dict[str, object], expected: np.ndarray | str
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(values).save(tmp_path / "a.png")
    column = ImageColumn("film", ImageFiles.model_validate({"folder": tmp_path, "size": SIZE, **settings}), "north")
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            column.texts(["a.png"])
    else:
        assert (pixels_of(column.texts(["a.png"])[0], SIZE)[0] == expected).all()


def test_palette_png_counts_as_color(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    palette = pillow.fromarray(COLOR).quantize(8)
    palette.save(tmp_path / "a.png")
    palette.save(tmp_path / "hole.png", transparency=0)
    files = ImageFiles(folder=tmp_path, size=SIZE)
    with pytest.raises(DataError, match="in color"):
        ImageColumn("film", files, "north").texts(["a.png"])
    column = ImageColumn("film", files.model_copy(update={"color": "convert"}), "north")
    gray = pixels_of(column.texts(["a.png"])[0], SIZE)[0]
    assert (gray == np.rint(np.asarray(palette.convert("RGB")) @ np.array(LUMA))).all()
    with pytest.raises(DataError, match="transparent pixels"):
        column.texts(["hole.png"])


def test_a_problem_of_many_rows_is_one_line_without_a_path(tmp_path: Path) -> None:
    files = ImageFiles(folder=tmp_path, size=(8, 8))
    cells = ["canary.png"] * 3 + [""] + ["canary.png"] * 4
    with pytest.raises(DataError) as caught:
        ImageColumn("film", files, "t.csv").texts(cells)
    first, second = str(caught.value).splitlines()
    assert first.startswith("t.csv: column 'film', row 1 names a file that is not there")
    assert first.endswith("(7 rows: also 2, 3, 5, 6, ...)")
    assert second.startswith("t.csv: column 'film', row 4 has no image")
    assert "canary" not in first
