"""A coordinator and its sites as real processes on this machine: TLS, authenticated SuperNodes, one agent per site.

Each program has its own process group, and only those started here are ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pandas as pd

from common.errors import FederationError
from common.protocol.signing import IDENTITY, Identity
from common.run_events.events import RunEvent
from common.run_events.file import EVENTS, read_events
from common.study.study import Study
from server.deploy.directory import CoordinatorDirectory

ROOT = Path(__file__).parents[2]
START_S = 90.0
MAX_EPSILON = 100.0


def free_port() -> int:
    """Return a port on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Deployment:
    """Everything below one folder: `coordinator/`, `sites/<name>/`, and a log for every process.

    Args:
        path: a folder with a short path, since it holds the agents' sockets.
        environment: added to what every process sees.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    control_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

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

    @property
    def directory(self) -> CoordinatorDirectory:
        return CoordinatorDirectory(self.path / "coordinator")

    @property
    def authority(self) -> Path:
        return self.directory.authority[0]

    @property
    def public(self) -> str:
        """Return the text of the coordinator's public key."""
        return Identity.load(self.directory.key).public

    def coordinator(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `fedsynth coordinator ...` to its end."""
        return self.fedsynth("coordinator", *arguments, "--home", str(self.directory.path), timeout_s=timeout_s)

    def fedsynth(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `fedsynth ...` to its end."""
        command = [*_fedsynth(), *arguments]
        return subprocess.run(  # noqa: S603  # this project's own command
            command, env=self._environment(), cwd=self.path, capture_output=True, text=True, timeout=timeout_s
        )

    def make_keys(self) -> str:
        """Create the coordinator's keys and certificates; return the text of its public key."""
        _must(self.coordinator("certs"))
        return self.public

    def start_coordinator(self) -> float:
        """Run `coordinator up`; return the seconds until sites can connect."""
        ports = ("--host", "127.0.0.1", "--port", str(self.port), "--control-port", str(self.control_port))
        command = [*_fedsynth(), "coordinator", "up", "--home", str(self.directory.path), *ports]
        return self.start("coordinator", command, lambda log: self._is_open())

    def _is_open(self) -> bool:
        """Return whether the port for sites answers under the coordinator's certificate."""
        trusted = ssl.create_default_context(cafile=str(self.authority))
        try:
            address = f"https://127.0.0.1:{self.port}/health"
            return httpx.get(address, verify=trusted, timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def add_site(self, name: str, raw: pd.DataFrame, study: Study) -> str:
        """Create and enroll a site; return the coordinator's output.

        Args:
            name: name of the site.
            raw: its raw table.
            study: gives its declared rows.
        """
        facts = study.hospital(name)
        assert facts is not None, "a site outside the study"
        self.site(name).parent.mkdir(exist_ok=True)
        data = self.path / f"{name}.csv"
        raw.to_csv(data, index=False)
        limits = ("--declared-rows", str(facts.declared_rows), "--max-epsilon", str(MAX_EPSILON))
        more = ("--delta", repr(study.privacy.delta), *(["--rehearsal"] if study.about.rehearsal else []))
        _must(self.fedsynth("site", "init", str(self.site(name)), "--name", name, "--data", str(data), *limits, *more))
        return _must(self.coordinator("enroll", str(self.site(name) / "node" / "node.key.pub"), "--name", name))

    def site(self, name: str) -> Path:
        return self.path / "sites" / name

    def start_agent(self, name: str, *, wait: bool = True) -> float:
        """Start a site's agent; return the seconds until it serves."""
        command = [*_fedsynth(), "site", "agent", "--site", str(self.site(name)), "--socket", str(self._socket(name))]
        return self.start(f"{name}-agent", command, _is_serving if wait else None)

    def start_supernode(self, name: str, *, authority: Path | None = None, wait: bool = True) -> float:
        """Start a site's SuperNode; return the seconds until the coordinator has accepted it.

        Args:
            name: name of the site.
            authority: CA certificate; None for the coordinator's.
            wait: wait until it is accepted.
        """
        link = ("--superlink", f"127.0.0.1:{self.port}", "--ca", str(authority or self.authority))
        key = ("--key", str(self.site(name) / "node" / "node.key"), "--home", str(self.site(name) / "flower"))
        more = ("--socket", str(self._socket(name)), "--port", str(free_port()))
        command = [*_fedsynth(), "site", "join", *link, *key, *more]
        return self.start(f"{name}-node", command, _is_connected if wait else None)

    def _socket(self, name: str) -> Path:
        return self.site(name) / "run" / "agent.sock"

    def identified(self, study: Study) -> Study:
        """Return the study with the identities of its sites."""
        facts = tuple(
            hospital.model_copy(update={"identity": self._identity(hospital.name)}) for hospital in study.hospitals
        )
        return study.with_hospitals(facts)

    def _identity(self, name: str) -> str:
        return (self.site(name) / f"{IDENTITY}.pub").read_text(encoding="ascii").strip()

    def start_sites(self, tables: Mapping[str, pd.DataFrame], study: Study) -> None:
        """Enroll all sites and start their processes side by side."""
        for name, raw in tables.items():
            self.add_site(name, raw, study)
            self.start_agent(name, wait=False)
            self.start_supernode(name, wait=False)  # waits for the agent by itself
        for name in tables:
            self.await_that(partial(_has_connected, self, name), "the SuperNode connected", timeout_s=START_S)

    def propose(self, study: Study) -> str:
        """Propose a run, approve it at every site and return its id."""
        path = self.path / "study.toml"
        path.write_text(study.to_toml(), encoding="utf-8")
        before = self.directory.runs()
        _must(self.coordinator("propose", str(path)))
        (run_id,) = set(self.directory.runs()) - set(before)
        for settings in sorted((self.path / "sites").glob("*/site.toml")):
            _must(self.fedsynth("site", "approve", str(self.proposal(run_id)), "--site", str(settings), "--yes"))
        return run_id

    def proposal(self, run_id: str) -> Path:
        return self.run_folder(run_id) / "proposal.json"

    def run(self, run_id: str, command: str = "run", *, timeout_s: float = 900.0) -> str:
        """Run `coordinator run` or `resume` until the run ends; return its output.

        Args:
            run_id: id of the run.
            command: "run" or "resume".
            timeout_s: longest time to wait, in seconds.
        """
        return _must(self.coordinator(command, run_id, timeout_s=timeout_s))

    def run_folder(self, run_id: str) -> Path:
        return self.directory.path / "runs" / run_id

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

    def await_event(self, run_id: str, is_it: Callable[[RunEvent], bool], *, timeout_s: float = 300.0) -> None:
        """Wait for an event of a run.

        Args:
            run_id: id of the run.
            is_it: returns whether an event is the awaited one.
            timeout_s: longest time to wait, in seconds.
        """
        self.await_that(lambda: any(map(is_it, self.events(run_id))), f"an event of {run_id}", timeout_s=timeout_s)

    def events(self, run_id: str) -> tuple[RunEvent, ...]:
        """Return the events of a run so far."""
        return read_events(self.run_folder(run_id) / EVENTS)

    def journal(self, name: str) -> list[dict[str, Any]]:
        """Return the entries that a site's agent has logged."""
        return journal_of(self.log(f"{name}-agent"))

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


def _fedsynth() -> list[str]:
    return [sys.executable, "-c", "from simulations.cli.main import main; main()"]


def journal_of(log: str) -> list[dict[str, Any]]:
    """Return the entries of an agent's log: its lines of JSON."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]


def _is_serving(log: str) -> bool:
    return any(entry["message"] == "serving" for entry in journal_of(log))


def _is_connected(log: str) -> bool:
    return "SuperNode ID" in log  # Flower shows it in no other way


def _has_connected(deployment: Deployment, name: str) -> bool:
    return _is_connected(deployment.log(f"{name}-node"))


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        raise FederationError(f"{done.args[3:6]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
