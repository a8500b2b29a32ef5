"""`fedsynth sample`: draw rows from a released model. Needs no server and no client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

app = typer.Typer(add_completion=False)


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="The model/ folder of a run.", show_default=False)],
    rows: Annotated[
        int, typer.Option(min=1, help="Number of rows to draw; of patients where rows are visits.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .csv, .parquet or .xlsx; with --datasets, a new folder of CSV files.",
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same rows.")] = 0,
    given: Annotated[
        list[str] | None,
        typer.Option(
            help="Condition every row must satisfy, as COLUMN=CATEGORY, COLUMN=LOW..HIGH for numbers and dates, or "
            "COLUMN=TEXT for a declared text such as <0.1; repeatable. Default: none."
        ),
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="Column whose categories get equal numbers of rows. Default: none.")
    ] = None,
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or xlsx. Default: the end of the file's name.")
    ] = None,
    datasets: Annotated[
        int | None,
        typer.Option(
            min=3,
            max=200,
            help="Draw this many tables, each from another draw of the model's parameters, for `fedsynth combine`. "
            "Default: one table of the released model.",
        ),
    ] = None,
) -> None:
    """Draw rows from a trained model. This costs no epsilon: the model is already released."""
    from common.conditional import fraction_satisfying, parse_conditions, sample_where
    from common.errors import StudyError
    from common.model import load_model
    from common.release import IMAGES, draw_images, written_table
    from common.system.files import refuse_existing, writing
    from common.system.folder import RunFolder
    from common.tables.visit_tables import long_schema, long_table
    from common.tables.writing import WRITERS, format_of

    refuse_existing(out)
    if datasets is not None:
        if given or balance is not None or file_format is not None:
            raise StudyError("--datasets draws whole tables as CSV; leave --given, --balance and --format out")
        _draw_datasets(model, datasets, rows, seed, out)
        return
    chosen = format_of(out, file_format)
    loaded = load_model(model)
    conditions = parse_conditions(given or [], loaded.study.table)
    if loaded.study.has_visits and (balance is not None or conditions.ranges):
        raise StudyError("visits are drawn by patient: --given takes categories of a column of the patient only")
    if balance is None:
        drawn = sample_where(loaded, rows, seed, conditions)
    elif conditions.ranges:
        raise StudyError("--balance goes with categories, not with ranges; leave one of the two out")
    else:
        drawn = loaded.sample_balanced(rows, seed, balance, given=conditions.categories)
    schema, images = loaded.study.table, None
    if loaded.study.has_visits:
        schema = long_schema(loaded.study.declared)
        content = WRITERS[chosen](long_table(drawn, loaded.study.declared), schema)
    else:
        images = draw_images(loaded, drawn, seed)
        content = WRITERS[chosen](written_table(loaded, drawn, images), schema)
    with writing(out):
        folder = RunFolder(out.parent)
        if images is not None:
            refuse_existing(out.parent / IMAGES)
            for name, image in images.files().items():
                folder.write(name, image)
        folder.write(out.name, content)
    what = f"{len(drawn)} visits of {rows} patients" if loaded.study.has_visits else f"{rows} rows"
    out_console.print(f"Wrote {what} to {escape(str(out))}.")
    if conditions:
        fraction = fraction_satisfying(loaded, seed, conditions)
        out_console.print(f"Of all rows of the model, {100 * fraction:.2g} % satisfy the conditions.")


def _draw_datasets(model: Path, datasets: int, rows: int, seed: int, out: Path) -> None:
    """Write tables whose differences show how uncertain the model is, and print their paths."""
    from common.inference.datasets import facts_of, write_datasets
    from common.model import load_public

    public = load_public(model)
    for path in write_datasets(public, facts_of(public, datasets, rows, seed), out):
        out_console.print(f"Wrote {escape(str(path))}", soft_wrap=True, highlight=False)
