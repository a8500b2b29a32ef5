"""`fedsynth combine`: pool estimates of several synthetic tables into one, with the interval for synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

app = typer.Typer(add_completion=False)

TOO_SMALL = (
    "note where noise is large for the number of patients, log odds ratios come out too small, and their intervals "
    "hold the truth in fewer than 95 % of cases (docs/inference.md)"
)
"""Notice about pooled log odds ratios, as measured by `simulations.experiments.combining_coverage`."""


@app.command()
def combine(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of `fedsynth sample --datasets`, or a CSV file with estimand, estimate and variance: one line "
            "for each estimand of each table.",
            show_default=False,
        ),
    ],
    mean: Annotated[list[str] | None, typer.Option(help="Mean of this column of numbers; repeatable.")] = None,
    proportion: Annotated[list[str] | None, typer.Option(help="Proportion of COLUMN=LABEL; repeatable.")] = None,
    log_odds: Annotated[
        list[str] | None,
        typer.Option(
            help="Log odds ratio of OUTCOME=LABEL:COLUMN=LABEL, or logistic coefficient of OUTCOME=LABEL:COLUMN for a "
            "column of numbers; repeatable."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write. Default: none.")] = None,
) -> None:
    """Pool estimates of several synthetic tables by the rules for synthetic data, with 95 % intervals."""
    from common.errors import StudyError
    from common.inference.combining import pooled_csv, pooled_text
    from common.inference.datasets import pool_file, pool_tables, read_datasets
    from common.inference.estimands import parse_estimand
    from common.system.files import refuse_existing, writing
    from common.system.folder import RunFolder

    if out is not None:
        refuse_existing(out)
    asked = [("mean", mean), ("proportion", proportion), ("log-odds", log_odds)]
    named = [(kind, text) for kind, texts in asked for text in texts or []]
    if source.is_file():
        if named:
            raise StudyError("a file of estimates is pooled as it is; leave --mean, --proportion and --log-odds out")
        pooled = pool_file(source)
    else:
        facts, schema, tables = read_datasets(source)
        if not named:
            raise StudyError("say what to estimate: --mean, --proportion or --log-odds")
        pooled = pool_tables([parse_estimand(kind, text, schema) for kind, text in named], facts, tables)
    out_console.print(escape(pooled_text(pooled)), soft_wrap=True, highlight=False)
    if log_odds:
        out_console.print(TOO_SMALL, soft_wrap=True, highlight=False)
    if out is not None:
        with writing(out):
            RunFolder(out.parent).write(out.name, pooled_csv(pooled))
