"""The commands that keep a site running: `site agent` where the data is, `site join` where the network is."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import FederationError, StudyError
from common.protocol.signing import IDENTITY, Identity, create_node_key, fingerprint, node_fingerprint

if TYPE_CHECKING:
    from client.agent.agent import Agent

SOCKET = Path("/run/fedsynth/agent.sock")
NODE_KEY = "node.key"

OpenAgent = Callable[[Path], AbstractContextManager["Agent"]]
"""Opens what a site.toml describes, for as long as the block runs."""

SocketOption = Annotated[Path, typer.Option(help="Unix socket of the agent; there is no network address.")]


def create_site_keys(state: Path, node: Path) -> dict[str, str]:
    """The two keys of a site, and what may travel of them.

    Args:
        state: folder for the identity key, where only the agent's account can read it.
        node: folder for the SuperNode's key, which never holds data.

    Returns:
        `identity`: the public text for the study, `identity-fingerprint` and `node-fingerprint`: to be compared over
        the telephone, `node-public`: the file that the coordinator needs.

    Raises:
        StudyError: a key exists already, or cannot be written.
    """
    try:
        node.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise StudyError(f"cannot make '{node}' ({type(problem).__name__}); choose another --node") from None
    identity = Identity.create(state / IDENTITY)
    create_node_key(node / NODE_KEY)
    public = node / f"{NODE_KEY}.pub"
    return {
        "identity": identity.public,
        "identity-fingerprint": fingerprint(identity.public),
        "node-public": str(public),
        "node-fingerprint": node_fingerprint(public),
    }


def mount(site_app: typer.Typer, open_agent: OpenAgent) -> None:
    """Add the commands to `fedsynth site`."""

    @site_app.command()
    def agent(
        site: Annotated[Path, typer.Option(help="The hospital's site.toml.")] = Path("site.toml"),
        socket: SocketOption = SOCKET,
        grace: Annotated[float, typer.Option(min=0, help="Seconds that a stop leaves to the current request.")] = 30.0,
        status: Annotated[
            bool, typer.Option("--status", help="Ask the running agent; 0 if it serves, else 4.")
        ] = False,
    ) -> None:
        """Serve this hospital's data on a Unix socket until SIGTERM. Needs no network, and should have none.

        The only process that opens the data, the ledger and the policy. Logs JSON lines to standard error and keeps
        metrics.json in the state folder.
        """
        if status:
            show_status(socket)
            return
        from client.agent.agent import serve  # pandas and the accountant: only where they are needed
        from client.agent.journal import log_as_json

        log_as_json()
        with open_agent(site) as opened:
            serve(opened, socket, grace_s=grace)

    @site_app.command()
    def join(
        superlink: Annotated[str, typer.Option(help="The coordinator's HOST:PORT.", show_default=False)],
        ca: Annotated[Path, typer.Option(help="The coordinator's ca.crt.", show_default=False)],
        key: Annotated[Path, typer.Option(help="The SuperNode's private key, from `site init`.")] = Path(NODE_KEY),
        socket: SocketOption = SOCKET,
        port: Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback for Flower's own use.")] = 9094,
        home: Annotated[Path, typer.Option(help="Flower's folder.")] = Path("flower"),
    ) -> None:
        """Connect this hospital's agent to the coordinator until SIGTERM. Run it where the data is not.

        Starts Flower's SuperNode over TLS with this site's key. What a coordinator submits runs in this account: it can
        reach the agent's socket, the key and this account's network. Let that network end at the coordinator.
        """
        from client.agent.journal import log_as_json
        from client.supernode.link import Link
        from client.supernode.supernode import SuperNode

        log_as_json()
        SuperNode(Link(superlink, ca.resolve(), key.resolve(), socket, home.resolve(), port)).run()


def show_status(socket: Path) -> None:
    """Print who serves the socket.

    Raises:
        FederationError: nobody does, or it is stopping.
    """
    from client.agent.envelope import SERVING
    from client.supernode.supernode import find_agent

    health = find_agent(socket, patience_s=0)
    typer.echo(json.dumps({"hospital": health.hospital, "version": health.version, "state": health.state}))
    if health.state != SERVING:
        raise FederationError("the agent is stopping")
