"""Options and output that several commands of a hospital share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from client.site.config import Site

HERE = Path("site.toml")
SOCKET = Path("/run/fedsynth/agent.sock")

StudyFile = Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)]
SiteFile = Annotated[Path, typer.Option("--site", help="site.toml, or the folder that contains it.")]
SocketPath = Annotated[Path, typer.Option("--socket", help="Unix socket of the agent. There is no network address.")]


def console() -> Console:
    """Return a console for standard output, as wide as the terminal is now; long lines are not wrapped."""
    return Console(soft_wrap=True, highlight=False, markup=False)


def warn_of_rehearsal(site: Site) -> None:
    """Print a warning if the site's noise is predictable."""
    if site.rehearsal:
        console().print(
            "REHEARSAL: the noise is predictable and protects no patient. Use invented records only.", style="red"
        )
