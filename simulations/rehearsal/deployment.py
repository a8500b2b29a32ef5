"""A coordinator and its sites as real processes on this machine: TLS, authenticated SuperNodes, one agent per site."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from client.consent.decisions import Person
from client.site.approval import consider_run, read_proposed_run
from client.site.config import SITE, read_site
from common.protocol.signing import IDENTITY, Identity, fingerprint
from common.run_events.events import RunEvent
from common.run_events.file import EVENTS, read_events
from common.study.study import Study
from server.deploy.directory import CoordinatorDirectory
from simulations.rehearsal.processes import START_S, Processes, fedsynth_command, output_of

MAX_EPSILON = 100.0
"""Lifetime epsilon of every site, more than a rehearsal spends."""


APPROVER = Person(name="rehearsal", position="nobody: the records are invented")
"""Who approves the runs of a rehearsal."""


def free_port() -> int:
    """Return a port on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Deployment(Processes):
    """Everything below one folder: `coordinator/`, `sites/<name>/`, and a log for every process.

    Args:
        path: a folder with a short path, since it holds the agents' sockets.
        environment: environment variables that every process gets in addition to those of this one.
        port: port on which sites reach the coordinator.
        control_port: port of the coordinator's own commands.
        declared: text that is added to the site.toml of a site before it imports its table, by its name.
    """

    port: int = field(default_factory=free_port)
    control_port: int = field(default_factory=free_port)
    declared: dict[str, str] = field(default_factory=dict)

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

    def make_keys(self) -> str:
        """Create the coordinator's keys and certificates; return the text of its public key."""
        output_of(self.coordinator("certs"))
        return self.public

    def start_coordinator(self) -> float:
        """Run `coordinator up`; return the seconds until sites can connect."""
        ports = ("--host", "127.0.0.1", "--port", str(self.port), "--control-port", str(self.control_port))
        command = [*fedsynth_command(), "coordinator", "up", "--home", str(self.directory.path), *ports]
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
        """Create a site, import its table and enroll it; return the coordinator's output.

        Args:
            name: name of the site.
            raw: its raw table.
            study: gives its declared rows.
        """
        facts = study.hospital(name)
        assert facts is not None, "a site outside the study"
        for folder in (self.site(name).parent, self.path / "witnesses"):
            folder.mkdir(exist_ok=True)
        data = self.path / f"{name}.csv"
        raw.to_csv(data, index=False)
        limits = ("--declared-rows", str(facts.declared_rows), "--max-epsilon", str(MAX_EPSILON))
        more = ["--delta", repr(study.privacy.delta), "--allow-large-epsilon"]
        more += ["--witness", str(self.path / "witnesses" / f"{name}.json")]
        more += ["--rehearsal"] if study.about.rehearsal else []
        more += ["--one-row-per-patient"] if study.privacy.unit == "patient" else []
        output_of(
            self.fedsynth("site", "init", str(self.site(name)), "--name", name, "--data", str(data), *limits, *more)
        )
        with (self.site(name) / SITE).open("a", encoding="utf-8") as settings:
            settings.write(self.declared.get(name, ""))
        output_of(self.fedsynth("site", "import", "--site", str(self.site(name))))
        return output_of(self.coordinator("enroll", str(self.site(name) / "node" / "node.key.pub"), "--name", name))

    def site(self, name: str) -> Path:
        return self.path / "sites" / name

    def start_agent(self, name: str, *, wait: bool = True) -> float:
        """Start a site's agent; return the seconds until it serves."""
        command = [
            *fedsynth_command(),
            "site",
            "agent",
            "--site",
            str(self.site(name)),
            "--socket",
            str(self._socket(name)),
        ]
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
        command = [*fedsynth_command(), "site", "join", *link, *key, *more]
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
        if study.privacy.noise == "distributed":
            self.introduce(list(tables))
        for name in tables:
            self.await_that(partial(_has_connected, self, name), "the SuperNode connected", timeout_s=START_S)

    def introduce(self, names: Sequence[str]) -> None:
        """Pin every site's fingerprint at every other site, as each reads it to the others over the telephone."""
        for name, partner in itertools.permutations(names, 2):
            digits = fingerprint(self._identity(partner))
            output_of(self.fedsynth("site", "partner", "add", partner, digits, "--site", str(self.site(name))))

    def propose(self, study: Study) -> str:
        """Propose a run, approve it at every site and return its id."""
        path = self.path / "study.toml"
        path.write_text(study.to_toml(), encoding="utf-8")
        before = self.directory.runs()
        output_of(self.coordinator("propose", str(path)))
        (run_id,) = set(self.directory.runs()) - set(before)
        for settings in sorted((self.path / "sites").glob("*/site.toml")):
            self._approve(run_id, settings)
        return run_id

    def _approve(self, run_id: str, settings: Path) -> None:
        """Approve a run at a site, as a script does whose author has read the statement."""
        proposed = read_proposed_run(self.proposal(run_id), None)
        digest = consider_run(read_site(settings), proposed).digest
        command = ("site", "approve", str(self.proposal(run_id)), "--site", str(settings), "--agree", digest)
        output_of(self.fedsynth(*command, "--approver", APPROVER.name, "--position", APPROVER.position))

    def proposal(self, run_id: str) -> Path:
        return self.run_folder(run_id) / "proposal.json"

    def run(self, run_id: str, command: str = "run", *, timeout_s: float = 900.0) -> str:
        """Run `coordinator run` or `resume` until the run ends; return its output.

        Args:
            run_id: id of the run.
            command: "run" or "resume".
            timeout_s: longest time to wait, in seconds.
        """
        return output_of(self.coordinator(command, run_id, timeout_s=timeout_s))

    def run_folder(self, run_id: str) -> Path:
        return self.directory.path / "runs" / run_id

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


def journal_of(log: str) -> list[dict[str, Any]]:
    """Return the entries of an agent's log: its lines of JSON."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]


def _is_serving(log: str) -> bool:
    return any(entry["message"] == "serving" for entry in journal_of(log))


def _is_connected(log: str) -> bool:
    return "SuperNode ID" in log  # Flower shows it in no other way


def _has_connected(deployment: Deployment, name: str) -> bool:
    return _is_connected(deployment.log(f"{name}-node"))
