"""A table of one's own, from the draft to the report, as the README describes it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.study.study import read_study
from common.tables.checking import check_table
from common.tables.formats import read_table
from simulations.cli.main import app

FOLDER = os.environ.get("FEDSYNTH_DATA")


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="FEDSYNTH_DATA does not name a folder with flchain.csv")
def test_flchain_over_four_hospitals_obeys_schema_and_epsilon(tmp_path: Path) -> None:
    table, study, out = Path(str(FOLDER)) / "flchain.csv", tmp_path / "study.toml", tmp_path / "out"
    fedsynth = CliRunner().invoke
    drafted = fedsynth(app, ["study", "draft", str(table), "--target", "death", "--out", str(study)])
    assert drafted.exit_code == 0
    arguments = ["--data", str(table), "--study", str(study), "--hospitals", "4", "--epsilon", "3", "--out", str(out)]
    assert fedsynth(app, ["simulate", *arguments]).exit_code == 0
    agreed = read_study(study)
    assert check_table(read_table(out / "synthetic.csv"), agreed.table, name="synthetic") == []
    hospitals = json.loads((out / "run.json").read_text())["hospitals"]
    assert len(hospitals) == 4
    assert all(0 < facts["epsilon"] <= 3.0 for facts in hospitals.values())
    measures = json.loads((out / "report.json").read_text())["measures"]
    assert measures["tvd2"]["estimate"]["value"] < 0.1  # 0.28 for a plain DP-GAN at the same epsilon
    assert measures["auc_lr"]["estimate"]["value"] > 0.9
