"""A deployment tried out on one machine, and where the time of each exchange goes.

    python -m simulations.rehearsal.run [--out DIR] [--rounds N] [--secure]

SuperLink, three sites (agent and SuperNode each) and every certificate and key are real and talk over loopback; the
records are those of three hospitals of the built-in study, which share their noise under secure aggregation. With
seeded noise, the default, the result must equal the local grid's to the byte. `--secure` draws noise as a real site
does: another result, under the same checks.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from common.errors import FederationError, FedSynthError
from common.ledger.ledger import Ledger
from common.study.study import Study
from common.system.folder import RunFolder
from simulations.cli.console import summarize
from simulations.federation.hospitals import Tables, built_in_hospitals, built_in_study
from simulations.federation.prepare import Prepared
from simulations.federation.run import Result, Shards, complete, federate, open_hospitals, open_shards
from simulations.rehearsal.deployment import Deployment

SITES = ("cleveland", "hungary", "va-long-beach")
ROUNDS = 5
RESULTS = ("model/weights.safetensors", "model/released.safetensors", "synthetic.csv")
"""What must not depend on how the messages travelled."""

PARTS = {"out": "to the agent", "compute": "compute", "back": "back", "overhead": "overhead, out and back"}
"""Parts of a trip by what a reader calls them."""

ASKED = re.compile(r"^(\S+ \S+) INFO asking \d+ hospitals: (.+)$", re.MULTILINE)
REPLIED = re.compile(r"^(\S+ \S+) INFO (\S+): replied to \S+ after \S+ s$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trip:
    """One exchange with the site that answered last, in seconds.

    Attributes:
        out: from the coordinator's request to the agent's start: signing, upload, the door, SuperNode and relay.
        compute: at the agent.
        back: from the agent's answer to the coordinator's hands: relay, the SuperNode's poll, the coordinator's.
    """

    asked: str
    site: str
    out: float
    compute: float
    back: float

    @property
    def overhead(self) -> float:
        return self.out + self.back


def rehearsal_study(coordinator: str, *, rounds: int = ROUNDS, is_seeded: bool = True) -> Study:
    """The built-in study for three of its hospitals."""
    whole = built_in_study()
    facts = tuple(hospital for hospital in whole.hospitals if hospital.name in SITES)
    return whole.with_hospitals(facts).amended(
        study={"name": "heart-rehearsal", "rehearsal": is_seeded},
        training={"rounds": rounds},
        federation={"coordinator": coordinator, "round_deadline_s": 300.0},
    )


def rehearse(out: Path, *, rounds: int = ROUNDS, is_seeded: bool = True) -> tuple[Result, tuple[Trip, ...]]:
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
            journals = {name: deployment.log(f"{name}-agent") for name in tables}
            found = trips(deployment.run_log(run_id), journals)
        shutil.copytree(deployment.run_folder(run_id), out, dirs_exist_ok=True)
        for name in tables:
            (out / "sites" / name).mkdir(parents=True, exist_ok=True)
            for file in deployment.site(name).glob("ledger.*"):
                shutil.copy2(file, out / "sites" / name)
        shards = open_shards(Prepared(study, tables, None, ()))
        if is_seeded:
            compare(study, shards, out, Path(folder) / "local")
        ledgers = {name: Ledger.view(out / "sites" / name / "ledger.sqlite") for name in tables}
        return complete(study, shards, ledgers, RunFolder(out), started=started), found


def compare(study: Study, shards: Shards, out: Path, local: Path) -> None:
    """Run the same study on the local grid.

    Raises:
        FederationError: a result differs in a byte.
    """
    torch.set_num_threads(1)
    with ExitStack() as stack:
        federate(study, open_hospitals(study, shards, local / "sites", stack), local, local / "sites")
    differing = [name for name in RESULTS if (out / name).read_bytes() != (local / name).read_bytes()]
    if differing:
        raise FederationError(f"{', '.join(differing)} differ from the local grid's; the transport changed the result")


def trips(run_log: str, journals: Mapping[str, str]) -> tuple[Trip, ...]:
    """Every exchange after enrolment, as the coordinator's log and the agents' logs tell it by one clock."""
    answered = {site: _answers(journal) for site, journal in journals.items()}
    found = []
    starts = list(ASKED.finditer(run_log))
    for place, asked in enumerate(starts):
        if asked[2] == "query.enrol":
            continue
        end = starts[place + 1].start() if place + 1 < len(starts) else len(run_log)
        last = list(REPLIED.finditer(run_log, asked.end(), end))[-1]
        begun, back = _seconds(asked[1]), _seconds(last[1])
        done, compute = next(one for one in answered[last[2]] if begun < one[0] <= back + 1)
        found.append(Trip(asked[2], last[2], done - compute - begun, compute, back - done))
    return tuple(found)


def _answers(journal: str) -> list[tuple[float, float]]:
    """When an agent had answered each request, and how long it took, in seconds."""
    lines = [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
    return [
        (datetime.fromisoformat(line["time"]).timestamp(), float(line["seconds"]))
        for line in lines
        if line["message"] == "request"
    ]


def _seconds(stamp: str) -> float:
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def show(found: tuple[Trip, ...]) -> None:
    """One line for every exchange; for the rounds, median and range of each part."""
    console = Console()
    table = Table(title="Seconds of each exchange, at the site that answered last", title_justify="left", box=None)
    for heading in ("asked", "site", "to the agent", "compute", "back", "overhead"):
        table.add_column(heading, justify="left" if heading in ("asked", "site") else "right")
    for trip in found:
        figures = (trip.out, trip.compute, trip.back, trip.overhead)
        table.add_row(trip.asked, trip.site, *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    rounds = [trip for trip in found if trip.asked.startswith("train.round")]
    console.print(f"Seconds of a round, median (range) of {len(rounds)}:")
    for part, name in PARTS.items():
        console.print(f"  {name:<24}{spread([getattr(trip, part) for trip in rounds])}")


def spread(seconds: Sequence[float]) -> str:
    """Median and range, to a tenth."""
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def main() -> None:
    """Parse, rehearse, print."""
    parser = argparse.ArgumentParser(description="Try a deployment out on this machine.")
    parser.add_argument("--out", type=Path, default=Path("out/rehearsal"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--secure", action="store_true", help="noise as a real site draws it; nothing to compare with")
    options = parser.parse_args()
    try:
        result, found = rehearse(options.out, rounds=options.rounds, is_seeded=not options.secure)
    except FedSynthError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)
    summarize(result)
    show(found)
    if not options.secure:
        Console().print("Weights, released counts and synthetic rows equal the local grid's to the byte.")


if __name__ == "__main__":
    main()
