"""`fedsynth coordinator enroll | revoke`: which sites' SuperNodes may connect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import HOME, HomeFolder, open_home


def enroll(
    public_key: Annotated[
        Path, typer.Argument(metavar="SITE.pub", help="The site's public node key.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="Name of the site, also for `revoke`.", show_default=False)],
    home: HomeFolder = HOME,
) -> None:
    """Let a site's SuperNode connect. Compare the printed fingerprint with the site before you trust it.

    Every site needs its own key: a key that is already enrolled, or that belongs to the coordinator, is refused.
    """
    from server.deploy.enrollment import enroll_node

    node = enroll_node(open_home(home), public_key, name)
    typer.echo(f"Enrolled {name} as node {node['node']}\n  key fingerprint {node['fingerprint']}")


def revoke(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Name given to `enroll`.", show_default=False)],
    home: HomeFolder = HOME,
) -> None:
    """Refuse a site's SuperNode from now on, connected or not, because its key was lost, stolen or replaced.

    The coordinator must be up. A revoked key cannot be enrolled again: the site makes a new one.
    """
    from server.deploy.enrollment import revoke_node

    node = revoke_node(open_home(home), site)
    typer.echo(f"Revoked {site}, node {node['node']}\n  key fingerprint {node['fingerprint']}")
