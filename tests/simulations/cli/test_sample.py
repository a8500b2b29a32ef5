"""`fedsynth sample`: rows on condition, balanced rows, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from common.model import save_model
from common.system.folder import RunFolder
from tests.testbeds.clinic import clinic_model
from tests.testbeds.command_line import fedsynth, output_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(clinic_model(), RunFolder(tmp_path / "run"), is_simulation=True)
    return tmp_path / "run" / "model"


def test_rows_can_be_drawn_on_condition(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "women.csv"
    result = fedsynth("sample", model, "--rows", 1000, "--given", "sex=female", "--out", out)
    assert result.exit_code == 0
    rows = pd.read_csv(out)
    assert set(rows["sex"]) == {"female"}
    # Of the model's women 0.9 x 0.9 + 0.1 x 0.1 = 0.82 fall ill; of all its patients half.
    assert (rows["outcome"] == "yes").mean() == pytest.approx(0.82, abs=0.03)


def test_rows_can_be_balanced_under_a_condition(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "balanced.csv"
    result = fedsynth("sample", model, "--rows", 100, "--balance", "outcome", "--given", "sex=male", "--out", out)
    assert result.exit_code == 0
    rows = pd.read_csv(out)
    assert rows["outcome"].value_counts().to_dict() == {"no": 50, "yes": 50}
    assert set(rows["sex"]) == {"male"}


def test_a_run_folder_is_not_its_model_folder(model: Path, tmp_path: Path) -> None:
    for folder, remedy in ((model.parent, f"did you mean '{model}'?"), (tmp_path, "point to the model/ of a run")):
        result = fedsynth("sample", folder, "--rows", 10, "--out", tmp_path / "rows.csv")
        assert result.exit_code == 2
        assert f"'{folder}' is not a model folder; {remedy}" in output_of(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--given", "sex=canary"), "column 'sex'"),
        (("--given", "ward=canary"), "column 'ward'"),
        (("--given", "age=50"), "column 'age'"),
        (("--given", "sex"), "COLUMN=CATEGORY"),
        (("--given", "age=80..60"), "column 'age'"),
        (("--given", "age=20..30", "--balance", "sex"), "--balance goes with categories"),
        (("--balance", "age"), "column 'age'"),
        (("--balance", "ward"), "column 'ward'"),
        (("--balance", "sex", "--given", "sex=female"), "column 'sex'"),
        (("--given", "sex=female", "--given", "sex=male"), "column 'sex'"),
    ],
)
def test_an_impossible_condition_names_its_column(
    arguments: tuple[str, ...], words: str, model: Path, tmp_path: Path
) -> None:
    result = fedsynth("sample", model, "--rows", 10, *arguments, "--out", tmp_path / "rows.csv")
    assert result.exit_code == 2
    assert words in output_of(result)
    assert "canary" not in output_of(result)
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("options", [("--given", "sex=female"), ("--balance", "sex"), ("--format", "csv")])
def test_datasets_are_whole_tables(options: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused = fedsynth("sample", tmp_path / "model", "--rows", 9, "--datasets", 3, *options, "--out", out)
    assert refused.exit_code == 2
    assert "--datasets draws whole tables as CSV; leave --given, --balance and --format out" in output_of(refused)


def test_images_of_other_rows_are_not_overwritten(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = SimpleNamespace(files=dict)
    monkeypatch.setattr("common.release.draw_images", lambda *_: drawn)
    monkeypatch.setattr("common.release.written_table", lambda loaded, rows, images: rows)
    (tmp_path / "images").mkdir()
    refused = fedsynth("sample", model, "--rows", 5, "--out", tmp_path / "rows.csv")
    assert "images' exists; choose another --out or remove it" in output_of(refused)
    assert not (tmp_path / "rows.csv").exists()
