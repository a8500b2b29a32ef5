"""Image files at `fedsynth site import`: what is frozen, what is refused, and what a study is said to take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.site.config import SITE, Site, read_site
from client.site.images import SiteImages
from client.site.imported import RECEIPT, FrozenTable, frozen_path, read_import
from client.site.importing import import_table, sentences
from client.site.opening import open_records
from client.site.records import check_data
from common.errors import DataError, SiteError
from common.images.cells import Pixels, pixels_of
from common.images.png import png_of
from common.planning.phase_types import ImageRecords
from common.study.study import Study
from common.tables.dicom import BURNT_IN
from common.tables.parts import Part, join
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.image_files import SECRET, write_dicom
from tests.testbeds.images import SIZE, images_study, invented_image
from tests.testbeds.site_folder import make_site

ROWS = 100


def film(row: int) -> Pixels:
    return invented_image("yes" if row % 2 else "no", np.random.default_rng(row))


def films(folder: Path) -> pd.DataFrame:
    """Return a raw table of patients with one PNG file each, in `folder/films`; the first has two."""
    (folder / "films").mkdir(parents=True)
    for row in range(ROWS):
        (folder / "films" / f"{SECRET}-{row}.png").write_bytes(png_of(film(row)))
    names = [f"{SECRET}-{row}.png" for row in range(ROWS)]
    names[0] += f"; {names[1]}"
    ill = ["yes" if row % 2 else "no" for row in range(ROWS)]
    return pd.DataFrame({"patient": [f"p{row}" for row in range(ROWS)], "ill": ill, "film": names}, dtype=object)


def declare(site: Site, **settings: object) -> Site:
    """Return the site, with `[images.film]` in its site.toml."""
    declared = {"folder": "../films", "size": list(SIZE), "most_images": 3, **settings}
    file = site.state / SITE
    lines = [f"{key} = {json.dumps(value)}" for key, value in declared.items()]
    file.write_text(file.read_text().partition("\n[images.film]")[0] + "\n[images.film]\n" + "\n".join(lines) + "\n")
    return read_site(file)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return declare(make_site(tmp_path, films(tmp_path)))


def study() -> Study:
    return images_study()


class TestImport:
    def test_pixels_are_frozen_and_no_file_name(self, site: Site) -> None:
        imported = import_table(site)
        frozen = join(list(FrozenTable(site).parts()))
        for row in range(1, ROWS):
            assert (pixels_of(frozen["film"][row], SIZE)[0] == film(row)).all()
        assert len(pixels_of(frozen["film"][0], SIZE)) == 2
        assert not frozen["film"].str.contains(SECRET).any()
        assert SECRET not in frozen_path(site, RECEIPT).read_text()
        assert any("101 images were read: the frozen table holds their pixels" in line for line in sentences(imported))

    def test_agent_answers_without_the_files(self, site: Site, tmp_path: Path) -> None:
        import_table(site)
        table = FrozenTable(site)
        for path in (tmp_path / "films").iterdir():
            path.unlink()
        records = open_records(site, table, study())
        assert isinstance(records, ImageRecords)
        assert int((~np.isnan(records.images()[:, :, 0])).sum()) == 101

    def test_burnt_in_text_is_reported_at_import_and_at_check(self, tmp_path: Path) -> None:
        raw = films(tmp_path)
        for row in (3, 7):
            write_dicom(tmp_path / "films" / f"{row}.dcm", film(row), BurnedInAnnotation="YES")
            raw.loc[row, "film"] = f"{row}.dcm"
        site = declare(make_site(tmp_path, raw))
        expected = f"column 'film': 2 images, first in row 4, {BURNT_IN}"
        assert any(expected in line for line in sentences(import_table(site)))
        assert any(expected in line for line in check_data(site, study()))
        assert (pixels_of(join(list(FrozenTable(site).parts()))["film"][3], SIZE)[0] == film(3)).all()


class TestRefused:
    @pytest.mark.parametrize(
        ("cell", "settings", "message"),
        [
            ("missing.png", {}, "a file that is not there"),
            ("../table.csv", {}, "outside the folder of images"),
            ("link.png", {}, "outside the folder of images"),
            ("text.png", {}, "cannot be read"),
            ("small.png", {}, "4 x 10 pixels, and size is 8 x 10"),
            ("color.png", {}, "in color"),
            ("", {}, "has no image; set missing = true"),
            (f"{SECRET}-1.png;{SECRET}-2.png;{SECRET}-3.png;{SECRET}-4.png", {}, "4 images, more than most_images = 3"),
        ],
    )
    def test_earlier_table_stays(
        self, site: Site, tmp_path: Path, cell: str, settings: dict[str, object], message: str
    ) -> None:
        pillow = pytest.importorskip("PIL.Image")
        before = import_table(site)
        folder = tmp_path / "films"
        (folder / "link.png").symlink_to(tmp_path / "table.csv")
        (folder / "text.png").write_text("no image")
        (folder / "small.png").write_bytes(png_of(film(0)[:4]))
        pillow.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(folder / "color.png")
        raw = pd.read_csv(site.data, dtype=str, keep_default_na=False)
        raw.loc[5, "film"] = cell
        raw.to_csv(site.data, index=False)
        with pytest.raises(DataError, match=message) as refused:
            import_table(declare(site, **settings), is_replacing=True)
        assert str(refused.value).startswith("north: column 'film', row 6 ")
        assert SECRET not in str(refused.value)
        assert read_import(site) == before
        assert len(list((site.state / "table").iterdir())) == 2

    def test_rows_are_counted_over_parts(self, site: Site) -> None:
        part = Part.of(pd.DataFrame({"film": [f"{SECRET}-0.png", f"{SECRET}-1.png"]}, dtype=object))
        bad = Part.of(pd.DataFrame({"film": ["none.png"]}, dtype=object))
        with pytest.raises(DataError, match="row 5 names a file that is not there"):
            list(SiteImages(site).embedded([part, part, bad]))

    def test_declarations_that_fit_nothing(self, site: Site, tmp_path: Path) -> None:
        for settings, error, message in (
            ({"folder": "../none"}, SiteError, "is no folder; correct it in site.toml"),
            ({"sise": [8, 8]}, SiteError, "did you mean 'size'"),
            ({"size": [4, 8]}, SiteError, "each from 8 to 64"),
        ):
            with pytest.raises(error, match=message):
                import_table(declare(site, **settings))
        file = site.state / SITE
        declare(site)
        file.write_text(file.read_text().replace("[images.film]", "[images.flim]"))
        with pytest.raises(SiteError, match="did you mean 'film'"):
            import_table(read_site(file))


class TestCheck:
    def test_says_what_images_contribute(self, site: Site) -> None:
        import_table(site)
        text = "\n".join(check_data(site, study()))
        assert "column 'film': 100 of 100 rows have an image, 101 images in all" in text
        assert "together change a sum by at most 1 in length" in text

    def test_names_classes_without_images(self, tmp_path: Path) -> None:
        raw = films(tmp_path).assign(ill="no")
        site = declare(make_site(tmp_path, raw))
        import_table(site)
        assert any("no image here is of ill yes" in notice for notice in check_data(site, study()))

    def test_refuses_a_table_whose_images_were_not_read(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, films(tmp_path))
        import_table(site)
        with pytest.raises(DataError, match=r"declare \[images.film\] with folder and size"):
            check_data(site, study())

    def test_notices_that_declarations_changed(self, site: Site) -> None:
        import_table(site)
        assert any("was changed since" in notice for notice in check_data(declare(site, fit="pad"), study()))

    def test_commands_print_no_file_name(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "study.toml").write_text(study().to_toml())
        printed = output_of(fedsynth("site", "import", "--site", str(site.state)))
        printed += output_of(fedsynth("site", "check", str(tmp_path / "study.toml"), "--site", str(site.state)))
        assert SECRET not in printed
        assert "direct identifier" not in printed
