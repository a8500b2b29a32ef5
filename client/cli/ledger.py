"""`fedsynth site ledger`: what a hospital has released, in sentences and as JSON. Only `close` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from client.cli.options import HERE, console

ledger_app = typer.Typer(no_args_is_help=True, help="Show and verify everything ever released about the cohort.")

LedgerLocation = Annotated[
    Path, typer.Option("--site", help="site.toml, its folder, a state folder, or a ledger file (.sqlite).")
]


@ledger_app.command()
def show(site: LedgerLocation = HERE) -> None:
    """List every release and its cost, one sentence each."""
    from client.site.history import sentences
    from common.ledger.ledger import Ledger

    path, cap = find_ledger(site)
    history = Ledger.view(path)
    table = Table("Entry", "Run", "Release", title=f"Ledger of cohort {history.cohort}", title_justify="left")
    for entry, sentence in sentences(history, cap):
        table.add_row(str(entry.counter), entry.slot.run_id or "-", sentence)
    console().print(table)


@ledger_app.command()
def verify(site: LedgerLocation = HERE) -> None:
    """Verify that no entry and no stored reply was changed, removed, reordered or cut off."""
    from common.ledger.ledger import Ledger

    history = Ledger.view(find_ledger(site)[0], with_replies=True)
    out = console()
    out.print(f"Intact: {len(history.entries)} entries, {len(history.lines())} releases.")
    out.print(f"The hash of entry {history.head.counter} is {history.head.head}.")
    out.print("This does not detect an older copy of both files. Agents detect one by the coordinators' receipts.")


@ledger_app.command()
def export(
    site: LedgerLocation = HERE,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.")] = None,
) -> None:
    """Write every entry as JSON, for an auditor. The file contains no records and no replies."""
    from client.site.history import document
    from common.errors import SiteError
    from common.ledger.ledger import Ledger
    from common.system.files import writing

    text = json.dumps(document(Ledger.view(find_ledger(site)[0])), indent=2)
    if out is None:
        typer.echo(text)
        return
    if out.exists():
        raise SiteError(f"'{out}' exists; choose another --out or remove it")
    with writing(out, error=SiteError):
        out.write_text(text + "\n", encoding="utf-8")
    console().print(f"Wrote {out}.")


@ledger_app.command()
def close(
    run: Annotated[str, typer.Argument(help="Run id, as `show` lists it.", show_default=False)],
    site: LedgerLocation = HERE,
) -> None:
    """Free the budget that a run reserved and did not use. The run cannot continue after that. Stop the agent first."""
    from common.ledger.ledger import Ledger

    path, _ = find_ledger(site)
    known = Ledger.view(path)
    ledger = Ledger(path, cohort=known.cohort, delta=known.delta)
    try:
        ledger.close_run(run)
    finally:
        ledger.close()
    console().print(f"Closed run {run}. What it released stays spent.")


def find_ledger(location: Path) -> tuple[Path, float | None]:
    """Return the ledger file, and the cohort's lifetime epsilon where a site.toml states it.

    Args:
        location: a site.toml, its folder, a state folder without a site.toml, or the ledger file itself.
    """
    if location.is_file() and location.suffix == ".sqlite":
        return location, None
    if location.is_dir() and not (location / "site.toml").exists():
        return location / "ledger.sqlite", None
    from client.site.config import read_site

    here = read_site(location)
    return here.ledger, here.max_epsilon
