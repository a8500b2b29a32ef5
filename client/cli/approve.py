"""`fedsynth site approve | deny | withdraw`: show what a run releases and costs; a person decides, or takes it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.cli.options import HERE, SiteFile, console, warn_of_rehearsal

if TYPE_CHECKING:
    from client.site.config import Site

Approver = Annotated[str, typer.Option("--approver", help="Name of the person who decides.", show_default=False)]
Position = Annotated[
    str, typer.Option("--position", help="Position of that person at the hospital.", show_default=False)
]
Why = Annotated[str, typer.Option("--reason", help="Why, in a sentence; it is kept in the ledger.")]


def approve(
    proposal: Annotated[
        Path, typer.Argument(help="The coordinator's proposal (JSON), or a study file with --run.", show_default=False)
    ],
    approver: Approver,
    position: Position,
    run: Annotated[str | None, typer.Option("--run", help="Run id, for a study file; a proposal contains it.")] = None,
    site: SiteFile = HERE,
    reason: Why = "",
    agree: Annotated[
        str | None,
        typer.Option(
            "--agree", metavar="DIGEST", help="Do not ask: the whole digest of the statement, which somebody has read."
        ),
    ] = None,
) -> None:
    """Approve one run of a study and its exact plan, after reading what would leave the hospital and what it costs.

    The coordinator signs a proposal, and the signature is checked. The imported table is checked as `site check` does,
    and what it finds is shown first: its counts are for this hospital only. Whoever agrees types digits of
    the statement's digest; name, position, reason and digest go into the ledger. A second run of the same study has
    another id and needs its own approval.
    """
    from client.consent.decisions import Person
    from client.consent.statement import partner_keys
    from client.console.inbox import keep_proposal
    from client.site.approval import LEAST_TYPED, consider_run, decide, read_proposed_run
    from client.site.config import read_site
    from client.site.records import check_data
    from client.site.state import check_own_state
    from common.errors import PolicyRefusal, Reason

    config, person = read_site(site), Person.named(approver, position, reason)
    proposed, out = read_proposed_run(proposal, run), console()
    check_own_state(config)
    keep_proposal(config, proposal)
    try:
        considered = consider_run(config, proposed)
    except PolicyRefusal as refusal:
        if refusal.reason in (Reason.PARTNER_NOT_PINNED, Reason.PARTNER_CHANGED):
            for line in partner_keys(proposed.study, config.name, config.partners.of(proposed.study, config.name)):
                out.print(line)
        raise
    approval = considered.approval(person)
    for notice in check_data(config, proposed.study):
        out.print(f"note {notice}")
    for line in considered.statement:
        out.print(line)
    out.print(f"Digest of this statement: {considered.digest}")
    warn_of_rehearsal(config)
    out.print(considered.ledger_note)
    for decision in config.approvals.of(proposed.run_id):
        out.print(f"On {decision.time:%Y-%m-%d} the run was {decision.words}.")
    typed = agree
    if typed is None:
        question = f"To approve this run for {config.name}, {person.name} types the first {LEAST_TYPED} digits of it"
        typed = typer.prompt(question, default="", show_default=False)
    considered.require_read(typed, is_whole=agree is not None)
    _say(config, proposed.run_id, decide(config, approval))


def deny(
    proposal: Annotated[Path, typer.Argument(help="The coordinator's proposal (JSON).", show_default=False)],
    approver: Approver,
    position: Position,
    site: SiteFile = HERE,
    reason: Why = "",
) -> None:
    """Deny a run permanently: this hospital cannot approve it later. Name, position and reason go into the ledger.

    One person is enough. The agent does not answer an undecided run either; a denial records that a person read it.
    """
    from client.consent.decisions import Person
    from client.console.inbox import keep_proposal
    from client.site.approval import deny, read_proposed_run
    from client.site.config import read_site
    from client.site.state import check_own_state

    config, proposed = read_site(site), read_proposed_run(proposal, None)
    check_own_state(config)
    keep_proposal(config, proposal)
    _say(config, proposed.run_id, deny(config, proposed, Person.named(approver, position, reason)))


def withdraw(
    run: Annotated[str, typer.Argument(help="Run id, as `site ledger show` or the proposal names it.")],
    approver: Approver,
    position: Position,
    site: SiteFile = HERE,
    reason: Why = "",
) -> None:
    """Withdraw the approval of a run, for good: the agent answers nothing more about it, from the next request on.

    One person is enough. What the run has released stays spent. What it reserved is free again after `site ledger
    close RUN`.
    """
    from client.consent.decisions import Person
    from client.site.approval import withdraw
    from client.site.config import read_site

    config = read_site(site)
    _say(config, run, withdraw(config, run, Person.named(approver, position, reason)))


def _say(site: Site, run_id: str, is_recorded: bool) -> None:
    """Print the last decision about a run, whether it is in the ledger, and who else must approve."""
    decisions, out = site.approvals.of(run_id), console()
    out.print(f"Run {run_id}: {decisions[-1].words}. Filed in {site.approvals.folder / f'{run_id}.json'}.")
    if not is_recorded:
        out.print("The agent is running and holds the ledger: it enters this before it next answers about the run.")
    last, quorum = decisions[-1], site.approvals.quorum
    if not last.is_refusal and not quorum.is_met_over(decisions, last.table_sha256, last.time):
        out.print("Nothing is answered yet: another person must approve the run with the same command.")
