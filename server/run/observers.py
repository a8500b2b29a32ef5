"""Observers of a run: its lines in the log, and its seconds by phase and its bytes by phase and hospital."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from common.errors import REASON_TEXTS
from common.run_events.events import (
    AttemptFailed,
    ExchangeStarted,
    HospitalDeclined,
    HospitalExcluded,
    HospitalRemoved,
    HospitalReplied,
    HospitalsEnrolled,
    PhaseFinished,
    PhaseStarted,
    Progressed,
    ReleaseWritten,
    RepliesUnchecked,
    RoundFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
)
from common.run_events.exclusions import EXCLUSION_TEXTS

log = logging.getLogger(__name__)


def write_log(event: RunEvent) -> None:
    """Log an event in words: a warning where a hospital is lost, an error where the run is."""
    level, text = describe(event)
    if text:
        log.log(level, "%s", text)


def describe(event: RunEvent) -> tuple[int, str]:
    """Return the level and the line of an event; an empty line for what the log leaves out."""
    match event:
        case RepliesUnchecked() | HospitalDeclined() | HospitalExcluded() | HospitalRemoved() | AttemptFailed():
            return logging.WARNING, _warning(event)
        case RunFailed(reason=reason):
            return logging.ERROR, f"the run failed: {reason}"
        case PhaseStarted() | Progressed():
            return logging.DEBUG, ""
        case _:
            return logging.INFO, _notice(event)


def _warning(event: RepliesUnchecked | HospitalDeclined | HospitalExcluded | HospitalRemoved | AttemptFailed) -> str:
    match event:
        case RepliesUnchecked(hospital=hospital):
            return f"{hospital}: no identity listed, so its replies are not checked"
        case HospitalDeclined(hospital=hospital, reason=reason):
            return f"{hospital}: does not take part: {REASON_TEXTS[reason]}"
        case HospitalExcluded(hospital=hospital):
            name = f"{hospital} in the name of {event.claims}" if event.claims else hospital
            detail = f" ({event.detail})" if event.detail else ""
            return f"{name}: {EXCLUSION_TEXTS[event.reason]}{detail}; excluded from {event.request}"
        case HospitalRemoved(hospital=hospital):
            return f"{hospital}: takes no part in the rest of the run"
        case AttemptFailed(phase=phase, attempt=attempt, detail=detail):
            return f"masked phase '{phase}', attempt {attempt} failed: {detail}"


def _notice(
    event: RunStarted
    | ExchangeStarted
    | HospitalReplied
    | HospitalsEnrolled
    | RoundFinished
    | PhaseFinished
    | ReleaseWritten
    | RunFinished,
) -> str:
    match event:
        case RunStarted(run_id=run_id, is_resumed=is_resumed, done=done):
            return f"run {run_id} resumed; steps done: {', '.join(done) or 'none'}" if is_resumed else f"run {run_id}"
        case ExchangeStarted(request=request, phase=phase, round=number, attempt=attempt, hospitals=hospitals):
            numbers = "".join(f", {name} {of}" for name, of in (("round", number), ("attempt", attempt)) if of)
            return f"{phase}{numbers}: {request} sent to {hospitals} hospitals"
        case HospitalReplied(hospital=hospital, request=request):
            return f"{hospital}: replied to {request}"
        case HospitalsEnrolled(hospitals=names):
            return f"enrolled: {', '.join(names)}"
        case RoundFinished(round=number, rounds=rounds, hospitals=hospitals):
            return f"round {number} of {rounds}: {hospitals} hospitals"
        case PhaseFinished(phase=phase, seconds=seconds, tables=tables):
            figures = "" if tables is None else f", {tables} tables"
            return f"{phase}: finished in {seconds:.1f} s{figures}"
        case ReleaseWritten(rows=rows):
            return f"release written: {rows} synthetic rows"
        case RunFinished(run_id=run_id, seconds=seconds):
            return f"run {run_id} finished in {seconds:.1f} s"


class Costs:
    """Adds up messages and bytes by phase and hospital, and the seconds of each phase.

    Not the seconds of a hospital: they depend on its records a little, and run.json may be published.
    """

    def __init__(self) -> None:
        self._traffic: dict[str, dict[str, dict[str, int]]] = {}
        self._seconds: dict[str, float] = {}

    def __call__(self, event: RunEvent) -> None:
        match event:
            case HospitalReplied():
                empty = {"messages": 0, "bytes_down": 0, "bytes_up": 0}
                cell = self._traffic.setdefault(event.phase, {}).setdefault(event.hospital, empty)
                cell["messages"] += 1
                cell["bytes_down"] += event.bytes_down
                cell["bytes_up"] += event.bytes_up
            case PhaseFinished():
                self._seconds[event.phase] = round(self._seconds.get(event.phase, 0.0) + event.seconds, 3)

    @property
    def traffic(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Messages, bytes_down and bytes_up by phase and hospital."""
        return self._traffic

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each phase, with all hospitals together."""
        return self._seconds
