"""`fedsynth console`: the coordinator's runs and studies in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home

app = typer.Typer(add_completion=False)


@app.command()
def console(
    home: HomeFolder = HOME,
    studies: Annotated[Path, typer.Option(help="Folder of the studies drafted here, and their simulations.")] = Path(
        "studies"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8080,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name under which browsers reach it, with TLS; repeatable.", show_default=False),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).", show_default=False)] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, and refuse every action.")] = False,
) -> None:
    """Show runs in a browser, live, start, resume or stop them, and draft and simulate studies of public tables.

    Without a coordinator's folder, it shows studies and simulations only. Prints an address that opens the console
    once, in one browser. Whoever has that session acts with the rights of this account.
    """
    from common.web.serve import Console, Listen
    from server.console.runs import CoordinatorRuns
    from simulations.console.launching import LaunchedRuns, ManyRuns
    from simulations.console.pages import coordinator_pages
    from simulations.console.workspace import Workspace

    workspace = Workspace(studies)
    launched = LaunchedRuns(workspace)
    is_absent = home == HOME and not home.exists()
    sources = [launched] if is_absent else [CoordinatorRuns(open_home(home)), launched]
    listen = Listen(host, port, certificate, key, is_read_only=read_only, names=tuple(name or ()))
    served = Console(lambda serving: coordinator_pages(ManyRuns(sources), workspace, launched, serving), listen)
    typer.echo(f"Open on this machine, once: {served.opening}\nCtrl-C ends the console; runs keep running.")
    served.serve()
