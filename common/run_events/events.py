"""What happens in a run, as values: one stream that log, progress bars, timings and `events.jsonl` all observe.

The code that does the work calls `emit` with an event; observers are functions of one event. `events.jsonl` in a run's
folder holds one JSON object on each line, in the order of the events. Every object has `kind` and `time` (ISO 8601,
UTC, microseconds). The other fields, by kind:

    run-started          run_id, study, fingerprint, hospitals, phases, rounds, is_simulation, is_resumed, done
    replies-unchecked    hospital
    phase-started        phase
    exchange-started     phase, request, round, attempt, hospitals
    hospital-replied     phase, request, round, hospital, bytes_down, bytes_up
    hospital-declined    hospital, reason
    hospital-excluded    phase, request, hospital, reason, claims, detail
    hospital-removed     hospital
    hospitals-enrolled   hospitals
    attempt-failed       phase, round, attempt, detail
    round-finished       round, rounds, hospitals
    phase-finished       phase, seconds, tables
    release-written      rows
    progressed           task, done, total, item
    run-finished         run_id, seconds
    run-failed           reason

The stream holds nothing about a patient. About a hospital it holds the name in the study, the size of its
messages, and why it did not take part. No text in it was written by a hospital.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from common.errors import Reason, WireError
from common.run_events.exclusions import Exclusion

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9 .,-]*$")]
"""Name of a phase, a kind of request or a task."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Event:
    """Events are equal when they say the same, whenever they happened."""

    time: datetime = field(default_factory=_now, compare=False)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunStarted(_Event):
    """The coordinator began a run, or resumed it after the steps in `done`."""

    kind: Literal["run-started"] = "run-started"
    run_id: str
    study: str
    fingerprint: str
    hospitals: tuple[str, ...]
    phases: tuple[Code, ...]
    rounds: NonNegativeInt
    is_simulation: bool
    is_resumed: bool = False
    done: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RepliesUnchecked(_Event):
    """The study lists no identity for a hospital, so anyone may answer in its name."""

    kind: Literal["replies-unchecked"] = "replies-unchecked"
    hospital: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PhaseStarted(_Event):
    """Enrollment, a counted phase, the fit, the rounds or the refinement began."""

    kind: Literal["phase-started"] = "phase-started"
    phase: Code


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExchangeStarted(_Event):
    """A request goes to that many hospitals. `round` and `attempt` are 0 where there are none."""

    kind: Literal["exchange-started"] = "exchange-started"
    phase: Code
    request: Code
    round: NonNegativeInt = 0
    attempt: NonNegativeInt = 0
    hospitals: PositiveInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HospitalReplied(_Event):
    """A reply arrived that can be read. All such events of an exchange come at its end, whenever the replies came."""

    kind: Literal["hospital-replied"] = "hospital-replied"
    phase: Code
    request: Code
    round: NonNegativeInt = 0
    hospital: str
    bytes_down: NonNegativeInt
    bytes_up: NonNegativeInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HospitalDeclined(_Event):
    """A hospital's policy does not accept the run."""

    kind: Literal["hospital-declined"] = "hospital-declined"
    hospital: str
    reason: Reason


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HospitalExcluded(_Event):
    """A hospital is left out of an exchange.

    `claims` is the hospital in whose name it answered, where that is another; `detail` is a limit or a code, in the
    coordinator's words.
    """

    kind: Literal["hospital-excluded"] = "hospital-excluded"
    phase: Code
    request: Code
    hospital: str
    reason: Exclusion
    claims: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HospitalRemoved(_Event):
    """A hospital takes no part in the rest of the run."""

    kind: Literal["hospital-removed"] = "hospital-removed"
    hospital: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HospitalsEnrolled(_Event):
    """These hospitals take part."""

    kind: Literal["hospitals-enrolled"] = "hospitals-enrolled"
    hospitals: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AttemptFailed(_Event):
    """A masked sum could not be opened; what was sent for it stays charged."""

    kind: Literal["attempt-failed"] = "attempt-failed"
    phase: Code
    round: NonNegativeInt = 0
    attempt: PositiveInt
    detail: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RoundFinished(_Event):
    """The replies of one round are combined; `hospitals` gave a usable one."""

    kind: Literal["round-finished"] = "round-finished"
    round: PositiveInt
    rounds: PositiveInt
    hospitals: PositiveInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PhaseFinished(_Event):
    """A phase ended; `tables` is the number of tables that it counted or fitted, if any."""

    kind: Literal["phase-finished"] = "phase-finished"
    phase: Code
    seconds: NonNegativeFloat
    tables: NonNegativeInt | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReleaseWritten(_Event):
    """The model and a synthetic table with `rows` rows are in the run's folder."""

    kind: Literal["release-written"] = "release-written"
    rows: NonNegativeInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Progressed(_Event):
    """A task that is not part of the federation, such as the evaluation, has done this much of its work."""

    kind: Literal["progressed"] = "progressed"
    task: Code
    done: NonNegativeInt
    total: NonNegativeInt
    item: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunFinished(_Event):
    """The coordinator's part of the run is done."""

    kind: Literal["run-finished"] = "run-finished"
    run_id: str
    seconds: NonNegativeFloat


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunFailed(_Event):
    """The run ended without a release; `reason` is what run.json says."""

    kind: Literal["run-failed"] = "run-failed"
    reason: str


RunEvent = (
    RunStarted
    | RepliesUnchecked
    | PhaseStarted
    | ExchangeStarted
    | HospitalReplied
    | HospitalDeclined
    | HospitalExcluded
    | HospitalRemoved
    | HospitalsEnrolled
    | AttemptFailed
    | RoundFinished
    | PhaseFinished
    | ReleaseWritten
    | Progressed
    | RunFinished
    | RunFailed
)

Emit = Callable[[RunEvent], None]
"""Takes an event: an observer, or several behind one function."""

_ADAPTER: TypeAdapter[RunEvent] = TypeAdapter(Annotated[RunEvent, Field(discriminator="kind")])


def ignore(event: RunEvent) -> None:
    """Observe nothing."""


def to_all(*observers: Emit) -> Emit:
    """Return one function that calls all observers, in this order."""

    def emit(event: RunEvent) -> None:
        for observer in observers:
            observer(event)

    return emit


def progress_to(emit: Emit) -> Callable[[str, int, int], None]:
    """Return a function that emits the progress of a task, given its name, the number of steps done and their total."""
    return lambda task, done, total: emit(Progressed(task=task, done=done, total=total))


@contextmanager
def phase(emit: Emit, name: str) -> Iterator[Callable[[int], None]]:
    """Emit that a phase starts and, unless an error ends it, that it finished.

    Yields a function that notes how many tables the phase is about.
    """
    emit(PhaseStarted(phase=name))
    start, tables = monotonic(), list[int]()
    yield tables.append
    seconds = round(monotonic() - start, 6)
    emit(PhaseFinished(phase=name, seconds=seconds, tables=sum(tables) if tables else None))


def to_json(event: RunEvent) -> str:
    """Return the event as one line of JSON; fields without a value are left out."""
    return _ADAPTER.dump_json(event, exclude_none=True).decode()


def from_json(text: str | bytes) -> RunEvent:
    """Return the event that `to_json` wrote.

    Raises:
        WireError: the kind is unknown, or a field is missing, unknown or of another type.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError:  # its text quotes the input
        raise WireError("the text is not a run event; unknown kind, or wrong fields") from None
