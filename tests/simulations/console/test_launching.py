"""Simulations that a console starts: they outlive it, can be stopped, and say why they ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import DataError, StudyError
from common.run_events.events import RunFailed, to_json
from common.system.folder import LOCK
from simulations.console.form import form_of
from simulations.console.launching import OUT, HowToSimulate, LaunchedRun, LaunchedRuns, launch
from simulations.console.workspace import Workspace
from simulations.drafting import NamedColumns
from tests.simulations.test_drafting import stays

pytestmark = pytest.mark.usefixtures("quick_learners")


def wait(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "not done in time"
        time.sleep(0.1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A study that was drafted and saved."""
    stays().to_csv(tmp_path / "icu.csv", index=False)
    workspace = Workspace(tmp_path / "studies")
    name = workspace.add("", tmp_path / "icu.csv", None, ())
    draft = workspace.make_draft(name, NamedColumns("died", "patient"))
    assert draft.document is not None
    workspace.save(name, form_of(draft.document), {})
    return workspace


def made(tmp_path: Path) -> LaunchedRun:
    (tmp_path / "1").mkdir()
    return LaunchedRun("icu.1", tmp_path / "1")


def test_a_run_is_running_while_its_process_holds_the_lock(tmp_path: Path) -> None:
    run = made(tmp_path)
    launch(tmp_path / "1", ["simulate", "--study", str(tmp_path / "none.toml")])
    assert run.line.endswith("running")
    assert list(run.actions) == ["stop"]
    wait(lambda: run.process is None)
    assert run.state == "failed"
    assert not run.actions
    assert "none.toml" in run.trouble


def test_a_run_whose_process_died_says_so(tmp_path: Path) -> None:
    run = made(tmp_path)
    launch(tmp_path / "1", ["simulate"])
    process = run.process
    assert process is not None
    os.kill(process, signal.SIGKILL)
    wait(lambda: run.process is None)
    assert run.state == "failed"
    assert "without a word" in run.trouble


def test_what_does_not_run_cannot_be_stopped(workspace: Workspace) -> None:
    runs = LaunchedRuns(workspace)
    path = workspace.folder("icu").resolve() / "simulations" / "1"
    path.mkdir(parents=True)
    (path / "study.toml").write_text("")
    (path / LOCK).write_text("1\n")  # the lock of a process that ended, whose number another may have
    with pytest.raises(StudyError, match="does not run"):
        runs.act("icu.1", "stop")


def test_a_study_must_be_saved_before_it_is_simulated(workspace: Workspace) -> None:
    (workspace.folder("icu") / "study.toml").unlink()
    with pytest.raises(StudyError, match="save it first"):
        LaunchedRuns(workspace).start("icu", HowToSimulate())


def test_one_simulation_runs_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LaunchedRuns, "ids", lambda self: ("icu.1",))
    monkeypatch.setattr(LaunchedRun, "process", 4321)
    with pytest.raises(StudyError, match=r"simulation 'icu\.1' is running; wait until it ends, or stop it"):
        LaunchedRuns(workspace).start("icu", HowToSimulate())


def test_an_event_that_says_why_is_all_that_is_said(tmp_path: Path) -> None:
    run = made(tmp_path)
    assert run.trouble == "its process ended without a word"
    (tmp_path / "1" / OUT / "events.jsonl").write_text(to_json(RunFailed(reason="2 hospitals left")) + "\n")
    assert run.line.endswith("2 hospitals left")
    assert run.trouble == ""


def test_a_table_that_changed_is_checked_again(workspace: Workspace, tmp_path: Path) -> None:
    stays().drop(columns="age").to_csv(tmp_path / "icu.csv", index=False)
    with pytest.raises(DataError, match="age"):
        LaunchedRuns(workspace).start("icu", HowToSimulate())
    assert LaunchedRuns(workspace).ids() == ()


@pytest.mark.slow
def test_a_simulation_is_stopped_and_another_finishes(workspace: Workspace) -> None:
    runs, how = LaunchedRuns(workspace), HowToSimulate(hospitals=2)
    first = runs.run(runs.start("icu", how))
    with pytest.raises(StudyError, match="is running"):
        LaunchedRuns(workspace).start("icu", how)  # another console over the same folder
    wait(lambda: bool(first.progress.hospitals))
    runs.act(first.run_id, "stop")
    wait(lambda: first.process is None)
    assert first.state == "failed"
    assert "interrupted" in first.progress.reason
    second = runs.run(runs.start("icu", how))
    assert second.run_id == "icu.2"
    wait(lambda: second.process is None, 300)
    assert second.state == "finished"
    assert second.has_report
    assert runs.of("icu") == ("icu.2", "icu.1")
    study, plan = second.agreed
    assert len(study.hospitals) == len(plan.hospitals) == 2
    assert (second.folder.path / "synthetic.csv").exists()
    assert second.folder.path.name == OUT
