"""`fedsynth coordinator enroll`: let a site's SuperNode connect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home


def enroll(
    public_key: Annotated[
        Path, typer.Argument(metavar="SITE.pub", help="The site's public node key.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="Name of the site in lists. Default: none.")] = None,
    home: HomeFolder = HOME,
) -> None:
    """Let a site's SuperNode connect. Compare the printed fingerprint with the site before you trust it.

    Every site needs its own key: a key that is already enrolled, or that belongs to the coordinator, is refused.
    """
    from common.protocol.signing import node_fingerprint
    from server.deploy.certificates import check_not_own
    from server.deploy.directory import CONNECTION
    from server.deploy.superlink import flwr

    shown, folder = node_fingerprint(public_key), open_home(home)
    check_not_own(public_key, [folder.authority[0], folder.server[0]])
    named = ("--name", name) if name else ()
    answer = flwr(folder, "supernode", "register", str(public_key.resolve()), CONNECTION, *named)
    typer.echo(f"Enrolled {name or public_key.name} as node {answer.get('node-id')}\n  key fingerprint {shown}")
