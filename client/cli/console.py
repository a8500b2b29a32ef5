"""`fedsynth site console`: what waits for this hospital's decision, in a browser on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from client.cli.options import HERE, SOCKET, SiteFile, SocketPath, warn_of_rehearsal


def console(
    site: SiteFile = HERE,
    socket: SocketPath = SOCKET,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8081,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, and refuse every decision.")] = False,
) -> None:
    """Show proposals, the privacy budget and the ledger in a browser, and decide there as `approve` and `deny` do.

    It listens on this machine only, under the agent's account. Prints an address that opens it once, in one browser.
    """
    from client.console.app import HospitalPages
    from client.console.facts import SiteFacts
    from client.site.config import read_site
    from client.site.state import check_own_state
    from common.web.serve import Console, Listen

    config = read_site(site)
    check_own_state(config)
    warn_of_rehearsal(config)
    hospital = SiteFacts(site, socket)
    served = Console(
        lambda serving: HospitalPages(hospital, serving).application(),
        Listen(port=port, is_read_only=read_only),
    )
    typer.echo(f"Open on this machine, once: {served.opening}\nCtrl-C ends the console; the agent keeps running.")
    served.serve()
