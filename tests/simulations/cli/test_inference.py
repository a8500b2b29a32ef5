"""`fedsynth table1` and `fedsynth survival`: files, refusals, and the same bytes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

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
