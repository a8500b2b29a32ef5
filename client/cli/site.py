"""`fedsynth site`: the group of a hospital's commands. Each parses, calls and prints."""

from __future__ import annotations

import typer

from client.cli.agent import agent
from client.cli.approve import approve, deny, withdraw
from client.cli.check import check
from client.cli.console import console
from client.cli.dictionary import dictionary
from client.cli.evaluate import evaluate
from client.cli.import_table import import_table
from client.cli.init import init
from client.cli.join import join
from client.cli.ledger import ledger_app
from client.cli.map import map_table
from client.cli.partner import partner_app
from client.cli.selftest import selftest

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Set up and run one hospital's site: its data, limits, approvals and privacy ledger.",
)
app.command()(init)
app.command("map")(map_table)
app.command("import")(import_table)
for command in (dictionary, selftest, check, approve, deny, withdraw, agent, join, evaluate, console):
    app.command()(command)
app.add_typer(ledger_app, name="ledger")
app.add_typer(partner_app, name="partner")
