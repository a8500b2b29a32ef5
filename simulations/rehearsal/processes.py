"""Processes of a rehearsal: started, awaited and ended one by one, each with a log file.

Each program has its own process group, and only those started here are ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from common.errors import FederationError

ROOT = Path(__file__).parents[2]

START_S = 90.0
"""Longest time until a process is ready, in seconds."""


@dataclass
class Processes:
    """Processes by name, with their logs in one folder. On exit all are ended.

    Args:
        path: folder of the logs, and working directory of the processes.
        environment: environment variables that every process gets in addition to those of this one.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name in reversed(list(self.processes)):
            self.end(name)

    def fedsynth(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `fedsynth ...` to its end."""
        command = [*fedsynth_command(), *arguments]
        return subprocess.run(  # noqa: S603  # this project's own command
            command, env=self._environment(), cwd=self.path, capture_output=True, text=True, timeout=timeout_s
        )

    def start(self, name: str, command: Sequence[str], is_ready: Callable[[str], bool] | None) -> float:
        """Start a process, wait until it is ready and return the seconds that this took.

        Args:
            name: name of its log.
            command: program and arguments.
            is_ready: returns whether it is ready, given its log since the start; None does not wait.

        Raises:
            FederationError: the process ended, or was not ready in time.
        """
        started = time.monotonic()
        seen = len(self.log(name))
        with (self.path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # this project's own programs
                command, env=self._environment(), cwd=self.path, stdout=log, stderr=log, start_new_session=True
            )
        self.processes[name] = process
        while is_ready is not None and not is_ready(self.log(name)[seen:]):
            if process.poll() is not None or time.monotonic() - started > START_S:
                raise FederationError(f"{name} did not start; see {self.path / name}.log")
            time.sleep(0.05)
        return time.monotonic() - started

    def log(self, name: str) -> str:
        """Return the output of a process so far."""
        path = self.path / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def await_that(self, is_so: Callable[[], bool], what: str, *, timeout_s: float = 300.0) -> None:
        """Wait until a condition holds.

        Args:
            is_so: returns whether the condition holds.
            what: the condition, for the error.
            timeout_s: longest time to wait, in seconds.

        Raises:
            FederationError: the condition does not hold after `timeout_s` seconds.
        """
        end = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end:
                raise FederationError(f"{what}: not within {timeout_s:g} s")
            time.sleep(0.05)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a process and the rest of its group; return its exit code."""
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            code = -1
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return code

    def _environment(self) -> dict[str, str]:
        # The code under test goes before an installed fedsynth, also in programs that Flower starts.
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | dict(self.environment)


def fedsynth_command() -> list[str]:
    """Return the words that start `fedsynth` from this checkout."""
    return [sys.executable, "-c", "from simulations.cli.main import main; main()"]


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program printed.

    Raises:
        FederationError: it ended with another exit code than 0.
    """
    if done.returncode != 0:
        raise FederationError(f"{done.args[3:6]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
