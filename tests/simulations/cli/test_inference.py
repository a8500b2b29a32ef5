"""`fedsynth table1` and `fedsynth survival`: files, refusals, and the same bytes twice."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from common.inference.datasets import DatasetFacts
from common.model import Model, save_model
from common.system.folder import RunFolder
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.counted import clinic_frame, counted_run, survival_study


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = survival_study()
    public = counted_run(clinic_frame(study, rows=900), study)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    save_model(Model(public.study, public.plan, public.released, {}), folder, is_simulation=True)
    folder.write_json("run.json", {"simulation": True})
    return folder.path


@pytest.mark.parametrize(
    "arguments",
    [("table1", "--by", "outcome"), ("survival", "--time", "age", "--event", "outcome=yes", "--by", "sex")],
    ids=["table1", "survival"],
)
def test_commands_write_the_same_bytes_twice(run: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    name, *options = arguments
    results = [fedsynth(name, run, *options, "--out", tmp_path / out) for out in ("one", "two")]
    assert [result.exit_code for result in results] == [0, 0], results[0].output
    assert "95 %" in results[0].output
    for end in (".csv", ".html"):
        first, second = ((tmp_path / out / (name + end)).read_bytes() for out in ("one", "two"))
        assert first == second
    assert "SIMULATION" in (tmp_path / "one" / f"{name}.html").read_text()
    again = fedsynth(name, run / "model", *options, "--out", tmp_path / "one")
    assert again.exit_code == 2
    assert "exists; choose another --out or --force" in output_of(again)


def test_other_folders_and_columns_are_refused(run: Path, tmp_path: Path) -> None:
    for target, options, words in (
        (tmp_path, (), "is not the folder of a run"),
        (run, ("--by", "ward"), "column 'ward' is not in the model"),
    ):
        result = fedsynth("table1", target, *options, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert words in output_of(result)
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_tables_are_drawn_and_pooled(run: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        drawn = fedsynth("sample", run / "model", "--rows", 800, "--datasets", 3, "--seed", 4, "--out", tmp_path / out)
        assert drawn.exit_code == 0, drawn.output
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [*(f"dataset-00{number}.csv" for number in (1, 2, 3)), "datasets.json", "study.toml"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    asked = ("--mean", "age", "--proportion", "sex=male", "--log-odds", "outcome=yes:age")
    pooled = fedsynth("combine", tmp_path / "one", *asked, "--out", tmp_path / "pooled.csv")
    assert pooled.exit_code == 0, pooled.output
    assert "log odds ratios come out too small" in " ".join(output_of(pooled).split())
    lines = csv.DictReader((tmp_path / "pooled.csv").read_text().splitlines())
    found = {line["estimand"]: {name: float(line[name]) for name in ("estimate", "variance", "low")} for line in lines}
    frame = clinic_frame(survival_study(), rows=900)
    for name, truth in (("mean age", frame["age"].mean()), ("proportion sex=male", (frame["sex"] == "male").mean())):
        # With three tables, t has two degrees of freedom or fewer: four standard deviations are more than enough.
        assert abs(found[name]["estimate"] - truth) < 4 * found[name]["variance"] ** 0.5
    assert found["log-odds outcome=yes by age"]["estimate"] > 0
    again = fedsynth("sample", run / "model", "--rows", 9, "--datasets", 3, "--out", tmp_path / "one")
    assert again.exit_code == 2


def test_a_file_of_estimates_is_pooled(tmp_path: Path) -> None:
    path = tmp_path / "estimates.csv"
    path.write_text("estimand,estimate,variance\n" + "".join(f"x,{number},0.5\n" for number in (1, 2, 3, 6)))
    result = fedsynth("combine", path)
    assert result.exit_code == 0
    # T = 1.25 x 4.667 - 0.5 = 5.333, with 3 (1 - 0.5 / 5.833)^2 = 2.51 degrees of freedom.
    assert "x 3 (" in output_of(result)
    assert fedsynth("combine", path, "--mean", "age").exit_code == 2
    path.write_text("estimand,estimate\nx,1\n")
    assert "lacks a column of estimand, estimate, variance" in output_of(fedsynth("combine", path))
    assert "is no folder of" in output_of(fedsynth("combine", tmp_path))


def test_a_pooled_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pooled.csv").write_text("earlier")
    refused = fedsynth("combine", tmp_path / "none", "--mean", "age", "--out", tmp_path / "pooled.csv")
    assert "pooled.csv' exists; choose another --out or remove it" in output_of(refused)
    assert (tmp_path / "pooled.csv").read_text() == "earlier"


def test_tables_are_pooled_about_something(tmp_path: Path) -> None:
    study, files = survival_study(), {"dataset-001.csv": "0" * 64}
    (tmp_path / "study.toml").write_text(study.to_toml(), encoding="utf-8")
    facts = asdict(DatasetFacts(study.fingerprint, 1, 10, 10, 0))
    (tmp_path / "datasets.json").write_text(json.dumps(facts | {"files": files}))
    refused = fedsynth("combine", tmp_path)
    assert "say what to estimate: --mean, --proportion or --log-odds" in output_of(refused)
