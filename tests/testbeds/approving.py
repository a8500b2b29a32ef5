"""People who approve runs at a site."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import Result

from client.consent.decisions import Decision, Person
from client.site.approval import consider_run, decide, read_proposed_run
from client.site.config import Site, read_site
from client.site.imported import read_import
from common.ledger.ledger import Ledger
from common.planning.planner import make_plan
from common.study.study import Study
from tests.testbeds.command_line import fedsynth

KARI = Person(name="Kari Nordmann", position="data protection officer")
OLA = Person(name="Ola Nordmann", position="head of registry")
BY_KARI = ("--approver", KARI.name, "--position", KARI.position)
BY_OLA = ("--approver", OLA.name, "--position", OLA.position)


def approve(folder: Path, agreement: Path, run_id: str | None = None, person: Person = KARI) -> None:
    """Approve a run at a site, as a person would who reads the statement."""
    site = read_site(folder)
    decide(site, consider_run(site, read_proposed_run(agreement, run_id)).approval(person))


def approve_by_command(folder: Path, agreement: Path, run_id: str, person: Person = KARI) -> Result:
    """The command of a script whose author has read the statement."""
    site = read_site(folder)
    digest = consider_run(site, read_proposed_run(agreement, run_id)).digest
    who = ("--approver", person.name, "--position", person.position)
    return fedsynth("site", "approve", agreement, "--run", run_id, "--site", folder, *who, "--agree", digest)


def file_approval(site: Site, study: Study, run_id: str = "run-1") -> None:
    """File an approval that the site's policy may contradict."""
    now = datetime.now(UTC)
    decision = Decision(
        kind="approve",
        run_id=run_id,
        study=study.name,
        fingerprint=study.fingerprint,
        plan_sha256=make_plan(study).digest,
        table_sha256=read_import(site).sha256,
        person=KARI,
        ledger=Ledger.view(site.ledger).head,
        time=now,
        expires=now + timedelta(days=1),
    )
    site.approvals.add(decision)
