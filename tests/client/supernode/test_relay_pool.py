from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supernode.cli import flwr_clientapp

from client.supernode.relay_pool import PROGRAM, WAITING_AT, entry_point, prepared_relays
from tests.testbeds.agent_process import ROOT

ABOUT = "Run a Flower ClientApp"
"""What Flower's program says of itself when asked for help."""

BY_NAME = f"import subprocess; print(subprocess.run(['{PROGRAM}', '--help'], capture_output=True, text=True))"
"""How Flower's executor finds the program: by name, on the PATH of its own environment."""


def environment() -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return os.environ | {"PATH": os.pathsep.join([programs, os.environ["PATH"]]), "PYTHONPATH": str(ROOT)}


def start_by_name(environment: dict[str, str]) -> tuple[str, float]:
    """What the program printed itself, and its processor time in seconds, the asking interpreter's included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-IS", "-c", BY_NAME], env=environment, capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def await_waiting(environment: dict[str, str]) -> None:
    end = time.monotonic() + 60
    while not Path(environment[WAITING_AT]).exists():
        assert time.monotonic() < end, "nobody waits for messages"
        time.sleep(0.05)


def test_flower_starts_a_relay_by_the_name_that_is_replaced() -> None:
    # If this fails, Flower has changed: relays are started as it starts them, and every message costs a second more.
    assert TASK_TYPE_TO_COMMAND[TaskType.CLIENT_APP] == PROGRAM
    assert entry_point() is flwr_clientapp


def test_a_forked_relay_takes_a_fraction_of_the_processor_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    own, plain = start_by_name(environment())
    assert ABOUT in own
    with prepared_relays(environment()) as prepared:
        await_waiting(prepared)
        said, handed_over = start_by_name(prepared)
        assert ABOUT not in said  # a fork of another process says it
        told, end = "", time.monotonic() + 20
        while ABOUT not in told and time.monotonic() < end:
            told += capfd.readouterr().out
            time.sleep(0.05)
    assert ABOUT in told
    assert handed_over < plain / 4


def test_flowers_own_program_runs_where_nobody_waits() -> None:
    with prepared_relays(environment()) as prepared:
        said, _ = start_by_name(prepared | {WAITING_AT: "/nonexistent"})
    assert ABOUT in said
    assert not Path(prepared[WAITING_AT]).exists()


def test_nobody_but_this_account_may_have_a_relay_forked() -> None:
    with prepared_relays(environment()) as prepared:
        folder = Path(prepared[WAITING_AT]).parent
        assert folder.stat().st_mode & 0o077 == 0
        assert folder.stat().st_uid == os.geteuid()


def test_the_pool_ends_with_its_parent_and_leaves_no_folder() -> None:
    code = (
        "import os, sys, time\n"
        "from client.supernode.relay_pool import WAITING_AT, prepared_relays\n"
        "with prepared_relays(os.environ) as prepared:\n"
        "    while not os.path.exists(prepared[WAITING_AT]):\n"
        "        time.sleep(0.05)\n"
        "    print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
        "    print(os.path.dirname(prepared[WAITING_AT]), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        waiting, folder = int(starter.stdout.readline()), Path(starter.stdout.readline().strip())
        assert folder.is_dir()
        starter.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while Path(f"/proc/{waiting}").exists():
        assert time.monotonic() < end, "it outlives the one that started it"
        time.sleep(0.1)
    assert not folder.exists()


def test_without_the_script_relays_are_flowers_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with prepared_relays({"PATH": "/bin"}) as environment:
        assert environment == {"PATH": "/bin"}
    assert "fedsynth-relay' is missing, so every message takes a second longer" in caplog.text
