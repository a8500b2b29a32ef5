"""`fedsynth audit`: attack the mechanisms of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from simulations.cli.console import err_console, findings_table, follow, out_console, progress_bars, quiet
from simulations.cli.options import StudyOrBuiltIn

app = typer.Typer(add_completion=False)


@app.command()
def audit(
    study: StudyOrBuiltIn = None,
    out: Annotated[Path, typer.Option(help="Folder for audit.json.")] = Path("out/audit"),
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of attacks on seeded noise; the other attacks vary.")
    ] = 0,
) -> None:
    """Attack a study's mechanisms and compare the epsilon that the attacks prove with the epsilon that is claimed.

    Uses public or invented records and temporary ledgers; no site's data or budget is touched. Exit code 1 if a claim
    is refuted at 99.9 % confidence over all attacks together.
    """
    with err_console.status("Loading..."):
        from common.system.files import writing
        from common.system.folder import RunFolder
        from simulations.audit.run import audit as run
        from simulations.federation.hospitals import study_named
        from simulations.federation.prepare import prepare
        from simulations.image_studies.studies import TABLES, image_tables

        quiet()
        agreed = study_named(study)
        if str(study) in TABLES and not agreed.hospitals:  # a built-in study of images declares none
            agreed = prepare(agreed, image_tables(agreed)).study
        with writing(out):
            run_folder = RunFolder(out)
    with progress_bars() as bars:
        report = run(agreed, seed=seed, emit=follow(bars))
    with writing(out):
        run_folder.write_json("audit.json", report.as_document())
    out_console.print(findings_table(report))
    out_console.print(f"[bold {'red' if report.is_refuted else 'green'}]{report.verdict}[/]")
    out_console.print(f"It took {report.seconds:.0f} s, {report.cpu_seconds:.0f} s of processor time.")
    out_console.print(f"Figures: {escape(str(out / 'audit.json'))}")
    if report.is_refuted:
        raise typer.Exit(1)
