"""The `fedsynth` command as a whole: its version, its help, and its parts one after the other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from common.study.study import read_study
from common.version import VERSION
from tests.testbeds.clinic_files import ONE_EACH, one_table
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")


def test_from_a_table_to_a_study_to_rows_to_an_evaluation(tmp_path: Path) -> None:
    table = one_table(tmp_path, lambda table: table)
    study, out, rows = tmp_path / "drafted.toml", tmp_path / "out", tmp_path / "rows.csv"
    drafted = fedsynth("study", "draft", table, "--target", "outcome", "--out", study)
    assert drafted.exit_code == 0
    assert read_study(study).about.origin == "drafted"
    assert "fit_steps = 200" in study.read_text()
    study.write_text(study.read_text().replace("fit_steps = 200", "fit_steps = 20"))
    assert fedsynth("study", "check", study, "--data", table, ONE_EACH).exit_code == 0
    assert (
        fedsynth("simulate", "--study", study, "--data", table, ONE_EACH, "--hospitals", 2, "--out", out).exit_code == 0
    )
    assert "drafted from records" in (out / "report.html").read_text()
    assert fedsynth("sample", out / "model", "--rows", 25, "--out", rows).exit_code == 0
    assert len(pd.read_csv(rows)) == 25
    again = fedsynth("sample", out / "model", "--rows", 25, "--out", rows)
    assert again.exit_code == 2
    assert "exists" in output_of(again)
    pd.read_csv(rows, dtype=str).assign(sex="unlisted").to_csv(rows, index=False)
    measured = fedsynth(
        "evaluate", "--study", study, "--train", table, "--holdout", table, "--synthetic", rows,
        "--out", tmp_path / "measured",
    )  # fmt: skip
    assert measured.exit_code == 0
    assert "note rows.csv: column 'sex' holds unlisted labels in 25 rows, counted as the last category" in output_of(
        measured
    )
    assert (tmp_path / "measured" / "report.html").exists()


def test_the_version_is_shown() -> None:
    result = fedsynth("--version")
    assert (result.exit_code, result.output) == (0, f"fedsynth {VERSION}\n")


def test_every_command_explains_itself() -> None:
    site = (("site", "init"), ("site", "check"), ("site", "approve"), ("site", "ledger"))
    for command in ((), ("simulate",), ("study", "draft"), ("study", "check"), ("sample",), ("evaluate",), *site):
        result = fedsynth(*command, "--help")
        assert result.exit_code == 0
        assert len(result.output) > 200
