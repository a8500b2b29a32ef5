"""`fedsynth evaluate`: measure a synthetic table against real rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import follow, note, out_console, progress_bars, scores_table

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    study: Annotated[Path, typer.Option(help="Study file (TOML).", show_default=False)],
    train: Annotated[Path, typer.Option(help="Real rows that the synthesizer was trained on.", show_default=False)],
    holdout: Annotated[
        Path, typer.Option(help="Real rows that the synthesizer was not trained on.", show_default=False)
    ],
    synthetic: Annotated[Path, typer.Option(help="Synthetic table.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.", show_default=False)],
) -> None:
    """Measure a synthetic table against real rows.

    The report shows aggregates of the real rows: keep it where those rows are.
    """
    from common.evaluation.assessment import assess
    from common.evaluation.report.html import render
    from common.evaluation.statistics.data import EvaluationData
    from common.study.study import read_study
    from common.system.files import writing
    from common.system.folder import RunFolder
    from common.tables.checking import check_table
    from common.tables.conforming import conform
    from common.tables.formats import read_table

    agreed = read_study(study)
    raw = {path: read_table(path) for path in (train, holdout, synthetic)}
    for path, table in raw.items():
        note(check_table(table, agreed.table, name=path.name))
    frames = [conform(raw[path], agreed.table) for path in (train, holdout, synthetic)]
    with progress_bars() as bars:
        data = EvaluationData(
            frames[0],
            frames[1],
            frames[2],
            agreed.table,
            target=agreed.evaluation.target,
            time=agreed.evaluation.time,
            rules=tuple(agreed.rules),
            sensitive=tuple(agreed.evaluation.sensitive),
        )
        evidence = assess(data, emit=follow(bars))
    with writing(out):
        run_folder = RunFolder(out)
        run_folder.write("report.json", evidence.to_json())
        run_folder.write("report.html", render(evidence, None, title=agreed.name))
    out_console.print(scores_table(evidence))
    out_console.print(evidence.verdict.headline)
    out_console.print(f"Report: {escape(str(out / 'report.html'))}")
