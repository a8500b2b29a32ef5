"""The events of a run, as tests read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.run_events.events import HospitalExcluded, RunEvent
from common.run_events.exclusions import Exclusion
from common.run_events.file import EVENTS, read_events


class Killed(BaseException):
    """Ends a process as kill -9 would: no handler of errors catches it."""


def events_in(folder: Path) -> tuple[RunEvent, ...]:
    """Return the events of the run in a folder."""
    return read_events(folder / EVENTS)


def exclusions(events: Iterable[RunEvent]) -> list[tuple[str, Exclusion]]:
    """Return who was excluded and why, in order."""
    return [(event.hospital, event.reason) for event in events if isinstance(event, HospitalExcluded)]
