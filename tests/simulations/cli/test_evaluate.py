"""`fedsynth evaluate` as a person types it, and the reports of small and narrow tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.testbeds.clinic import clinic_study
from tests.testbeds.clinic_files import ONE_EACH
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")


@pytest.fixture
def labels_only(tmp_path: Path) -> tuple[Path, Path]:
    """A table without a number, and a study of it that trains in a second."""
    table, study = tmp_path / "labels.csv", tmp_path / "labels.toml"
    rng = np.random.default_rng(3)
    cells = {"sex": ["F", "M"], "smoking": ["never", "former", "current"], "diabetes": ["no", "yes"]}
    pd.DataFrame({name: rng.choice(labels, 200) for name, labels in cells.items()}).to_csv(table, index=False)
    columns = [{"kind": "categorical", "name": name, "categories": labels} for name, labels in cells.items()]
    agreed = clinic_study(schema={"columns": columns}, evaluation={"target": "diabetes", "sensitive": ["sex"]})
    study.write_text(agreed.to_toml())
    return table, study


def test_a_table_without_a_numeric_column_gets_its_report(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), out, measured = labels_only, tmp_path / "out", tmp_path / "measured"
    made = fedsynth("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--out", out)
    assert made.exit_code == 0, output_of(made)
    again = fedsynth(
        "evaluate", "--study", study, "--train", table, "--holdout", table, "--synthetic", out / "synthetic.csv",
        "--out", measured,
    )  # fmt: skip
    assert again.exit_code == 0, output_of(again)
    for folder in (out, measured):
        assert (folder / "report.html").exists()
        measures = json.loads((folder / "report.json").read_text())["measures"]
        assert measures["cramers_v"] is not None
        assert [measures[name] for name in ("pearson", "spearman", "correlation_ratio")] == [None] * 3


@pytest.mark.slow
def test_a_run_without_a_report_gets_the_same_one_later(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), plain, later = labels_only, tmp_path / "plain", tmp_path / "later"
    arguments = ("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--rows", 60)
    assert fedsynth(*arguments, "--out", plain).exit_code == 0
    made = fedsynth(*arguments, "--no-report", "--out", later)
    assert made.exit_code == 0, output_of(made)
    assert not list(later.glob("report.*"))
    assert "verdict" not in json.loads((later / "run.json").read_text())
    command = output_of(made).partition("To make it: fedsynth ")[2].split()[:8]
    assert command == ["evaluate", "--run", str(later), "--data", str(table), "--hospitals", "2", ONE_EACH]
    assert fedsynth(*command).exit_code == 0
    assert (later / "report.json").read_bytes() == (plain / "report.json").read_bytes()
    assert (later / "report.html").exists()
    assert json.loads((later / "run.json").read_text())["verdict"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--study", "s.toml"), "--train is not given"),
        (("--run", "out", "--train", "t.csv"), "--run names a simulation, which knows its --train"),
        (("--hospitals", 2), "add --run"),
        (("--run", "nowhere"), "'nowhere' does not hold a finished simulation"),
    ],
)
def test_evaluate_names_the_option_that_does_not_fit(arguments: tuple[object, ...], problem: str) -> None:
    refused = fedsynth("evaluate", *arguments)
    assert refused.exit_code == 2
    assert problem in output_of(refused)


def test_one_synthetic_row_gets_a_report_without_attacks(labels_only: tuple[Path, Path], tmp_path: Path) -> None:
    (table, study), out = labels_only, tmp_path / "out"
    made = fedsynth(
        "simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--rows", 1, "--out", out
    )  # fmt: skip
    assert made.exit_code == 0, output_of(made)
    privacy = json.loads((out / "report.json").read_text())["privacy"]
    assert privacy["attacks"] == []
    assert "need 2 synthetic rows; there are 1" in privacy["notes"][0]
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
