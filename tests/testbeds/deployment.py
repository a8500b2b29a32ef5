"""A small real deployment for tests: the clinic's north and south, one or more rounds, seeded noise."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path

import pandas as pd

from common.ledger.ledger import Ledger
from common.study.sections import HospitalFacts
from common.study.study import Study
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import Prepared
from simulations.federation.sites import open_hospitals, open_shards
from simulations.rehearsal.deployment import Deployment
from simulations.rehearsal.processes import fedsynth_command
from simulations.rehearsal.run import RESULTS
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.command_line import fedsynth

SITES = ("north", "south")

LONG = ("run", "resume")
"""Commands that last as long as a run: each has its own process, which is ended when it takes too long."""


class InProcessDeployment(Deployment):
    """A deployment whose short commands run in the test's process, which saves each of them the imports.

    Services and commands of a whole run are processes of their own, as at a site.
    """

    def fedsynth(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        if arguments[1] in LONG:
            return super().fedsynth(*arguments, timeout_s=timeout_s)
        with chdir(self.path):
            done = fedsynth(*arguments)
        return subprocess.CompletedProcess([*fedsynth_command(), *arguments], done.exit_code, done.stdout, done.stderr)


def rehearsal_tables() -> dict[str, pd.DataFrame]:
    return {name: table for name, table in clinic_tables().items() if name in SITES}


def rehearsal_study(coordinator: str, **sections: Mapping[str, object]) -> Study:
    """Two hospitals, seeded noise, one round unless said otherwise."""
    settings: dict[str, dict[str, object]] = {
        "study": {"rehearsal": True},
        "training": {"rounds": 1},
        "federation": {"coordinator": coordinator},
    }
    for section, keys in sections.items():
        settings[section] = settings.get(section, {}) | dict(keys)
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in SITES)
    return clinic_study(**settings).with_hospitals(facts)


@contextmanager
def running(folder: Path, **sections: Mapping[str, object]) -> Iterator[Deployment]:
    """A coordinator and both sites, started and connected."""
    with InProcessDeployment(folder) as one:
        study = rehearsal_study(one.make_keys(), **sections)
        one.start_coordinator()
        one.start_sites(rehearsal_tables(), study)
        yield one


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


def on_the_local_grid(study: Study, folder: Path) -> dict[str, bytes]:
    """What the same study gives in one process."""
    with ExitStack() as stack:
        shards = open_shards(Prepared(study, rehearsal_tables(), None, ()))
        hospitals = open_hospitals(study, shards, folder / "sites", stack)
        federate(simulated_run(study, folder, folder / "sites"), hospitals, workers=1)
    return results(folder)


def charges(deployment: Deployment, run_id: str, names: Sequence[str] = SITES) -> dict[str, int]:
    """Ledger lines of a run by site, read beside the running agent."""
    found = {}
    for name in names:
        lines = Ledger.view(deployment.site(name) / "ledger.sqlite").lines()
        found[name] = sum(line.slot.run_id == run_id for line in lines)
    return found
