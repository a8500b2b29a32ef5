from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType

from client.supernode import relay_pool
from client.supernode.relay_pool import EXECUTOR, PROGRAM, REFUSED, WAITING_AT, prepared_relays
from common.errors import FederationError
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


def test_flower_starts_programs_by_the_names_that_are_replaced() -> None:
    # If this fails, Flower has changed: a task of a new type finds no program at a site, until its name is listed.
    assert TASK_TYPE_TO_COMMAND[TaskType.CLIENT_APP] == PROGRAM
    assert {*TASK_TYPE_TO_COMMAND.values()} == {PROGRAM, *REFUSED}


def test_a_supernode_finds_no_program_that_runs_a_bundle() -> None:
    with prepared_relays(environment()) as prepared:
        (folder,) = map(Path, prepared["PATH"].split(os.pathsep))
        assert {path.name for path in folder.iterdir()} == {PROGRAM, EXECUTOR, *REFUSED}
        for name in REFUSED:
            done = subprocess.run([folder / name, "--help"], env=prepared, capture_output=True, text=True)
            assert done.returncode == 1
            assert f"the coordinator asked for '{name}', which no site runs" in done.stderr


@pytest.mark.slow
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


def test_a_new_interpreter_relays_where_nobody_waits() -> None:
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


def test_without_its_programs_no_supernode_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with (
        pytest.raises(FederationError, match="fedsynth-relay' is missing; install fedsynth again"),
        prepared_relays({"PATH": "/bin"}),
    ):
        pass


def test_a_pool_with_a_second_thread_does_not_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork has one thread; locks that others held stay locked in it for ever."""
    monkeypatch.setattr(relay_pool, "_wait", lambda address, parent: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    end = threading.Event()
    second = threading.Thread(target=end.wait)
    second.start()
    try:
        with pytest.raises(RuntimeError, match="relays cannot be forked"):
            relay_pool.main(tmp_path / "pool" / "socket", os.getpid())
    finally:
        end.set()
        second.join()
