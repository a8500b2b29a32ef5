"""How a simulation ends before its time: interrupted, on a full disk, over budget."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import PolicyRefusal, StudyError
from common.ledger.ledger import Ledger
from common.run_events.events import PhaseStarted, RunEvent
from simulations.federation import run as federation_run
from simulations.federation.prepare import Prepared, prepare
from simulations.federation.resuming import interrupted_run
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_tables


def fresh() -> Prepared:
    return prepare(clinic_study(training={"rounds": 0}, synthesizer={"fit_steps": 5}), clinic_tables())


EPSILON = fresh().study.privacy.epsilon


def options_in(folder: Path) -> Options:
    return Options(rows=50, sites=folder / "sites", max_epsilon=EPSILON, with_report=False)


def moved_sites(folder: Path) -> None:
    """Let the interrupted run of a copied folder have its ledgers in the copy."""
    path = folder / "out" / "checkpoints" / "simulation.json"
    command = json.loads(path.read_text())
    path.write_text(json.dumps(command | {"sites": str((folder / "sites").resolve())}))


def epsilons(folder: Path) -> list[float]:
    """Return the epsilon of every hospital's ledger."""
    return [Ledger.view(path).epsilon for path in sorted((folder / "sites").glob("*/ledger.sqlite"))]


@pytest.fixture
def prepared() -> Prepared:
    return fresh()


def interrupt_in_coarse(event: RunEvent) -> None:
    if isinstance(event, PhaseStarted) and event.phase == "coarse":
        raise KeyboardInterrupt


def test_an_interruption_says_where_and_what_is_spent(tmp_path: Path, prepared: Prepared) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"interrupted during .*: the ledgers hold epsilon up to") as caught:
        simulate(prepared, tmp_path / "out", Options(rows=50), observers=[interrupt_in_coarse])
    assert "--resume continues there" in str(caught.value)
    assert "up to 0;" not in str(caught.value)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", str(caught.value))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an interrupted run in `out`, and its ledgers in `sites`."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        simulate(fresh(), folder / "out", options_in(folder), observers=[interrupt_in_coarse])
    return folder


class TestResume:
    def test_resumed_run_has_the_bytes_of_an_undisturbed_one(self, tmp_path: Path, interrupted: Path) -> None:
        shutil.copytree(interrupted, tmp_path / "again")
        again, whole = tmp_path / "again", tmp_path / "whole"
        moved_sites(again)
        simulate(fresh(), again / "out", replace(options_in(again), resume=True))
        simulate(fresh(), whole / "out", options_in(whole))
        for name in ("synthetic.csv", "model/released.safetensors"):
            assert (again / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()
        assert epsilons(again) == epsilons(whole)  # nothing was charged twice
        with pytest.raises(StudyError, match=r"is whole, so there is nothing to resume; `fedsynth evaluate --run"):
            simulate(fresh(), again / "out", replace(options_in(again), resume=True))

    def test_resume_refuses_other_tables_and_ledgers(self, interrupted: Path) -> None:
        tables = clinic_tables()
        swapped = {name: raw.iloc[::-1].reset_index(drop=True) for name, raw in tables.items()}
        others = replace(fresh(), tables=swapped)
        options = replace(options_in(interrupted), resume=True)
        with pytest.raises(StudyError, match="the tables differ from those of the interrupted simulation"):
            simulate(others, interrupted / "out", options)
        with pytest.raises(StudyError, match="had another --sites"):
            simulate(fresh(), interrupted / "out", replace(options, sites=None))
        with pytest.raises(StudyError, match="had another --patient-column"):
            simulate(replace(fresh(), patient_column="age"), interrupted / "out", options)

    @pytest.mark.parametrize("content", ["[]", "{}", '{"run_id": 7}'])
    def test_an_edited_folder_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "run.json").write_text(content)
        with pytest.raises(StudyError, match=r"run\.json' names no run; restore it"):
            interrupted_run(tmp_path)

    def test_another_run_hears_of_the_interrupted_one(self, tmp_path: Path, interrupted: Path) -> None:
        with pytest.raises(PolicyRefusal, match="interrupted runs reserve a part, so continue them first"):
            simulate(fresh(), tmp_path / "other", options_in(interrupted))

    def test_force_frees_what_the_interrupted_run_reserved(self, tmp_path: Path, interrupted: Path) -> None:
        shutil.copytree(interrupted, tmp_path / "again")
        roomy = replace(options_in(tmp_path / "again"), force=True, max_epsilon=1.5 * EPSILON)
        simulate(fresh(), tmp_path / "again" / "out", roomy)  # the two runs together would need more than that
        assert min(epsilons(tmp_path / "again")) > EPSILON

    def test_nothing_to_resume_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="holds no interrupted simulation; leave --resume out"):
            simulate(fresh(), tmp_path / "out", Options(resume=True))


def test_a_second_run_over_the_budget_says_what_is_spent(tmp_path: Path, prepared: Prepared) -> None:
    options = Options(rows=50, sites=tmp_path / "sites", max_epsilon=prepared.study.privacy.epsilon, with_report=False)
    simulate(prepared, tmp_path / "a", options)
    with pytest.raises(PolicyRefusal, match=r"hold epsilon up to [1-9.]+ of --max-epsilon .*raise --max-epsilon"):
        simulate(prepared, tmp_path / "b", options)


def test_a_full_disk_after_the_release_keeps_it(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    monkeypatch.setattr(federation_run, "complete", full)
    with pytest.raises(StudyError, match=r"report\.html': No space left on device; make room") as caught:
        simulate(prepared, tmp_path / "out", Options(rows=50))
    assert f"fedsynth evaluate --run {tmp_path / 'out'}" in str(caught.value)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "finished"
