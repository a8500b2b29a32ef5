"""`fedsynth table1`: who the patients of all hospitals are, from what a run released."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

app = typer.Typer(add_completion=False)


@app.command()
def table1(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or its model/.", show_default=False)],
    by: Annotated[
        str | None, typer.Option(help="Column of labels whose groups stand side by side. Default: all patients only.")
    ] = None,
    threshold: Annotated[
        int, typer.Option(min=1, help="Patients below which a cell is not shown, by its noisy count.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Folder for table1.csv and table1.html. Default: the run's folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier table.")] = False,
) -> None:
    """Print the federated Table One of a run, with intervals that hold the noise. This costs no epsilon."""
    from common.inference.counts import RunCounts
    from common.inference.files import title_of, warnings_in, write_pages
    from common.inference.table_one import table_one
    from common.inference.tables_text import table_csv, table_html, table_text
    from common.model import load_public

    public = load_public(run)
    table = table_one(RunCounts(public), public.study, by, threshold)
    html = table_html(table, title_of(public), warnings_in(run, public))
    out_console.print(escape(table_text(table)), soft_wrap=True, highlight=False)
    for path in write_pages(out or run, "table1", table_csv(table), html, force=force):
        out_console.print(f"Wrote {escape(str(path))}", soft_wrap=True, highlight=False)
