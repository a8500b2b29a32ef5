"""Continue from an old copy of the state folder: which runs it may have forgotten, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from client.site.config import Site
from common.errors import LedgerError
from common.ledger.chain import History
from common.ledger.witness import Witness
from common.planning.plan import Plan
from common.planning.proposal import read_proposal
from common.privacy import accountant
from common.privacy.events import Event


def read_lost_runs(proposals: Sequence[Path]) -> dict[str, Plan]:
    """Return the plans of runs that were accepted after the copy was made, by run id.

    Raises:
        StudyError: a proposal cannot be read, or its signature is wrong.
    """
    runs = {}
    for path in proposals:
        proposal = read_proposal(path)
        runs[proposal.run_id] = proposal.agreed()[1]
    return runs


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
    lines += [f"Run {run_id} is closed, and {len(charged)} releases are charged." for run_id, charged in events.items()]
    everything = (*history.events(), *(event for charged in events.values() for event in charged))
    before, after = history.epsilon, accountant.epsilon_rdp(everything, history.delta)
    lines.append(f"Epsilon so far goes from {before:.2f} to {after:.2f} of {site.max_epsilon:.2f}.")
    lines.append(
        "A run that was accepted after this copy was made is not in it. Ask every coordinator for the runs since then, "
        "and name each with --lost; what they released counts for ever."
    )
    return tuple(lines)
