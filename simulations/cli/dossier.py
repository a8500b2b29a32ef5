"""`fedsynth dossier`: what governance asks about a finished run, for people to complete and sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from simulations.cli.console import out_console

if TYPE_CHECKING:
    from common.dossier.facts import Cohort

app = typer.Typer(add_completion=False)


@app.command()
def dossier(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, with run.json.", show_default=False)],
    site: Annotated[
        Path | None, typer.Option("--site", help="site.toml of one hospital: adds its ledger and decisions.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="audit.json of `fedsynth audit` for the same study: adds its findings.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: the run's folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier dossier.")] = False,
) -> None:
    """Write dossier.html, dossier.json and dossier.ttl: data card, HIPAA, GDPR, NIST SP 800-226, EHDS and AI Act.

    Facts come from the run's files, each with its source. What only people know is left as a box. It judges nothing.
    """
    from common.dossier.dossier import write_dossier
    from common.dossier.facts import read_audit, read_run

    facts = read_run(run)
    if audit is not None:
        facts = replace(facts, audit=read_audit(audit, facts.study))
    if site is not None:
        facts = replace(facts, cohort=_cohort(site, str(facts.record["run_id"])))
    for path in write_dossier(facts, out or run, force=force):
        out_console.print(f"Wrote {escape(str(path))}", soft_wrap=True, highlight=False)


def _cohort(site: Path, run_id: str) -> Cohort:
    """Return what the hospital's own ledger and approvals say."""
    from client.site.config import read_site
    from common.dossier.facts import Cohort
    from common.ledger.ledger import Ledger

    config = read_site(site)
    history = Ledger.view(config.ledger)
    budget = config.budget(history)
    return Cohort(
        config.name,
        budget.now,
        budget.limit,
        budget.delta,
        len(history.entries),
        history.head.head,
        tuple(decision.words for decision in config.approvals.of(run_id)),
        history.table(run_id) if run_id in history.runs() else "",
    )
