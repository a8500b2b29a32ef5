"""What an old copy of a ledger may have forgotten: everything that was reserved when the copy was made."""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import LedgerError
from common.ledger.chain import History
from common.planning.plan import Plan
from common.privacy.events import Event


def reserved(history: History, hospital: str, lost: Mapping[str, Plan]) -> dict[str, tuple[Event, ...]]:
    """Return, by run, every event that may have been released without an entry in this copy of the ledger.

    For an open run that is its plan without the charges that the copy holds. A run that was accepted after the copy was
    made is not in it at all, and people must name it.

    Args:
        history: the copy.
        hospital: its name in the plans.
        lost: plans of the runs that were accepted after the copy was made, by run id.

    Raises:
        LedgerError: a lost run is in the ledger, or its plan is not for this hospital.
    """
    events = {
        run_id: _without(history.planned(run_id, hospital), history.charged_events(run_id))
        for run_id in history.open_runs()
    }
    for run_id, plan in lost.items():
        mine = plan.of(hospital)
        if mine is None:
            raise LedgerError(f"run '{run_id}' is not for '{hospital}'; name a run of this hospital")
        if run_id in history.runs():
            raise LedgerError(f"run '{run_id}' is in this ledger; name only runs that `ledger show` does not list")
        events[run_id] = plan.events(mine)
    return events


def _without(planned: tuple[Event, ...], charged: tuple[Event, ...]) -> tuple[Event, ...]:
    left = list(planned)
    for event in charged:
        if event in left:
            left.remove(event)
    return tuple(left)
