"""`fedsynth evaluate` on files of visits."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from common.study.schema import VISIT
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.visits import TEXT, invented_visits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(TEXT, encoding="utf-8")
    for name, seed in (("train", 1), ("holdout", 2), ("synthetic", 3)):
        invented_visits(60, seed).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def evaluate(folder: Path, synthetic: str = "synthetic.csv"):  # type: ignore[no-untyped-def]
    files = {name: folder / f"{name}.csv" for name in ("train", "holdout")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    study, out = folder / "study.toml", folder / "report"
    return fedsynth("evaluate", "--study", study, *options, "--synthetic", folder / synthetic, "--out", out)


class TestEvaluate:
    @pytest.mark.slow
    def test_measures_two_tables_as_one_long_one(self, folder: Path) -> None:
        assert evaluate(folder).exit_code == 0
        long = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
        assert (long["kind"], long["synthetic_patients"]) == ("visits", 60)
        rows = pd.read_csv(folder / "synthetic.csv", dtype=str, keep_default_na=False)
        (folder / "two").mkdir()
        rows.drop(columns="sex").assign(**{VISIT: "1"}).to_csv(folder / "two" / "visits.csv", index=False)
        rows[["id", "sex"]].drop_duplicates().to_csv(folder / "two" / "patients.csv", index=False)
        result = evaluate(folder, "two")
        assert result.exit_code == 0, output_of(result)
        assert "State transitions" in output_of(result)
        assert long["verdict"]["headline"] in " ".join(output_of(result).split())
        assert json.loads((folder / "report" / "report.json").read_text(encoding="utf-8")) == long

    @pytest.mark.slow
    def test_says_why_a_measure_has_no_value(self, folder: Path) -> None:
        study = TEXT.replace('target = "stage"', 'target = "sex"')
        (folder / "study.toml").write_text(study, encoding="utf-8")
        assert "Next visit has no value: the target is not of the visit" in output_of(evaluate(folder))
        page = (folder / "report" / "report.html").read_text(encoding="utf-8")
        assert "n/a: the target is not of the visit" in page

    def test_refuses_a_table_without_patients(self, folder: Path) -> None:
        invented_visits(5).drop(columns="id").to_csv(folder / "synthetic.csv", index=False)
        result = evaluate(folder)
        assert result.exit_code != 0
        assert "patient column 'id' is not in the table" in output_of(result)
