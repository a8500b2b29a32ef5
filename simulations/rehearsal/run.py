"""A deployment tried out on one machine, and where the time of each exchange goes.

    python -m simulations.rehearsal.run [--out DIR] [--rounds N] [--secure]

SuperLink, three sites (agent and SuperNode each) and every certificate and key are real and talk over loopback; the
records are those of three hospitals of the built-in study, which share their noise under secure aggregation. With
seeded noise, the default, the result must equal the local grid's to the byte. `--secure` draws noise as a real site
does: another result, under the same checks.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from common.errors import FederationError, FedSynthError
from common.ledger.ledger import Ledger
from common.planning.plan import ROUNDS
from common.planning.planner import make_plan
from common.run_events.events import ExchangeStarted, HospitalReplied, RunEvent
from common.run_events.file import EVENTS, read_events
from common.study.study import Study
from common.system.folder import RunFolder
from server.run.exchange import ENROLLMENT
from simulations.cli.console import summarize
from simulations.federation.federate import federate, simulated_run
from simulations.federation.hospitals import Tables, built_in_hospitals, built_in_study
from simulations.federation.prepare import Prepared
from simulations.federation.report import FinishedRun, Result, complete
from simulations.federation.sites import Shards, open_hospitals, open_shards
from simulations.rehearsal.deployment import Deployment

SITES = ("cleveland", "hungary", "va-long-beach")
DEFAULT_ROUNDS = 5
"""Rounds of training, enough for a median."""
RESULTS = ("model/weights.safetensors", "model/released.safetensors", "synthetic.csv")
"""What must not depend on how the messages traveled."""

PARTS = {"out": "to the agent", "compute": "compute", "back": "back", "overhead": "overhead, out and back"}
"""Parts of a trip by what a reader calls them."""


@dataclass(frozen=True, slots=True)
class Trip:
    """One exchange with the site that answered last, in seconds.

    Attributes:
        asked: the request.
        site: site that answered last.
        out: seconds from the coordinator's request to the agent's start: signing, upload, gateway, SuperNode and relay.
        compute: seconds of computing at the agent.
        back: seconds from the agent's answer to the coordinator: the agent's grid, relay, the SuperNode's poll, the
            coordinator's poll.
    """

    asked: ExchangeStarted
    site: str
    out: float
    compute: float
    back: float

    @property
    def overhead(self) -> float:
        """Seconds that are not computing."""
        return self.out + self.back

    @property
    def title(self) -> str:
        """Phase, round and request."""
        number = f" {self.asked.round}" if self.asked.round else ""
        return f"{self.asked.phase}{number}: {self.asked.request}"


def rehearsal_study(coordinator: str, *, rounds: int = DEFAULT_ROUNDS, is_seeded: bool = True) -> Study:
    """The built-in study for three of its hospitals."""
    built_in = built_in_study()
    facts = tuple(hospital for hospital in built_in.hospitals if hospital.name in SITES)
    return built_in.with_hospitals(facts).amended(
        study={"name": "heart-rehearsal", "rehearsal": is_seeded},
        training={"rounds": rounds},
        federation={"coordinator": coordinator, "round_deadline_s": 300.0},
    )


def rehearse(out: Path, *, rounds: int = DEFAULT_ROUNDS, is_seeded: bool = True) -> tuple[Result, tuple[Trip, ...]]:
    """Run the deployment, copy its run's folder to `out` and report on it.

    Raises:
        FederationError: the run failed, or a seeded one differs from the local grid's.
    """
    started = time.monotonic()
    tables: Tables = {name: raw for name, raw in built_in_hospitals().items() if name in SITES}
    # Sockets need a short path; whatever the machine calls its temporary folder is one.
    with tempfile.TemporaryDirectory(prefix="fedsynth-") as folder:
        with Deployment(Path(folder)) as deployment:
            study = rehearsal_study(deployment.make_keys(), rounds=rounds, is_seeded=is_seeded)
            deployment.start_coordinator()
            deployment.start_sites(tables, study)
            study = deployment.identified(study)
            run_id = deployment.propose(study)
            deployment.run(run_id)
            answers = {name: answers_in(deployment.journal(name)) for name in tables}
            trips = trips_of(read_events(deployment.run_folder(run_id) / EVENTS), answers)
        shutil.copytree(deployment.run_folder(run_id), out, dirs_exist_ok=True)
        for name in tables:
            (out / "sites" / name).mkdir(parents=True, exist_ok=True)
            for file in deployment.site(name).glob("ledger.*"):
                shutil.copy2(file, out / "sites" / name)
        shards = open_shards(Prepared(study, tables, None, ()))
        if is_seeded:
            compare(study, shards, out, Path(folder) / "local")
        ledgers = {name: Ledger.view(out / "sites" / name / "ledger.sqlite") for name in tables}
        finished = FinishedRun(study, make_plan(study), shards, ledgers, RunFolder(out))
        return complete(finished, started=started), trips


def compare(study: Study, shards: Shards, out: Path, local: Path) -> None:
    """Run the same study on the local grid and compare.

    Args:
        study: study of the run.
        shards: the records of each hospital.
        out: what the deployment wrote.
        local: folder for the run on the local grid.

    Raises:
        FederationError: a result differs in a byte.
    """
    torch.set_num_threads(1)
    with ExitStack() as stack:
        hospitals = open_hospitals(study, shards, local / "sites", stack)
        federate(simulated_run(study, local, local / "sites"), hospitals)
    differing = [name for name in RESULTS if (out / name).read_bytes() != (local / name).read_bytes()]
    if differing:
        raise FederationError(f"{', '.join(differing)} differ from the local grid's; the transport changed the result")


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One line of an agent's journal: when it had answered a request, and the seconds that it took."""

    time: datetime
    seconds: float


def trips_of(events: Sequence[RunEvent], answers: Mapping[str, Sequence[JournalLine]]) -> tuple[Trip, ...]:
    """Return every exchange after enrollment, from the coordinator's events and the agents' answers, by one clock.

    Args:
        events: events of the run.
        answers: answers of each site.
    """
    trips, started = [], None
    replied: list[HospitalReplied] = []
    for event in (*events, None):
        match event:
            case ExchangeStarted() | None:
                if started is not None and replied and started.phase != ENROLLMENT:
                    trips.append(_trip(started, replied, answers))
                started, replied = event, []
            case HospitalReplied():
                replied.append(event)
    return tuple(trips)


def _trip(
    started: ExchangeStarted, replied: Sequence[HospitalReplied], answers: Mapping[str, Sequence[JournalLine]]
) -> Trip:
    """Return the trip of the site that answered last. The events of replies all come at the end of their exchange."""
    end = max(event.time for event in replied)
    first = {
        event.hospital: next(
            answer for answer in answers[event.hospital] if started.time < answer.time <= end + timedelta(seconds=1)
        )
        for event in replied
    }
    site = max(first, key=lambda name: first[name].time)
    answer = first[site]
    out = (answer.time - started.time).total_seconds() - answer.seconds
    return Trip(started, site, out, answer.seconds, (end - answer.time).total_seconds())


def answers_in(journal: Sequence[Mapping[str, Any]]) -> tuple[JournalLine, ...]:
    """Return the answers that an agent's journal records."""
    return tuple(
        JournalLine(datetime.fromisoformat(entry["time"]), float(entry["seconds"]))
        for entry in journal
        if entry["message"] == "request"
    )


def show(trips: tuple[Trip, ...]) -> None:
    """Print one line for every exchange and, for the rounds, median and range of each part."""
    console = Console()
    table = Table(title="Seconds of each exchange, at the site that answered last", title_justify="left", box=None)
    for heading in ("asked", "site", "to the agent", "compute", "back", "overhead"):
        table.add_column(heading, justify="left" if heading in ("asked", "site") else "right")
    for trip in trips:
        figures = (trip.out, trip.compute, trip.back, trip.overhead)
        table.add_row(trip.title, trip.site, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    rounds = [trip for trip in trips if trip.asked.phase == ROUNDS]
    console.print(f"Seconds of an exchange in the rounds, median (range) of {len(rounds)}:")
    for part, name in PARTS.items():
        console.print(f"  {name:<24}{spread([getattr(trip, part) for trip in rounds])}")


def spread(seconds: Sequence[float]) -> str:
    """Return median and range, to a tenth."""
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def main() -> None:
    """Parse, rehearse, print."""
    parser = argparse.ArgumentParser(description="Try a deployment out on this machine.")
    parser.add_argument("--out", type=Path, default=Path("out/rehearsal"))
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS)
    parser.add_argument("--secure", action="store_true", help="noise as a real site draws it; nothing to compare with")
    options = parser.parse_args()
    try:
        result, trips = rehearse(options.out, rounds=options.rounds, is_seeded=not options.secure)
    except FedSynthError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)
    summarize(result)
    show(trips)
    if not options.secure:
        Console().print("Weights, released counts and synthetic rows equal the local grid's to the byte.")


if __name__ == "__main__":
    main()
