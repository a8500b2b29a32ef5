"""The `fedsynth` command: which commands there are, and where each is.

A command's module is imported when the command is called, so that `fedsynth sample` needs neither server nor client.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import click
import typer

from common.version import VERSION
from simulations.cli.guard import GuardedGroup

COMMANDS = {
    "simulate": "simulations.cli.simulate",
    "study": "simulations.cli.study",
    "prepare": "simulations.cli.prepare",
    "sample": "simulations.cli.sample",
    "evaluate": "simulations.cli.evaluate",
    "dossier": "simulations.cli.dossier",
    "export": "simulations.cli.export_table",
    "import": "simulations.cli.import_table",
    "table1": "simulations.cli.table1",
    "survival": "simulations.cli.survival",
    "combine": "simulations.cli.combine",
    "audit": "simulations.cli.audit",
    "benchmark": "simulations.cli.benchmark_augmentation",  # it and benchmark_visits add to `benchmark`
    "site": "client.cli.site",
    "coordinator": "server.cli.coordinator",
    "console": "simulations.cli.coordinator_console",
}
"""Module of every command or group of commands; its typer application is called `app`."""


class Commands(GuardedGroup):
    """The commands of `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="fedsynth",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold records
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"fedsynth {VERSION}")
        raise typer.Exit


@app.callback()
def fedsynth(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train one synthetic-data generator in several hospitals together, without pooling a single record.

    Exit codes: 0 success, 1 refuted claim or failed cell, 2 usage, study or file, 3 refused by a hospital's policy,
    4 federation failed, 5 data or schema, 6 a check of the machine failed, 7 people have to decide on a schema,
    130 interrupted.
    """


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
