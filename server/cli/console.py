"""`fedsynth console`: the coordinator's runs in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home

app = typer.Typer(add_completion=False)


@app.command()
def console(
    home: HomeFolder = HOME,
    host: Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8080,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).", show_default=False)] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show runs, and refuse every action.")] = False,
) -> None:
    """Show the coordinator's runs in a browser, live, and start, resume or stop them there.

    Prints an address that opens the console once, in one browser. Whoever has that session acts as the coordinator.
    """
    from common.web.serve import Console, Listen
    from server.console.app import CoordinatorPages
    from server.console.runs import CoordinatorRuns

    folder = open_home(home)
    listen = Listen(host, port, certificate, key, is_read_only=read_only)
    served = Console(
        lambda is_closing: CoordinatorPages(CoordinatorRuns(folder), "Coordinator", is_closing).application(),
        listen,
    )
    typer.echo(f"Open on this machine, once: {served.opening}\nCtrl-C ends the console; runs keep running.")
    served.serve()
