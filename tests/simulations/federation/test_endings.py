"""How a simulation ends before its time: interrupted, on a full disk, over budget."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from common.errors import PolicyRefusal, StudyError
from common.run_events.events import PhaseStarted, RunEvent
from simulations.federation import run as federation_run
from simulations.federation.prepare import Prepared, prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_tables


@pytest.fixture
def prepared() -> Prepared:
    study = clinic_study(training={"rounds": 0}, synthesizer={"fit_steps": 5})
    return prepare(study, clinic_tables())


def test_an_interruption_says_where_and_what_is_spent(tmp_path: Path, prepared: Prepared) -> None:
    def interrupt(event: RunEvent) -> None:
        if isinstance(event, PhaseStarted) and event.phase == "coarse":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"interrupted during .*: the ledgers hold epsilon up to") as caught:
        simulate(prepared, tmp_path / "out", Options(rows=50), observers=[interrupt])
    assert "--force empties the folder" in str(caught.value)
    assert "up to 0;" not in str(caught.value)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", str(caught.value))


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
