"""`fedsynth site join`: run this hospital's SuperNode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import SOCKET, SocketPath


def join(
    superlink: Annotated[str, typer.Option(help="Address of the coordinator, as HOST:PORT.", show_default=False)],
    ca: Annotated[Path, typer.Option(help="The coordinator's CA certificate (ca.crt).", show_default=False)],
    key: Annotated[Path, typer.Option(help="The SuperNode's private key, from `site init`.")] = Path("node.key"),
    socket: SocketPath = SOCKET,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Loopback port on which Flower's own processes talk.")
    ] = 9094,
    home: Annotated[Path, typer.Option(help="Flower's own folder.")] = Path("flower"),
) -> None:
    """Connect this hospital's agent to the coordinator until SIGTERM. Run it on a machine or account without the data.

    Starts Flower's SuperNode over TLS with this site's key. It runs no code that a coordinator submits. Still,
    allow its network to reach the coordinator only.
    """
    from client.agent.journal import log_as_json
    from client.supernode.connection import Connection
    from client.supernode.supernode import SuperNode

    log_as_json()
    SuperNode(Connection(superlink, ca.resolve(), key.resolve(), socket, home.resolve(), port)).run()
