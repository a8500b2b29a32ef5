"""A coordinator and its sites as real processes on this machine: TLS, authenticated SuperNodes, one agent per site.

Each program has its own process group, and only those started here are ended.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd

from common.errors import FederationError
from common.protocol.signing import IDENTITY, Identity
from common.study.study import Study
from server.deploy.directory import Home

ROOT = Path(__file__).parents[2]
START_S = 90.0
MAX_EPSILON = 100.0


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Deployment:
    """Everything below one folder: `coordinator/`, `sites/<name>/`, and a log for every process.

    Args:
        path: a folder of a short path: agents' sockets lie in it.
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
    def home(self) -> Home:
        return Home(self.path / "coordinator")

    @property
    def authority(self) -> Path:
        return self.home.authority[0]

    @property
    def public(self) -> str:
        """The text of the coordinator's public key."""
        return Identity.load(self.home.key).public

    def coordinator(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `fedsynth coordinator ...` to its end."""
        return self.fedsynth("coordinator", *arguments, "--home", str(self.home.path), timeout_s=timeout_s)

    def fedsynth(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `fedsynth ...` to its end."""
        command = [*_fedsynth(), *arguments]
        return subprocess.run(  # noqa: S603  # this project's own command
            command, env=self._environment(), cwd=self.path, capture_output=True, text=True, timeout=timeout_s
        )

    def make_keys(self) -> str:
        """The coordinator's keys and certificates; the text of its public key."""
        _must(self.coordinator("certs"))
        return self.public

    def start_coordinator(self) -> float:
        """`coordinator up`; the seconds until sites can connect."""
        ports = ("--host", "127.0.0.1", "--port", str(self.port), "--control-port", str(self.control_port))
        command = [*_fedsynth(), "coordinator", "up", "--home", str(self.home.path), *ports]
        return self.start("coordinator", command, "sites reach this coordinator")

    def add_site(self, name: str, raw: pd.DataFrame, study: Study) -> str:
        """A site's folder, data and keys, enrolled at the coordinator; what the coordinator answered."""
        facts = study.hospital(name)
        assert facts is not None, "a site outside the study"
        self.site(name).parent.mkdir(exist_ok=True)
        data = self.path / f"{name}.csv"
        raw.to_csv(data, index=False)
        limits = ("--declared-rows", str(facts.declared_rows), "--max-epsilon", str(MAX_EPSILON))
        more = ("--delta", repr(study.privacy.delta), *(["--rehearsal"] if study.about.rehearsal else []))
        _must(self.fedsynth("site", "init", str(self.site(name)), "--name", name, "--data", str(data), *limits, *more))
        return _must(self.coordinator("enrol", str(self.site(name) / "node" / "node.key.pub"), "--name", name))

    def site(self, name: str) -> Path:
        return self.path / "sites" / name

    def start_agent(self, name: str, *, wait: bool = True) -> float:
        """The site's agent; the seconds until it serves."""
        command = [*_fedsynth(), "site", "agent", "--site", str(self.site(name)), "--socket", str(self._socket(name))]
        return self.start(f"{name}-agent", command, '"message": "serving"' if wait else "")

    def start_supernode(self, name: str, *, authority: Path | None = None, wait: bool = True) -> float:
        """The site's SuperNode; the seconds until the coordinator has accepted it."""
        link = ("--superlink", f"127.0.0.1:{self.port}", "--ca", str(authority or self.authority))
        key = ("--key", str(self.site(name) / "node" / "node.key"), "--home", str(self.site(name) / "flower"))
        more = ("--socket", str(self._socket(name)), "--port", str(free_port()))
        command = [*_fedsynth(), "site", "join", *link, *key, *more]
        return self.start(f"{name}-node", command, "SuperNode ID" if wait else "")

    def _socket(self, name: str) -> Path:
        return self.site(name) / "run" / "agent.sock"

    def identified(self, study: Study) -> Study:
        """The study with the identities that its sites have made."""
        facts = tuple(
            hospital.model_copy(update={"identity": self._identity(hospital.name)}) for hospital in study.hospitals
        )
        return study.with_hospitals(facts)

    def _identity(self, name: str) -> str:
        return (self.site(name) / f"{IDENTITY}.pub").read_text(encoding="ascii").strip()

    def start_sites(self, tables: Mapping[str, pd.DataFrame], study: Study) -> None:
        """Enrol all sites and start their processes side by side."""
        for name, raw in tables.items():
            self.add_site(name, raw, study)
            self.start_agent(name, wait=False)
            self.start_supernode(name, wait=False)  # waits for the agent by itself
        for name in tables:
            self.await_log(f"{name}-node", "SuperNode ID", timeout_s=START_S)

    def propose(self, study: Study) -> str:
        """The run id of a new proposal, approved by every site."""
        path = self.path / "study.toml"
        path.write_text(study.to_toml(), encoding="utf-8")
        run_id = _must(self.coordinator("propose", str(path))).split()[1]
        for settings in sorted((self.path / "sites").glob("*/site.toml")):
            _must(self.fedsynth("site", "approve", str(self.proposal(run_id)), "--site", str(settings), "--yes"))
        return run_id

    def proposal(self, run_id: str) -> Path:
        return self.run_folder(run_id) / "proposal.json"

    def run(self, run_id: str, command: str = "run", *, timeout_s: float = 900.0) -> str:
        """`coordinator run` or `resume` until the run ends; what it printed."""
        return _must(self.coordinator(command, run_id, timeout_s=timeout_s))

    def run_folder(self, run_id: str) -> Path:
        return self.home.path / "runs" / run_id

    def start(self, name: str, command: Sequence[str], ready: str) -> float:
        """Start a process that says `ready` in its log; the seconds until it did.

        Raises:
            FederationError: it ended, or said nothing of the kind.
        """
        started = time.monotonic()
        seen = len(self.log(name))
        with (self.path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # this project's own programs
                command, env=self._environment(), cwd=self.path, stdout=log, stderr=log, start_new_session=True
            )
        self.processes[name] = process
        while ready not in self.log(name)[seen:]:
            if process.poll() is not None or time.monotonic() - started > START_S:
                raise FederationError(f"{name} did not start; see {self.path / name}.log")
            time.sleep(0.05)
        return time.monotonic() - started

    def log(self, name: str) -> str:
        """What a process has written so far."""
        path = self.path / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def await_log(self, name: str, text: str, *, timeout_s: float = 300.0) -> None:
        """Wait for a text in a process's log, or in a run's log where `name` is a run id."""
        end = time.monotonic() + timeout_s
        while text not in (self.log(name) or self.run_log(name)):
            if time.monotonic() > end:
                raise FederationError(f"'{text}' is not in the log of {name} after {timeout_s:g} s")
            time.sleep(0.05)

    def run_log(self, run_id: str) -> str:
        path = self.run_folder(run_id) / "run.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a process and whatever is left of its group; its exit code."""
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


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        raise FederationError(f"{done.args[3:6]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
