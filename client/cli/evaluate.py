"""`fedsynth site evaluate`: measure a run's synthetic table against the site's own patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.cli.options import HERE, SiteFile, console, warn_of_rehearsal


def evaluate(
    run: Annotated[str, typer.Argument(help="Run id, as `site ledger show` lists it.", show_default=False)],
    synthetic: Annotated[
        Path,
        typer.Argument(
            help="The synthetic table that the coordinator sent; of a study of visits also a folder with visits.csv "
            "and patients.csv.",
            show_default=False,
        ),
    ],
    site: SiteFile = HERE,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html and report.json. Default: evaluations/RUN in the state folder."),
    ] = None,
) -> None:
    """Measure a run's synthetic table against this site's training and held-out patients, as the agent split them.

    The report stays at the hospital: it holds exact facts about your patients. The agent may run meanwhile.
    """
    from client.site.config import read_site
    from client.site.evaluation import evaluate_run
    from common.evaluation.statistics.handling import HANDLING

    config, printed = read_site(site), console()
    report = evaluate_run(config, run, synthetic, out)
    for notice in report.notices:
        printed.print(f"note {notice}")
    printed.print(report.evidence.verdict.headline)
    printed.print(f"Report: {report.folder / 'report.html'}")
    printed.print(f"This report {HANDLING}.")
    warn_of_rehearsal(config)
