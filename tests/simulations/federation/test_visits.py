"""A study of visits, simulated from the table to the two tables that come out, and drawn from again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.evaluation.visits.measures import VISIT_MEASURES
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.visits import TEXT, invented_visits

pytestmark = pytest.mark.usefixtures("quick_learners")

SMALL = TEXT + "[synthesizer]\nchains = 200\nfit_steps = 12\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visits")
    (folder / "study.toml").write_text(SMALL, encoding="utf-8")
    invented_visits(900).to_csv(folder / "visits.csv", index=False)
    for out in ("one", "two"):
        result = simulate(folder, out)
        assert result.exit_code == 0, output_of(result)
    return folder


def simulate(folder: Path, out: str, *options: object):  # type: ignore[no-untyped-def]
    study, data = folder / "study.toml", folder / "visits.csv"
    return fedsynth(
        "simulate", "--study", study, "--data", data, "--noise", "distributed", "--out", folder / out, *options
    )


class TestSimulate:
    def test_writes_visits_and_patients(self, folder: Path) -> None:
        visits, patients = (pd.read_csv(folder / "one" / name) for name in ("visits.csv", "patients.csv"))
        assert visits.columns.tolist() == ["id", "visit", "day", "stage", "weight"]
        assert patients.columns.tolist() == ["id", "visits", "sex"]
        assert len(patients) == pytest.approx(720, abs=40)  # declared patients that are not held out
        assert visits.groupby("id").size().tolist() == patients["visits"].tolist()
        assert (visits.groupby("id")["day"].diff().dropna() >= 0).all()

    @pytest.mark.parametrize("name", ["visits.csv", "patients.csv", "model/weights.safetensors"])
    def test_writes_the_same_bytes_twice(self, folder: Path, name: str) -> None:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()

    def test_spends_no_more_than_epsilon(self, folder: Path) -> None:
        run = pd.read_json(folder / "one" / "run.json", typ="series")
        assert all(2.9 < facts["epsilon"] <= 3 for facts in run["hospitals"].values())

    def test_another_patient_column_is_refused(self, folder: Path) -> None:
        result = simulate(folder, "three", "--patient-column", "sex")
        assert result.exit_code == 2
        assert "differs from 'id', which the study names" in " ".join(output_of(result).split())


class TestReport:
    def test_report_measures_visits(self, folder: Path) -> None:
        document = json.loads((folder / "one" / "report.json").read_text(encoding="utf-8"))
        assert document["kind"] == "visits"
        assert document["synthetic_patients"] == len(pd.read_csv(folder / "one" / "patients.csv"))
        assert all(document["measures"].values())
        assert {column["column"] for column in document["persistence"]} == {"stage", "weight"}
        assert "Courses of single patients" in (folder / "one" / "report.html").read_text(encoding="utf-8")

    def test_later_report_is_the_same(self, folder: Path) -> None:
        before = (folder / "two" / "report.json").read_bytes()
        result = fedsynth("evaluate", "--run", folder / "two", "--data", folder / "visits.csv")
        assert result.exit_code == 0, output_of(result)
        assert "State transitions" in output_of(result)
        assert (folder / "two" / "report.json").read_bytes() == before


class TestSample:
    def test_draws_visits_on_condition(self, folder: Path) -> None:
        out = folder / "drawn.csv"
        result = fedsynth("sample", folder / "one" / "model", "--rows", 50, "--given", "sex=m", "--out", out)
        assert result.exit_code == 0, output_of(result)
        drawn = pd.read_csv(out)
        assert drawn.columns.tolist() == ["id", "visit", "sex", "day", "stage", "weight"]
        assert drawn["id"].nunique() == 50
        assert set(drawn["sex"]) == {"m"}

    @pytest.mark.parametrize("options", [("--given", "stage=1"), ("--balance", "sex"), ("--given", "weight=50..60")])
    def test_refuses_conditions_on_visits(self, folder: Path, options: tuple[str, str]) -> None:
        out = folder / "none.csv"
        result = fedsynth("sample", folder / "one" / "model", "--rows", 5, *options, "--out", out)
        assert result.exit_code == 2
        assert "of the patient" in " ".join(output_of(result).split())


ROUNDS = """
[synthesizer]
kind = "history-gan"
histories = 64
fit_steps = 8
hidden = 8
[training]
rounds = 2
batch = 40
"""


@pytest.mark.slow
class TestRounds:
    """A discriminator of whole histories, trained by two hospitals."""

    @staticmethod
    def train(folder: Path, out: str, noise: str, steps: int, report: str = "--no-report") -> dict[str, dict[str, Any]]:
        """Simulate rounds and return what each hospital spent."""
        study = folder / "rounds.toml"
        study.write_text(f"{TEXT}{ROUNDS}steps = {steps}\n", encoding="utf-8")
        options = ("--noise", noise, "--hospitals", 2, report, "--out", folder / out)
        result = fedsynth("simulate", "--study", study, "--data", folder / "visits.csv", *options)
        assert result.exit_code == 0, output_of(result)
        spent: dict[str, dict[str, Any]] = json.loads((folder / out / "run.json").read_text("utf-8"))["hospitals"]
        return spent

    def test_are_charged_and_write_the_same_bytes_twice(self, folder: Path) -> None:
        spent = self.train(folder, "rounds-one", "local", 3)
        self.train(folder, "rounds-two", "local", 3)
        for name in ("visits.csv", "patients.csv", "model/weights.safetensors"):
            assert (folder / "rounds-one" / name).read_bytes() == (folder / "rounds-two" / name).read_bytes()
        assert all(2.9 < facts["epsilon"] <= 3 for facts in spent.values())

    def test_take_synchronous_steps_under_masks(self, folder: Path) -> None:
        spent = self.train(folder, "steps", "distributed", 1, report="--report")
        rounds = json.loads((folder / "steps" / "report.json").read_text(encoding="utf-8"))["rounds"]
        assert rounds["before"].keys() == VISIT_MEASURES.keys()
        assert None not in rounds["before"].values()
        assert "The rounds changed" in rounds["headline"] or "the rounds made" in rounds["headline"]
        assert all(2.9 < facts["epsilon"] <= 3 for facts in spent.values())
