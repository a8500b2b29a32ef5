"""`fedsynth coordinator propose`: plan and sign one run of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home


def propose(
    study: Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)],
    home: HomeFolder = HOME,
) -> None:
    """Plan one run of a study, sign it and print its run id. Every site approves it before `run`."""
    from server.deploy.runs import propose_run

    proposal, path = propose_run(open_home(home), study)
    typer.echo(f"Run {proposal.run_id}\n  study fingerprint {proposal.agreed()[0].fingerprint}")
    typer.echo(f"Send {path} to the sites. When they have approved it: fedsynth coordinator run {proposal.run_id}")
