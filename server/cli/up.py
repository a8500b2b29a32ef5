"""`fedsynth coordinator up`: run the SuperLink."""

from __future__ import annotations

import logging
import signal
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home


def up(
    host: Annotated[str, typer.Option(help="Address on which sites connect.")] = "0.0.0.0",  # noqa: S104  # sites are elsewhere
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port on which sites connect; the only one to open.")
    ] = 8000,
    control_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the SuperLink, on this machine only.")
    ] = 8010,
    home: HomeFolder = HOME,
) -> None:
    """Run the SuperLink in the foreground: TLS, enrolled sites only, state in SQLite.

    Runs can be started on this machine only.
    """
    from server.deploy import superlink

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        superlink.up(open_home(home), host, port, control_port)
    except KeyboardInterrupt:
        typer.echo("Stopped. Interrupted runs can be resumed.")
