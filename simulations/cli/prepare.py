"""`fedsynth prepare`: drop direct identifiers from a table, and coarsen quasi-identifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import note, out_console, show_steps
from simulations.cli.options import ReadOptions

app = typer.Typer(add_completion=False)


@app.command()
def prepare(
    table: Annotated[Path, typer.Argument(help="Table to read, in any format of docs/inputs.md.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File to write: .csv, .parquet or .xlsx.", show_default=False)],
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Column that stays as it is, because you know that it identifies nobody; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    read: ReadOptions = None,
) -> None:
    """Drop direct identifiers; cut dates to years, postal codes to three digits and ages above 89 to 90+.

    This is preprocessing by the list of HIPAA Safe Harbor and gives no guarantee.
    """
    from common.errors import StudyError
    from common.system.files import write_synced, writing
    from common.tables.formats import described, read_table
    from common.tables.preparing import prepare_table
    from common.tables.raw import refuse_empty
    from common.tables.reading import parse_reading
    from common.tables.writing import format_of, raw_bytes

    if out.resolve() == table.resolve():
        raise StudyError(f"--out '{out}' is the table itself, which is never changed; choose another file")
    if out.exists() and not force:
        raise StudyError(f"'{out}' exists; choose another --out, or --force to replace it")
    chosen, reading = format_of(out, None), parse_reading(read or [])
    note(described(table, reading))
    raw = read_table(table, reading)
    refuse_empty(raw, table.name)
    prepared, steps = prepare_table(raw, keep=keep or [])
    content = raw_bytes(prepared, chosen)
    with writing(out):
        write_synced(out, content)
    show_steps(steps)
    out_console.print(
        f"Wrote {escape(str(out))}: {len(prepared.columns)} of {len(raw.columns)} columns.",
        soft_wrap=True,
        highlight=False,
    )
    note(
        [
            "this is preprocessing and gives no guarantee: names of columns and shapes of cells can mislead, and rare "
            "combinations of what is left can single out a person. Read the table above and the file. Under GDPR the "
            "file is personal data still; only the noise of a study limits what others learn"
        ]
    )
