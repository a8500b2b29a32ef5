"""`fedsynth survival`: Kaplan-Meier curves and the log-rank test from what a run released."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

app = typer.Typer(add_completion=False)


@app.command()
def survival(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its model/.", show_default=False)],
    time: Annotated[str, typer.Option(help="Column of the time to the event or to the end of observation.")],
    event: Annotated[
        str,
        typer.Option(help="Column that says whether the event happened, as COLUMN (its last label) or COLUMN=LABEL."),
    ],
    by: Annotated[str | None, typer.Option(help="Column of labels that groups patients. Default: no groups.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for survival.csv and survival.html. Default: the run's folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace earlier curves.")] = False,
) -> None:
    """Print survival curves with bands that hold the noise, and the log-rank test. This costs no epsilon.

    By group, the run must have counted time, event and group together: its study's evaluation names them
    as time, target and sensitive.
    """
    from common.inference.counts import RunCounts
    from common.inference.files import title_of, warnings_in, write_pages
    from common.inference.survival import SurvivalOutcome, survival_curves
    from common.inference.survival_text import survival_csv, survival_html, survival_text
    from common.model import load_public

    public = load_public(run)
    column, _, label = event.partition("=")
    curves = survival_curves(RunCounts(public), public.study, SurvivalOutcome(time, column, label or None, by))
    html = survival_html(curves, title_of(public), warnings_in(run, public))
    out_console.print(escape(survival_text(curves)), soft_wrap=True, highlight=False)
    for path in write_pages(out or run, "survival", survival_csv(curves), html, force=force):
        out_console.print(f"Wrote {escape(str(path))}", soft_wrap=True, highlight=False)
