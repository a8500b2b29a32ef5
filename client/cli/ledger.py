"""`fedsynth site ledger`: what a hospital has released, in sentences and as JSON; two commands write.

`close` frees the budget that a run did not use, `accept-restore` continues from an old copy.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from client.cli.options import HERE, SiteFile, console

if TYPE_CHECKING:
    from client.site.config import Site

ledger_app = typer.Typer(no_args_is_help=True, help="Show and verify everything ever released about the cohort.")

LedgerLocation = Annotated[
    Path, typer.Option("--site", help="site.toml, its folder, a state folder, or a ledger file (.sqlite).")
]


@ledger_app.command()
def show(site: LedgerLocation = HERE) -> None:
    """List every release and its cost, one sentence each."""
    from client.site.history import sentences
    from common.ledger.ledger import Ledger

    path, config = find_ledger(site)
    history = Ledger.view(path)
    table = Table("Entry", "Run", "Release", title=f"Ledger of cohort {history.cohort}", title_justify="left")
    for entry, sentence in sentences(history, None if config is None else config.max_epsilon):
        table.add_row(str(entry.counter), entry.slot.run_id or "-", sentence)
    console().print(table)


@ledger_app.command()
def verify(site: LedgerLocation = HERE) -> None:
    """Verify that no entry and no stored reply was changed, removed, reordered or cut off."""
    from common.ledger.ledger import Ledger
    from common.ledger.witness import Witness

    path, config = find_ledger(site)
    history, out = Ledger.view(path, with_replies=True), console()
    out.print(f"Intact: {len(history.entries)} entries, {len(history.lines())} releases.")
    out.print(f"The hash of entry {history.head.counter} is {history.head.head}.")
    if config is None or config.witness is None:
        out.print("There is no witness: this does not detect an older copy of both files.")
        return
    Witness(config.witness).check(history)
    out.print(f"The witness '{config.witness}' agrees: these files are no older than it.")


@ledger_app.command()
def export(
    site: LedgerLocation = HERE,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.")] = None,
) -> None:
    """Write every entry as JSON, for an auditor. The file contains no records and no replies."""
    from client.site.history import document
    from common.errors import SiteError
    from common.ledger.ledger import Ledger
    from common.system.files import refuse_existing, writing

    text = json.dumps(document(Ledger.view(find_ledger(site)[0])), indent=2)
    if out is None:
        typer.echo(text)
        return
    refuse_existing(out, error=SiteError)
    with writing(out, error=SiteError):
        out.write_text(text + "\n", encoding="utf-8")
    console().print(f"Wrote {out}.")


@ledger_app.command()
def close(
    run: Annotated[str, typer.Argument(help="Run id, as `show` lists it.", show_default=False)],
    site: SiteFile = HERE,
) -> None:
    """Free the budget that a run reserved and did not use. The run cannot continue after that. Stop the agent first.

    It needs the site.toml, which names the witness: in an old copy, nobody knows what a run has used.
    """
    from client.site.config import read_site
    from client.site.state import check_own_state, open_ledger

    config = read_site(site)
    check_own_state(config)
    with closing(open_ledger(config)) as ledger:
        ledger.close_run(run)
    console().print(f"Closed run {run}. What it released stays spent.")


@ledger_app.command("accept-restore")
def accept_restore(
    site: SiteFile = HERE,
    beyond: Annotated[
        int,
        typer.Option(
            min=0, max=2**52, help="Highest entry that a coordinator or partner has seen, as the refusal names it."
        ),
    ] = 0,
    lost: Annotated[
        list[Path] | None,
        typer.Option(
            "--lost", help="Proposal (JSON) of a run accepted since the copy, or closed by mistake; repeatable."
        ),
    ] = None,
) -> None:
    """Continue from an old copy of the state folder, when the newest is lost. Stop the agent first.

    Nobody knows what the lost entries released. So every open run, and every run given with --lost, is closed and
    counts as if its whole plan was released. A run that was approved and is not in the copy never begins. The witness
    starts again from here.
    """
    from client.site.config import read_site
    from client.site.restore import NO_RUNS, check_typed, cost_of_restore, read_lost_runs
    from client.site.state import check_own_state, open_ledger
    from common.errors import LedgerError
    from common.ledger.restore import reserved

    config = read_site(site)
    check_own_state(config)
    with closing(open_ledger(config, is_restored=True)) as ledger:
        runs = read_lost_runs(config, lost or [])
        events = reserved(ledger, config.name, runs, config.approvals.runs())
        out = console()
        for line in cost_of_restore(config, ledger, events):
            out.print(line)
        if not typer.confirm("Is the newest copy of the state folder lost?"):
            raise LedgerError("the old copy was not accepted; nothing was written")
        check_typed(typer.prompt(f"Type the ids of all lost runs, or '{NO_RUNS}'"), runs)
        entry = ledger.accept_restore(events, beyond=max(beyond, config.approvals.newest_entry()))
    out.print(f"Accepted as entry {entry.counter}: epsilon so far {entry.epsilon:.2f}. Start the agent again.")


def find_ledger(location: Path) -> tuple[Path, Site | None]:
    """Return the ledger file, and the site where a site.toml is found: it states lifetime epsilon and witness.

    Args:
        location: a site.toml, its folder, a state folder without a site.toml, or the ledger file itself.
    """
    if location.is_file() and location.suffix == ".sqlite":
        return location, None
    if location.is_dir() and not (location / "site.toml").exists():
        return location / "ledger.sqlite", None
    from client.site.config import read_site

    config = read_site(location)
    return config.ledger, config
