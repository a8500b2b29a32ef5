"""`fedsynth site import`: read a hospital's table once, and freeze it."""

from __future__ import annotations

from typing import Annotated

import typer

from client.cli.options import HERE, SiteFile, console, warn_of_rehearsal


def import_table(
    site: SiteFile = HERE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Import again; runs over the earlier table get no further answer.")
    ] = False,
) -> None:
    """Read the table that site.toml names, once and strictly, and freeze it in the state folder. Stop the agent first.

    From then on the agent answers from the frozen table only. The counts that this prints are for this hospital's eyes
    only.
    """
    from client.site.config import read_site
    from client.site.importing import import_table as freeze
    from client.site.importing import sentences
    from client.site.records import warn_of_identifiers

    config = read_site(site)
    out = console()
    for line in sentences(freeze(config, is_replacing=replace)):
        out.print(line)
    for warning in warn_of_identifiers(config):
        out.print(f"warning {warning}", style="yellow")
    out.print(f"Next: `fedsynth site check STUDY --site {site}`.")
    warn_of_rehearsal(config)
