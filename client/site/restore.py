"""Continue from an old copy of the state folder: which runs it may have forgotten, and what that costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from client.site.config import Site
from common.errors import LedgerError
from common.ledger.history import History
from common.ledger.restore import unaccepted, uncharged
from common.ledger.witness import Witness
from common.planning.plan import Plan
from common.planning.proposal import read_proposal
from common.privacy.events import Event

NO_RUNS = "none"
"""What a person types where no run was lost."""


def read_lost_runs(site: Site, proposals: Sequence[Path]) -> dict[str, Plan]:
    """Return the plans of runs that were accepted after the copy was made, or closed by mistake, by run id.

    Args:
        site: the site, with its approvals.
        proposals: files of these runs' proposals.

    Raises:
        LedgerError: two proposals are for one run, or one is for another plan than people approved.
        StudyError: a proposal cannot be read, or its signature is wrong.
        SiteError: the approvals of a run cannot be read.
    """
    runs: dict[str, Plan] = {}
    for path in proposals:
        proposal = read_proposal(path)
        run_id, plan = proposal.run_id, proposal.agreed()[1]
        if run_id in runs:
            raise LedgerError(f"'{path}' is a second proposal for run '{run_id}'; name the one that was approved")
        if any(decision.plan_sha256 != plan.digest for decision in site.approvals.of(run_id)):
            raise LedgerError(f"'{path}' has another plan of run '{run_id}' than people approved; name that proposal")
        runs[run_id] = plan
    return runs


def check_typed(typed: str, lost: Collection[str]) -> None:
    """Raise `LedgerError` unless a person typed the ids of exactly the lost runs, or 'none' where there are none.

    Args:
        typed: ids, separated by spaces or commas.
        lost: ids of the runs whose proposals were named.
    """
    words = set(typed.replace(",", " ").split())
    if words != (set(lost) or {NO_RUNS}):
        raise LedgerError(
            "what was typed is not the list of lost runs; name each with --lost and type the same ids. The old copy "
            "was not accepted; nothing was written"
        )


def cost_of_restore(site: Site, history: History, events: Mapping[str, tuple[Event, ...]]) -> tuple[str, ...]:
    """Return what a person reads before the copy is accepted.

    Args:
        site: gives limits and witness.
        history: the copy of the ledger.
        events: what is charged, by run.
    """
    last = history.entries[-1]
    lines = [f"This copy of the ledger ends at entry {last.counter}, of {last.time}."]
    if site.witness is not None:
        try:
            lines.append(f"The witness names entry {Witness(site.witness).read().counter}.")
        except LedgerError as problem:
            lines.append(f"note {problem}")
    lines += [f"Run {run_id} is closed, and {_charged(charged)}." for run_id, charged in events.items()]
    lines += [
        f"Run {run_id} was approved and is not in this copy. Was it accepted after the copy was made? Then name it "
        "with --lost, or what it released is never counted. It never begins again."
        for run_id in unaccepted(history, site.approvals.runs())
        if not events.get(run_id)
    ]
    lines += [
        f"Run {run_id} is closed in this copy, and {len(missing)} releases of its plan are not charged. Was it closed "
        "after the copy was restored? Then name it with --lost."
        for run_id in history.closed_runs()
        if run_id not in events and (missing := uncharged(history, site.name, run_id))
    ]
    lines.append(f"{_pins(site)}. Partners that were pinned or removed after the copy was made are not: compare them.")
    before, after = history.epsilon, history.epsilon_with(chain.from_iterable(events.values()))
    lines.append(f"Epsilon so far goes from {before:.2f} to {after:.2f} of {site.max_epsilon:.2f}.")
    lines.append(
        "A run that was accepted after this copy was made is not in it. Ask every coordinator for the runs since then, "
        "and name each with --lost; what they released counts for ever."
    )
    return tuple(lines)


def _charged(events: tuple[Event, ...]) -> str:
    return f"{len(events)} releases are charged" if events else "nothing is charged for it"


def _pins(site: Site) -> str:
    """Say which partners this copy of the state folder knows."""
    pins = [f"{name} ({pin.fingerprint})" for name, pin in sorted(site.partners.pins().items())]
    return f"This copy pins these partners: {', '.join(pins) or 'none'}"
