"""`fedsynth site approve`: show what one run would release and cost, and approve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import HERE, SiteFile, console, warn_of_rehearsal


def approve(
    agreement: Annotated[
        Path, typer.Argument(help="The coordinator's proposal (JSON), or a study file with --run.", show_default=False)
    ],
    run: Annotated[str | None, typer.Option("--run", help="Run id, for a study file; a proposal contains it.")] = None,
    site: SiteFile = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without asking.")] = False,
) -> None:
    """Approve one run of a study and its exact plan, after showing what would leave the hospital and what it costs.

    The coordinator signs a proposal, and the signature is checked. No record is read. A second run of the same study
    has another id and needs its own approval.
    """
    from client.site.approval import consider_run, read_agreement
    from client.site.config import read_site
    from common.errors import PolicyRefusal, Reason

    here = read_site(site)
    considered = consider_run(here, read_agreement(agreement, run))
    out = console()
    for line in considered.statement:
        out.print(line)
    warn_of_rehearsal(here)
    if not yes and not typer.confirm(f"Does {here.name} approve this run?"):
        raise PolicyRefusal(
            Reason.STUDY_NOT_APPROVED, f"run '{considered.approval.run_id}' was not approved; nothing was written"
        )
    here.approvals.write(considered.approval)
    out.print(f"Approved: {here.approvals.folder / f'{considered.approval.run_id}.json'}")
