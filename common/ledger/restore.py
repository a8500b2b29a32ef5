"""What an old copy of a ledger may have forgotten: everything that was reserved or approved when the copy was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.errors import LedgerError
from common.ledger.history import History
from common.planning.plan import Plan
from common.privacy.events import Event


def reserved(
    history: History, hospital: str, lost: Mapping[str, Plan], approved: Iterable[str] = ()
) -> dict[str, tuple[Event, ...]]:
    """Return, by run, every event that may have been released without an entry in this copy of the ledger.

    For an open run that is its plan without the charges that the copy holds. A run that was accepted after the copy was
    made is not in it at all, and people must name it; so must they a run that was closed in the copy by mistake. A run
    that was approved before and is not named has no events, and is closed: whether it was accepted later is unknown, so
    it must never begin again.

    Args:
        history: the copy.
        hospital: its name in the plans.
        lost: plans of the runs that were accepted after the copy was made, or closed by mistake, by run id.
        approved: further runs that people approved, whose decisions are not in the ledger yet.

    Raises:
        LedgerError: a lost run is open in the ledger, or its plan is not for this hospital, or not the accepted one.
    """
    events = {run_id: uncharged(history, hospital, run_id) for run_id in history.open_runs()}
    for run_id, plan in lost.items():
        hospital_plan = plan.of(hospital)
        if hospital_plan is None:
            raise LedgerError(f"run '{run_id}' is not for '{hospital}'; name a run of this hospital")
        if run_id in events:
            raise LedgerError(f"run '{run_id}' is in this ledger and open, so it is charged anyway; leave it out")
        if run_id in history.runs() and history.planned(run_id, hospital) != plan.events(hospital_plan):
            raise LedgerError(f"run '{run_id}' was accepted under another plan; name the proposal that was accepted")
        events[run_id] = _without(plan.events(hospital_plan), history, run_id)
    for run_id in unaccepted(history, approved):
        events.setdefault(run_id, ())
    return events


def unaccepted(history: History, approved: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the runs that people decided about and that this copy neither accepted nor closed.

    Args:
        history: the copy.
        approved: further runs that people approved, whose decisions are not in the ledger yet.
    """
    decided = dict.fromkeys((*history.decided_runs(), *approved))
    return tuple(run for run in decided if run not in history.runs() and not history.is_closed(run))


def uncharged(history: History, hospital: str, run_id: str) -> tuple[Event, ...]:
    """Return the events of an accepted run's plan that the copy has not charged or written off.

    Args:
        history: the copy.
        hospital: its name in the plan.
        run_id: the run.
    """
    return _without(history.planned(run_id, hospital), history, run_id)


def _without(planned: tuple[Event, ...], history: History, run_id: str) -> tuple[Event, ...]:
    """Return the planned events of a run that the copy has not charged or written off."""
    remaining = list(planned)
    for event in history.spent_on(run_id):
        if event in remaining:
            remaining.remove(event)
    return tuple(remaining)
