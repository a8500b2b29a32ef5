"""`fedsynth import`: an export to OMOP or FHIR back as the table that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

app = typer.Typer(add_completion=False)


@app.command("import")
def import_table(
    export: Annotated[Path, typer.Argument(help="Folder that `fedsynth export` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write: synthetic.csv, or visits.csv and patients.csv.")],
) -> None:
    """Turn an export to OMOP or FHIR back into the synthetic table that it was made of, word for word."""
    from common.export.restoring import read_export, restore

    rows = restore(read_export(export), out)
    out_console.print(f"Wrote {rows:,} rows to {escape(str(out))}.", soft_wrap=True, highlight=False)
