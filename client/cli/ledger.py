"""`fedsynth site ledger`: what a hospital has released, in plain words and in JSON. All but `close` only read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from common.ledger.ledger import Entry, History

ledger_app = typer.Typer(no_args_is_help=True, help="What was ever released about the cohort, and its proof.")

SiteFile = Annotated[
    Path, typer.Option("--site", help="site.toml, the folder that holds it, a state folder, or a ledger file.")
]
HERE = Path("site.toml")


def _out() -> Console:
    """As wide as the terminal is now."""
    return Console(soft_wrap=True, highlight=False, markup=False)


@ledger_app.command()
def show(site: SiteFile = HERE) -> None:
    """List every release with what it cost, in plain words."""
    from common.ledger.ledger import Ledger

    path, cap = _find(site)
    history = Ledger.view(path)
    table = Table("Entry", "Run", "What", title=f"Ledger of cohort {history.cohort}", title_justify="left")
    for entry, sentence in sentences(history, cap):
        table.add_row(str(entry.counter), entry.slot.run_id or "-", sentence)
    _out().print(table)


@ledger_app.command()
def verify(site: SiteFile = HERE) -> None:
    """Check that no entry and no stored reply was changed, removed, reordered or cut off."""
    from common.ledger.ledger import Ledger

    history = Ledger.view(_find(site)[0], with_replies=True)
    _out().print(f"Unbroken: {len(history.entries)} entries, {len(history.lines())} releases.")
    _out().print(f"Entry {history.head.counter} has the hash {history.head.head}.")
    _out().print("An old copy of both files shows only against the receipts of coordinators; agents compare them.")


@ledger_app.command()
def export(
    site: SiteFile = HERE,
    out: Annotated[Path | None, typer.Option(help="File to write; standard output if not given.")] = None,
) -> None:
    """Write every entry as JSON, for an auditor. It holds no record and no reply."""
    from common.errors import SiteError
    from common.ledger.ledger import Ledger

    text = json.dumps(document(Ledger.view(_find(site)[0])), indent=2)
    if out is None:
        typer.echo(text)
        return
    if out.exists():
        raise SiteError(f"'{out}' exists; choose another --out or remove it")
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as problem:
        raise SiteError(f"cannot write '{out}' ({type(problem).__name__}); choose another --out") from None
    _out().print(f"Wrote {out}.")


@ledger_app.command()
def close(
    run: Annotated[str, typer.Argument(help="The run's id, from `show`.", show_default=False)], site: SiteFile = HERE
) -> None:
    """Give back what a run reserved and did not use. It cannot go on after that; the agent must not be running."""
    from common.ledger.ledger import Ledger

    path, _ = _find(site)
    known = Ledger.view(path)
    ledger = Ledger(path, cohort=known.cohort, delta=known.delta)
    try:
        ledger.close_run(run)
    finally:
        ledger.close()
    _out().print(f"Closed run {run}. What it released stays spent.")


def sentences(history: History, cap: float | None = None) -> list[tuple[Entry, str]]:
    """Every entry that means something to people, and what it means.

    Args:
        cap: the cohort's lifetime epsilon, where it is known.
    """
    from common.ledger.ledger import Kind

    studies = {run_id: _study_name(history, run_id) for run_id in history.runs()}
    spent = iter(_spent(history))
    answered = {line.receipt.counter for line in history.lines() if line.is_answered}
    limit = "" if cap is None else f" of {cap:.1f}"
    told = []
    for entry in history.entries:
        who = f"{entry.time[:10]}, study {studies.get(entry.slot.run_id, 'unknown')}"
        match entry.kind:
            case Kind.OPEN:
                told.append((entry, f"{entry.time[:10]}: the ledger begins, at delta {history.delta:g}"))
            case Kind.ENROL:
                told.append((entry, f"{who}: run accepted, its whole plan is reserved"))
            case Kind.CHARGE:
                waiting = "" if entry.counter in answered else " (no reply was stored)"
                what = entry.slot.words + _sharers(entry)
                told.append((entry, f"{who}, {what}: epsilon so far {_short(next(spent))}{limit}{waiting}"))
            case Kind.CLOSE:
                told.append((entry, f"{who}: run closed, what it had not used is free again"))
    return told


def document(history: History) -> dict[str, Any]:
    """The ledger as JSON can hold it; an infinite epsilon is None."""
    from common.ledger.ledger import FORMAT, Kind

    def content(entry: Entry) -> Any:
        return json.loads(entry.content) if entry.kind in (Kind.OPEN, Kind.ENROL, Kind.CHARGE) else entry.content

    return {
        "format": FORMAT,
        "cohort": history.cohort,
        "delta": history.delta,
        "epsilon": _finite(history.epsilon),
        "entries": [
            {
                "counter": entry.counter,
                "kind": entry.kind,
                "time": entry.time,
                "cohort": entry.cohort,
                "fingerprint": entry.slot.fingerprint,
                "run_id": entry.slot.run_id,
                "phase": entry.slot.phase,
                "round": entry.slot.round,
                "request": entry.request,
                "content": content(entry),
                "epsilon": _finite(entry.epsilon),
                "previous": entry.previous,
                "hash": entry.hash,
            }
            for entry in history.entries
        ],
    }


def _find(site: Path) -> tuple[Path, float | None]:
    """The ledger file, and the cohort's cap where a site.toml says it."""
    if site.is_file() and site.suffix == ".sqlite":
        return site, None
    if site.is_dir() and not (site / "site.toml").exists():
        return site / "ledger.sqlite", None
    from client.site import read_site

    here = read_site(site)
    return here.ledger, here.max_epsilon


def _spent(history: History) -> list[float]:
    """Epsilon up to each line. A single run is a plan fixed in advance, which PLD bounds more closely."""
    from common.privacy import accountant

    lines = history.lines()
    spent = [line.epsilon for line in lines]
    if len({line.slot.run_id for line in lines}) == 1:
        tighter = accountant.epsilons(history.events(), history.delta)
        spent = [min(pair) for pair in zip(spent, tighter, strict=True)]
    return spent


def _study_name(history: History, run_id: str) -> str:
    import tomllib

    texts = history.enrolment(run_id)
    assert texts is not None, "a run without an enrolment"
    try:
        return str(tomllib.loads(texts[0])["study"]["name"])
    except (tomllib.TOMLDecodeError, LookupError, TypeError):
        return "unknown"


def _sharers(entry: Entry) -> str:
    """Said of a charge whose noise is not this hospital's alone."""
    from common.privacy.events import DistributedGaussianVector, SynchronousRun, event_from_json

    event = event_from_json(entry.content)
    if not isinstance(event, DistributedGaussianVector | SynchronousRun):
        return ""
    return f", under the noise of {event.shares} honest hospitals"


def _short(epsilon: float) -> str:
    return "without limit" if math.isinf(epsilon) else f"{epsilon:.1f}"


def _finite(epsilon: float) -> float | None:
    return None if math.isinf(epsilon) else epsilon
