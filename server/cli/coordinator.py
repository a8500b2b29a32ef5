"""`fedsynth coordinator`: the group of a coordinator's commands. Each parses, calls and prints."""

from __future__ import annotations

import typer

from server.cli.certs import certs
from server.cli.enroll import enroll, revoke
from server.cli.propose import propose
from server.cli.runs import log, resume, run, status, stop
from server.cli.up import up

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Coordinate a study across sites. Once: certs, up, enroll. For each run: propose, wait for approvals, run.",
)
for command in (certs, up, enroll, revoke, propose, run, resume, status, log, stop):
    app.command()(command)
