"""`fedsynth coordinator run | resume | status | log | stop`: what a coordinator does with a proposed run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import HOME, Follow, HomeFolder, RunId, open_home

if TYPE_CHECKING:
    from server.deploy.directory import CoordinatorDirectory


def run(run_id: RunId, follow: Follow = True, home: HomeFolder = HOME) -> None:
    """Start an approved run on the coordinator that is up."""
    from server.deploy.runs import check_not_started

    folder = open_home(home)
    check_not_started(folder, run_id)
    _submit(folder, run_id, follow=follow)


def resume(run_id: RunId, follow: Follow = True, home: HomeFolder = HOME) -> None:
    """Continue a run from its last checkpoint, after a crash or a failure. Sites repeat their earlier replies."""
    _submit(open_home(home), run_id, follow=follow)


def status(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Run id. Default: all runs.")] = None,
    home: HomeFolder = HOME,
) -> None:
    """Show the state of runs: proposed, running, interrupted, failed or finished."""
    from server.deploy.runs import describe_state

    folder = open_home(home)
    for name in folder.runs() if run_id is None else (run_id,):
        typer.echo(f"{name}: {describe_state(folder.run(name)[0])}")


def log(run_id: RunId, home: HomeFolder = HOME) -> None:
    """Print a run's log: which sites took part, which were excluded from what, and why."""
    from server.deploy.directory import LOG

    path = open_home(home).run(run_id)[0].path / LOG
    typer.echo(path.read_text(encoding="utf-8") if path.exists() else "nothing logged yet", nl=False)


def stop(run_id: RunId, home: HomeFolder = HOME) -> None:
    """Stop a run. What sites released is spent; `resume` continues from the last checkpoint."""
    from server.deploy.runs import stop_run

    stop_run(open_home(home), run_id)
    typer.echo(f"Stopped {run_id}")


def _submit(folder: CoordinatorDirectory, run_id: str, *, follow: bool) -> None:
    from server.deploy.runs import follow_run, submit_run

    submitted = submit_run(folder, run_id)
    typer.echo(f"Submitted {run_id} (Flower run {submitted.flower})")
    if not follow:
        return
    try:
        results = follow_run(folder, submitted, show=lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"{run_id} continues; see `fedsynth coordinator status {run_id}`")
    else:
        typer.echo(f"Results: {results}")
