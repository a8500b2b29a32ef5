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
    rows: Annotated[int, typer.Option(min=1, help="Number of rows to draw.", show_default=False)],
    out: Annotated[Path, typer.Option(help="CSV file to write.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same rows.")] = 0,
    given: Annotated[
        list[str] | None,
        typer.Option(help="Condition every row must satisfy, as COLUMN=CATEGORY; repeatable. Default: none."),
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="Column whose categories get equal numbers of rows. Default: none.")
    ] = None,
) -> None:
    """Draw rows from a trained model. This costs no epsilon: the model is already released."""
    from common.errors import StudyError
    from common.model import load_model
    from common.system.files import writing
    from common.system.folder import RunFolder
    from common.tables.conforming import format_table

    if out.exists():
        raise StudyError(f"'{out}' exists; choose another --out or remove it")
    conditions = parse_conditions(given or [])
    loaded = load_model(model)
    if balance is None:
        drawn = loaded.sample(rows, seed, given=conditions)
    else:
        drawn = loaded.sample_balanced(rows, seed, balance, given=conditions)
    table = format_table(drawn, loaded.study.table)
    with writing(out):
        RunFolder(out.parent).write(out.name, table.to_csv(index=False, lineterminator="\n"))
    out_console.print(f"Wrote {rows} rows to {escape(str(out))}.")


def parse_conditions(texts: list[str]) -> dict[str, str]:
    """Return the category that every row must have, by column.

    Raises:
        StudyError: a text is not COLUMN=CATEGORY, or two texts name one column.
    """
    from common.errors import StudyError

    conditions: dict[str, str] = {}
    for text in texts:
        column, equals, category = text.partition("=")
        if not equals:
            raise StudyError("--given takes COLUMN=CATEGORY, such as --given sex=female")
        if column in conditions:
            raise StudyError(f"column '{column}' has two conditions; keep one --given for it")
        conditions[column] = category
    return conditions
