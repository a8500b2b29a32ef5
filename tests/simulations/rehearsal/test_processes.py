"""Processes that do not start, end badly or take too long, and a deployment whose result differs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import FederationError
from simulations.rehearsal import processes, run
from simulations.rehearsal.processes import Processes, output_of
from tests.testbeds.clinic import clinic_study


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as here:
        yield here


def after(seconds: float) -> float:
    return time.monotonic() + seconds


def test_a_process_that_ends_at_once_did_not_start(started: Processes) -> None:
    end = after(1.5)
    with pytest.raises(FederationError, match=r"agent did not start; see .*agent\.log"):
        started.start("agent", [sys.executable, "-S", "-c", ""], lambda log: time.monotonic() > end)
    assert time.monotonic() < end


def test_a_process_that_is_not_ready_in_time_did_not_start(started: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_S", 0.05)
    end = after(0.5)
    with pytest.raises(FederationError, match="agent did not start"):
        started.start("agent", ["sleep", "30"], lambda log: time.monotonic() > end)


def test_what_does_not_happen_in_time_is_named(started: Processes) -> None:
    end = after(0.5)
    with pytest.raises(FederationError, match=r"a reply: not within 0\.05 s"):
        started.await_that(lambda: time.monotonic() > end, "a reply", timeout_s=0.05)


def test_a_command_that_fails_gives_no_output() -> None:
    command = ["python", "-c", "main()", "site", "check"]
    assert output_of(subprocess.CompletedProcess(command, 0, "fine\n", "")) == "fine\n"
    with pytest.raises(FederationError, match=r"'site', 'check'.* ended with 2: no site"):
        output_of(subprocess.CompletedProcess(command, 2, "", "no site\n"))


def test_a_deployment_of_another_result_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in run.RESULTS:
        for side in ("deployed", "local"):
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"same")
    for function in ("open_hospitals", "simulated_run", "federate"):
        monkeypatch.setattr(run, function, lambda *_: None)
    run.compare(clinic_study(), {}, tmp_path / "deployed", tmp_path / "local")
    (tmp_path / "local" / run.RESULTS[0]).write_bytes(b"other")
    with pytest.raises(FederationError, match=f"{run.RESULTS[0]} differ from the local grid's"):
        run.compare(clinic_study(), {}, tmp_path / "deployed", tmp_path / "local")
