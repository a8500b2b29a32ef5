"""`fedsynth site agent`: serve this hospital's data to its SuperNode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import HERE, SOCKET, SiteFile, SocketPath, warn_of_rehearsal


def agent(
    site: SiteFile = HERE,
    socket: SocketPath = SOCKET,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that the current request may still take after SIGTERM.")
    ] = 30.0,
    status: Annotated[
        bool, typer.Option("--status", help="Ask the running agent instead; exit code 0 if it serves, else 4.")
    ] = False,
) -> None:
    """Serve this hospital's data on a Unix socket until SIGTERM. It needs no network, and should have none.

    It is the only process that opens the data, the ledger and the policy. It logs JSON lines to standard error and
    writes metrics.json to the state folder.
    """
    if status:
        show_status(socket)
        return
    from client.agent.agent import serve
    from client.agent.journal import log_as_json
    from client.site.config import read_site
    from client.site.opening import open_agent

    log_as_json()
    config = read_site(site)
    warn_of_rehearsal(config)
    with open_agent(config) as opened:
        serve(opened, socket, grace_s=grace)


def show_status(socket: Path) -> None:
    """Print which agent serves the socket.

    Raises:
        FederationError: no agent serves it, or the agent is stopping.
    """
    from client.agent.envelope import SERVING
    from client.supernode.supernode import find_agent
    from common.errors import FederationError

    health = find_agent(socket, patience_s=0)
    typer.echo(json.dumps({"hospital": health.hospital, "version": health.version, "state": health.state}))
    if health.state != SERVING:
        raise FederationError("the agent is stopping; start it again with `fedsynth site agent`")
