"""`fedsynth export` and `fedsynth import`, as a person types them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from common.export.mapping import parse_mapping
from common.planning.planner import make_plan
from common.study.study import Study
from common.system.folder import RunFolder
from common.tables.conforming import invented
from simulations.federation.hospitals import built_in_study
from simulations.follow_up.table import follow_up_study
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.exports import flat_study, write_flat_table


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(flat_study().to_toml())
    return path


def test_a_table_is_exported_and_imported(tmp_path: Path, study: Path) -> None:
    table = write_flat_table(tmp_path, 30)
    done = fedsynth("export", table, "--to", "omop", "--study", study, "--out", tmp_path / "omop")
    assert done.exit_code == 0, output_of(done)
    assert "30 person" in output_of(done)
    assert json.loads((tmp_path / "omop" / "export.json").read_text())["epsilon"] == 3.0
    back = fedsynth("import", tmp_path / "omop", "--out", tmp_path / "back")
    assert "Wrote 30 rows" in output_of(back)
    assert (tmp_path / "back" / "synthetic.csv").read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--to", "hl7"], "choose from omop, fhir"),
        (["--to", "fhir", "--format", "duckdb"], "is not a format of fhir"),
        (["--to", "omop", "--mapping", "absent.toml"], "cannot read export mapping"),
        (["--to", "omop", "--mapping", "follow-up"], "column 'age_years' is not in the study"),
    ],
)
def test_a_wrong_option_is_explained(tmp_path: Path, study: Path, options: list[str], problem: str) -> None:
    table = write_flat_table(tmp_path, 3)
    done = fedsynth("export", table, "--study", study, "--out", tmp_path / "out", *options)
    assert done.exit_code == 2
    assert problem in output_of(done)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with what a finished run of the built-in study leaves, but for the model's weights."""
    study, folder = built_in_study(), tmp_path / "run"
    plan = make_plan(study)
    facts = {"status": "finished", "run_id": "1a2b", "fingerprint": study.fingerprint, "plan": plan.digest}
    files = RunFolder(folder)
    files.write_json("run.json", facts | {"simulation": True})
    files.write("model/study.toml", study.to_toml())
    files.write("model/plan.json", plan.to_json())
    files.write("synthetic.csv", invented(study.declared, 8, np.random.default_rng(0)).to_csv(index=False))
    return folder


def test_a_run_says_its_epsilon(run: Path) -> None:
    done = fedsynth("export", run, "--to", "fhir", "--mapping", "heart-disease")
    assert done.exit_code == 0, output_of(done)
    facts = json.loads((run / "fhir" / "export.json").read_text())
    assert (facts["run"], facts["simulation"]) == ("1a2b", True)
    assert facts["epsilon"] == pytest.approx(3.0, abs=0.01)
    assert facts["epsilon"] <= 3.0
    assert facts["counts"]["Patient"] == 8


def test_a_table_that_was_changed_after_the_run_is_refused(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    RunFolder(run).write_json("run.json", record | {"files": {"synthetic.csv": "0" * 64}})
    done = fedsynth("export", run, "--to", "omop")
    assert done.exit_code == 2
    assert "was changed after the run" in output_of(done)
    assert not (run / "omop").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    done = fedsynth("export", tmp_path, "--to", "omop")
    assert done.exit_code == 2
    assert "is not the folder of a run" in output_of(done)


@pytest.mark.parametrize("study", [built_in_study(), follow_up_study()], ids=lambda study: study.name)
def test_a_built_in_mapping_fits_its_study(study: Study) -> None:
    text = (resources.files("simulations") / "studies" / f"{study.name}.export.toml").read_text(encoding="utf-8")
    parse_mapping(text, study.name).check(study.declared)
