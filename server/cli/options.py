"""Options that several commands of a coordinator share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.deploy.directory import CoordinatorDirectory

HOME = Path("coordinator")

HomeFolder = Annotated[
    Path,
    typer.Option("--home", envvar="FEDSYNTH_COORDINATOR", help="The coordinator's folder for keys, state and runs."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id that `propose` printed.", show_default=False)]
Follow = Annotated[bool, typer.Option(help="Print the run's log until it ends. Ctrl-C does not stop the run.")]


def open_home(path: Path) -> CoordinatorDirectory:
    """Return the coordinator's folder that `certs` created.

    Raises:
        StudyError: `certs` did not create it; --home is probably mistaken.
    """
    from common.errors import StudyError
    from server.deploy.directory import CoordinatorDirectory

    home = CoordinatorDirectory(path.resolve())
    if not home.key.exists():
        raise StudyError(
            f"'{home.path}' is not a coordinator's folder; name it with --home, or create it with "
            "`fedsynth coordinator certs`"
        )
    home.make()
    return home
