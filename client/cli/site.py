"""`fedsynth site`: what the people of one hospital do on its machine. Heavy imports wait until a command needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from client.cli.agent import create_site_keys, mount
from client.cli.ledger import ledger_app
from common.errors import PolicyRefusal, Reason, SiteError
from common.protocol.signing import fingerprint

if TYPE_CHECKING:
    from client.agent.agent import Agent
    from client.site import Site
    from common.planning.plan import Plan
    from common.study.study import Study

site_app = typer.Typer(no_args_is_help=True, help="A hospital's own machine: its limits, approvals and ledger.")
site_app.add_typer(ledger_app, name="ledger")

StudyFile = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
SiteFile = Annotated[Path, typer.Option("--site", help="site.toml, or the folder that holds it.")]
HERE = Path("site.toml")

_out = Console(soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _open_agent(path: Path) -> Iterator[Agent]:
    """Open the agent of the site that a site.toml describes.

    Raises:
        DataError: the data file cannot be read, in the words of `site check`; in a run it would show as `unavailable`.
    """
    from client.agent.agent import Agent
    from client.site import open_hospital, read_site
    from common.tables.streaming import check_readable

    site = read_site(path)
    _warn_of_rehearsal(site)
    with open_hospital(site) as hospital:
        check_readable(site.data)
        epsilon = lambda: hospital.ledger.epsilon  # noqa: E731
        yield Agent(hospital, data=site.data, state=site.state, is_rehearsal=site.rehearsal, epsilon=epsilon)


mount(site_app, _open_agent)


@site_app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make for site.toml and the state.", show_default=False)],
    name: Annotated[str, typer.Option(help="This hospital, as studies name it.", show_default=False)],
    data: Annotated[Path, typer.Option(help="Its table (CSV, Parquet).", show_default=False)],
    declared_rows: Annotated[int, typer.Option(help="Rounded number of patients; public.", show_default=False)],
    max_epsilon: Annotated[float, typer.Option(help="The cohort's lifetime cap.", show_default=False)],
    delta: Annotated[float, typer.Option(help="The cohort's one delta.")] = 1e-5,
    cohort: Annotated[str | None, typer.Option(help="Whose budget this is; the hospital's name if not given.")] = None,
    patient_column: Annotated[str | None, typer.Option(help="Column that tells patients apart.")] = None,
    node: Annotated[
        Path | None, typer.Option(help="Folder for the SuperNode's key, without data; inside FOLDER if not given.")
    ] = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Predictable noise that protects nobody, for invented records.")
    ] = False,
) -> None:
    """Make a folder with site.toml, an empty ledger and keys that only this account can read.

    Private keys never leave this machine. Two public parts travel: the identity, which belongs in the study, and the
    SuperNode's `.pub` file, which the coordinator enrols.
    """
    from client.site import SITE, init_site

    settings = {
        "name": name,
        "cohort": cohort or name,
        "data": str(data.resolve()),
        "patient_column": patient_column,
        "declared_rows": declared_rows,
        "max_epsilon": max_epsilon,
        "delta": delta,
        "rehearsal": rehearsal,
    }
    site = init_site(folder, settings)
    keys = create_site_keys(site.state, node or folder / "node")
    _out.print(f"Wrote {folder / SITE}. Read it, then try `fedsynth site check STUDY --site {folder}`.")
    _out.print(f'For the study, under [[hospitals]]: identity = "{keys["identity"]}"')
    _out.print(f"For the coordinator: {keys['node-public']}")
    _out.print("Compare by telephone, digit by digit:")
    _out.print(f"  identity  {keys['identity-fingerprint']}")
    _out.print(f"  SuperNode {keys['node-fingerprint']}")
    _warn_of_rehearsal(site)


@site_app.command()
def check(study: StudyFile, site: SiteFile = HERE) -> None:
    """Check this hospital's table against a study, before anything is agreed.

    Messages count rows exactly: they are for this hospital's eyes.
    """
    from client.consent.statement import partner_keys
    from client.site import check_data, check_state, read_site
    from common.study.study import read_study

    here, agreed = read_site(site), read_study(study)
    check_state(here)
    for notice in check_data(here, agreed):
        _out.print(f"note {notice}")
    _out.print(f"{here.name}: the table fits study {agreed.name}.")
    for line in partner_keys(agreed, here.name):
        _out.print(line)
    if agreed.about.origin == "drafted":
        _out.print("note its schema was read off records: this hospital answers only studies that people wrote")
    _warn_of_rehearsal(here)


@site_app.command()
def approve(
    agreement: Annotated[
        Path, typer.Argument(help="The coordinator's proposal (JSON), or a study file with --run.", show_default=False)
    ],
    run: Annotated[str | None, typer.Option("--run", help="The run's id; a proposal holds it.")] = None,
    site: SiteFile = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Approve one run of a study under exactly its plan, after showing what would leave and what it costs.

    A proposal is signed by the coordinator that its study names; the signature is checked. No record is read. A rerun
    has another id and needs another approval.
    """
    from dataclasses import replace

    from client.consent.policy import Approval
    from client.consent.statement import partner_keys, what_it_costs, what_leaves
    from client.site import check_owner, check_state, read_site
    from common.ledger.ledger import Ledger

    here = read_site(site)
    check_state(here)
    check_owner(here)
    run, agreed, plan = _agreement(agreement, run)
    approval = Approval(run, agreed.name, agreed.fingerprint, plan.digest, datetime.now(UTC).isoformat("T", "seconds"))
    here.approvals.check(approval)
    history = Ledger.view(here.ledger)
    if history.enrolment(run) is not None:
        raise SiteError(f"run '{run}' is in the ledger already; every run needs its own name")
    spent = history.committed(here.name, here.max_epsilon)
    willing = replace(here.policy, approved=frozenset({agreed.fingerprint}))
    try:
        mine = willing.check(run, agreed, plan, spent)
    except PolicyRefusal as refusal:
        raise PolicyRefusal(refusal.reason, f"{here.name} would refuse study {agreed.name}: {refusal}") from None
    _out.print(f"Run {run} of study {agreed.name} (fingerprint {agreed.fingerprint}, plan {plan.digest}).")
    if agreed.federation.coordinator is not None:
        key = fingerprint(agreed.federation.coordinator)
        _out.print(
            f"The agent will answer whoever holds the key {key}. Compare it with the coordinator's by telephone."
        )
    for line in partner_keys(agreed, here.name):
        _out.print(line)
    for line in what_leaves(agreed, plan, mine):
        _out.print(line)
    for line in what_it_costs(agreed, plan, mine, spent, cap=here.max_epsilon, delta=here.delta):
        _out.print(line)
    _warn_of_rehearsal(here)
    if not yes and not typer.confirm(f"Does {here.name} approve this run?"):
        raise PolicyRefusal(Reason.STUDY_NOT_APPROVED, f"run '{run}' was not approved; nothing was written")
    here.approvals.write(approval)
    _out.print(f"Approved: {here.approvals.folder / f'{run}.json'}")


def _agreement(path: Path, run: str | None) -> tuple[str, Study, Plan]:
    """Run id, study and plan of a proposal, or of a study file and a run id."""
    from common.planning.planner import make_plan
    from common.planning.proposal import read_proposal
    from common.study.study import read_study

    if path.suffix == ".json":
        proposal = read_proposal(path)
        if run not in (None, proposal.run_id):
            raise SiteError(f"the proposal is for run '{proposal.run_id}'; leave --run out")
        return proposal.run_id, *proposal.agreed()
    if run is None:
        raise SiteError("a study file alone names no run; give --run, or the coordinator's proposal")
    study = read_study(path)
    return run, study, make_plan(study)


def _warn_of_rehearsal(site: Site) -> None:
    if site.rehearsal:
        _out.print("REHEARSAL: the noise is predictable and protects nobody. For invented records only.", style="red")
