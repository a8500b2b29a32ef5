"""What the events of a run say so far: which hospital is where in which phase, what failed, what it took."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from common.errors import REASON_TEXTS, WireError
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
    RoundFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    from_json,
)
from common.run_events.exclusions import EXCLUSION_TEXTS
from server.run.observers import describe

LOG_LINES = 60
"""Lines of the log that a page shows: the latest."""

ENROLLMENT = "enrollment"
"""The phase in which hospitals say whether they take part."""


@dataclass(slots=True)
class HospitalPhase:
    """One hospital in one phase.

    Attributes:
        replies: replies that could be used.
        bytes_down, bytes_up: bytes that it got and sent.
        is_asked: a request is on its way.
        trouble: why it was left out, in the coordinator's words; "" where it was not.
    """

    replies: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    is_asked: bool = False
    trouble: str = ""


@dataclass(slots=True)
class Progress:
    """A run, as its events tell it.

    Attributes:
        hospitals, phases: in the study's and the plan's order; enrollment is first.
        cells: by phase and hospital.
        seconds: of finished phases.
        phase: the phase that runs; "" between phases.
        rounds, round: how many rounds there are, and the last that ended.
        task: what the run does beside the federation, such as the evaluation, with steps done and in total.
        gone: hospitals that left the run, and why.
        lines: the latest lines of the log, with their times.
        rows: synthetic rows; 0 before they are written.
        reason: why the run failed; "" while it did not.
        finished_s: seconds that the federation took; None while it works.
        unread: lines of the file that are not events.
        asked_at: when the requests were sent whose replies are awaited now; None where none are.
    """

    hospitals: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    cells: dict[tuple[str, str], HospitalPhase] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    rounds: int = 0
    round: int = 0
    task: tuple[str, int, int] | None = None
    gone: dict[str, str] = field(default_factory=dict)
    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    rows: int = 0
    reason: str = ""
    finished_s: float | None = None
    unread: int = 0
    asked_at: datetime | None = None

    def cell(self, phase: str, hospital: str) -> HospitalPhase:
        return self.cells.setdefault((phase, hospital), HospitalPhase())

    def bytes_of(self, phase: str) -> int:
        """Return the bytes of a phase, both ways, of all hospitals."""
        return sum(cell.bytes_down + cell.bytes_up for (name, _), cell in self.cells.items() if name == phase)

    def observe(self, event: RunEvent) -> None:
        """Take one event into account."""
        line = "" if isinstance(event, HospitalReplied) else describe(event)[1]  # the table shows who replied
        if line:
            self.lines.append((f"{event.time:%H:%M:%S}", line))
        self.asked_at = event.time if isinstance(event, ExchangeStarted) else None  # until the next event of any kind
        match event:
            case RunStarted():
                self.hospitals, self.rounds = event.hospitals, event.rounds
                self.phases = (ENROLLMENT, *event.phases)
                self.reason, self.phase, self.finished_s, self.task = "", "", None, None
                for cell in self.cells.values():
                    cell.is_asked = False
            case PhaseStarted(phase=phase):
                self.phase = phase
                if phase not in self.phases:
                    self.phases = (*self.phases, phase)
            case PhaseFinished(phase=phase, seconds=seconds):
                self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
                self.phase = ""
            case ExchangeStarted() | HospitalReplied() | HospitalExcluded() | AttemptFailed():
                self._exchange(event)
            case HospitalDeclined(hospital=hospital, reason=reason):
                self.gone[hospital] = REASON_TEXTS[reason]
            case HospitalRemoved(hospital=hospital):
                self.gone.setdefault(hospital, "takes no part in the rest of the run")
            case HospitalsEnrolled(hospitals=names):
                for name in names:
                    self.cell(ENROLLMENT, name).is_asked = False
            case RoundFinished(round=number):
                self.round = number
            case Progressed():
                self.task = (event.task, event.done, event.total) if event.done < event.total else None
            case ReleaseWritten(rows=rows):
                self.rows = rows
            case RunFinished(seconds=seconds):
                self.finished_s, self.phase = seconds, ""
            case RunFailed(reason=reason):
                self.reason, self.phase, self.task = reason, "", None

    def _exchange(self, event: ExchangeStarted | HospitalReplied | HospitalExcluded | AttemptFailed) -> None:
        match event:
            case ExchangeStarted(phase=phase):
                for name in self.hospitals:
                    self.cell(phase, name).is_asked = name not in self.gone
            case HospitalReplied(phase=phase, hospital=hospital):
                cell = self.cell(phase, hospital)
                cell.replies += 1
                cell.bytes_down += event.bytes_down
                cell.bytes_up += event.bytes_up
                cell.is_asked = False
            case HospitalExcluded(phase=phase, hospital=hospital, reason=reason):
                cell = self.cell(phase, hospital)
                cell.trouble, cell.is_asked = EXCLUSION_TEXTS[reason], False
            case AttemptFailed(phase=phase):
                for name in self.hospitals:
                    self.cell(phase, name).is_asked = False


class EventTail:
    """Reads a file of events as it grows, each line once. A file that became shorter is read again.

    Args:
        path: may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read, self.progress = path, 0, Progress()

    def follow(self) -> Progress:
        """Return what all whole lines say. Lines that are not events are counted, not raised: a page shows the rest."""
        try:
            size = self._path.stat().st_size
        except OSError:
            return self.progress
        if size < self._read:
            self._read, self.progress = 0, Progress()
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:
            self.progress.unread = max(self.progress.unread, 1)  # a file that cannot be read, or a folder of its name
            return self.progress
        complete_lines = new[: new.rfind(b"\n") + 1]
        self._read += len(complete_lines)
        for line in complete_lines.splitlines():
            try:
                self.progress.observe(from_json(line))
            except WireError:
                self.progress.unread += 1
        return self.progress
