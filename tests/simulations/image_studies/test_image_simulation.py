"""A whole simulated run of invented images: files, paths, report, and the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError, StudyError
from common.evaluation.attacks.images import IMAGE_ATTACKS
from common.images.png import pixels_of_png
from common.inference.datasets import DATASETS, facts_of, read_datasets, write_datasets
from common.model import MODEL, load_model, load_public
from common.release import draw_images
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.image_studies.studies import DIGITS, FOLDER, chest_films, digit_tables, image_study, image_tables
from tests.testbeds.clinic import clinic_study
from tests.testbeds.images import images_study, images_table

SETTINGS = {"chains": 128, "fit_steps": 20}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("images") / "run"
    study = images_study(synthesizer=SETTINGS)
    tables = {name: images_table(100, seed) for seed, name in enumerate(("north", "south", "west"))}
    simulate(prepare(study, tables), out, Options(with_report=False))
    return out


class TestRun:
    def test_every_row_has_an_image_of_its_size(self, run: Path) -> None:
        table = pd.read_csv(run / "synthetic.csv", dtype=str)
        images = [pixels_of_png((run / path).read_bytes()) for path in table["film"]]
        assert {None if image is None else image.shape for image in images} == {(8, 10)}
        assert table["film"].is_unique

    def test_images_show_their_class(self, run: Path) -> None:
        table = pd.read_csv(run / "synthetic.csv", dtype=str)
        slopes = {}
        for label, paths in table.groupby("ill")["film"]:
            images = [image for path in paths if (image := pixels_of_png((run / path).read_bytes())) is not None]
            pixels = np.stack(images).mean(axis=0)
            slopes[label] = pixels[:, -1].mean() - pixels[:, 0].mean()
        assert slopes["yes"] > 30 > -30 > slopes["no"]

    def test_model_draws_the_same_images_twice(self, run: Path) -> None:
        model = load_model(run / MODEL)
        frame = model.sample(20, 1)
        first, second = (draw_images(model, frame, 1) for _ in range(2))
        assert first is not None
        assert second is not None
        assert first.files() == second.files()

    def test_several_tables_have_images_of_their_own(self, run: Path, tmp_path: Path) -> None:
        public = load_public(run / MODEL)
        written = list(write_datasets(public, facts_of(public, 2, 20, 1), tmp_path))
        paths = [pd.read_csv(path, dtype=str)["film"].tolist() for path in written]
        assert len({*paths[0], *paths[1]}) == 40
        assert {
            image.shape for path in paths[0] if (image := pixels_of_png((tmp_path / path).read_bytes())) is not None
        } == {(8, 10)}
        _, _, tables = read_datasets(tmp_path)
        scores = [table["film: score 1"] for table in tables]
        assert all(np.std(values) > 0 for values in scores)  # those of the images, not mid-gray for all

    @pytest.mark.parametrize("change", ["replaced", "removed", "added", "not listed"])
    def test_changed_images_of_tables_are_refused(self, run: Path, tmp_path: Path, change: str) -> None:
        public = load_public(run / MODEL)
        list(write_datasets(public, facts_of(public, 2, 4, 1), tmp_path))
        first, second, *_ = sorted(tmp_path.glob("images/002/*.png"))
        match change:
            case "replaced":
                first.write_bytes(second.read_bytes())
            case "removed":
                first.unlink()
            case "added":
                (first.parent / "more.png").write_bytes(first.read_bytes())
            case _:
                facts = json.loads((tmp_path / DATASETS).read_text())
                del facts["files"]["images/002"]
                (tmp_path / DATASETS).write_text(json.dumps(facts))
        words = "does not list 2 tables" if change == "not listed" else "images in .*002' are missing, or were changed"
        with pytest.raises(StudyError, match=words):
            list(read_datasets(tmp_path)[2])

    def test_hospitals_are_charged_what_the_study_allows(self, run: Path) -> None:
        record = json.loads((run / "run.json").read_text())
        assert all(hospital["epsilon"] <= 3.0 for hospital in record["hospitals"].values())


@pytest.mark.slow
def test_report_of_a_whole_run_is_about_its_images(tmp_path: Path) -> None:
    study = images_study(synthesizer=SETTINGS, evaluation={"holdout_fraction": 0.3})
    tables = {name: images_table(100, seed) for seed, name in enumerate(("north", "south", "west"))}
    simulate(prepare(study, tables), tmp_path / "run", Options())
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["images"]["images"] > 0
    assert report["images"]["trained_on_synthetic"]["value"] > 0.8  # left and right half tell the classes apart
    assert set(IMAGE_ATTACKS) <= {attack["name"] for attack in report["privacy"]["attacks"]}
    hospitals = report["prediction"]["taking_part"]
    assert [hospital["name"] for hospital in hospitals] == list(tables)
    assert all((hospital["best"] is None) == (hospital["lead"] is None) for hospital in hospitals)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert all(attack.title in page for attack in IMAGE_ATTACKS.values())
    assert "Does taking part help a hospital?" in page


def test_digits_ship_with_their_study() -> None:
    tables = digit_tables()
    prepared = prepare(image_study(DIGITS), tables)
    assert [len(table) for table in tables.values()] == [450, 449, 449, 449]
    assert not [notice for notice in prepared.notices if "image" in notice]


def test_films_come_from_a_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(DataError, match=f"set {FOLDER} to a folder that holds"):
        chest_films("train")
    with pytest.raises(DataError, match="study 'clinic' has no built-in tables; give its table or folder as --data"):
        image_tables(clinic_study())
