"""How a simulation ends before its time: where it was, what the ledgers hold, and what a reader can do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.errors import PolicyRefusal, StudyError, cause_of
from common.ledger.ledger import Ledger
from common.privacy import accountant
from common.run_events.events import PhaseStarted, RunEvent

RESUME = "the same command with --resume continues there and charges nothing twice, --force starts again"
"""What a reader can do after an interruption."""


class PhaseWatch:
    """Observer that knows the phase in which a run is."""

    name = "enrollment"

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, PhaseStarted):
            self.name = event.phase


def words(problem: BaseException) -> str:
    """Return the error in words."""
    return cause_of(problem) if isinstance(problem, Exception) else str(problem)


def ending(problem: BaseException, phase: str, ledgers: Sequence[Ledger], max_epsilon: float) -> BaseException:
    """Return the error with what a reader needs to go on: where the run was, and what the ledgers hold.

    Args:
        problem: what ended the run.
        phase: name of the phase that ended.
        ledgers: ledgers of the hospitals.
        max_epsilon: lifetime epsilon of every ledger.
    """
    if isinstance(problem, KeyboardInterrupt):
        return KeyboardInterrupt(
            f"interrupted during {phase}: the ledgers hold epsilon up to {_spent(ledgers):.3g}; {RESUME}"
        )
    if isinstance(problem, OSError):
        where = f" '{problem.filename}'" if problem.filename else " to the output folder"
        return StudyError(f"cannot write{where}: {cause_of(problem)}; make room. {RESUME.capitalize()}")
    if isinstance(problem, PolicyRefusal) and math.isfinite(max_epsilon):
        return PolicyRefusal(
            problem.reason,
            f"{problem}; the ledgers hold epsilon up to {_spent(ledgers):.3g} of --max-epsilon "
            f"{max_epsilon:g}, and the run needs what is in its study: raise --max-epsilon, or choose other "
            f"--sites{_held(ledgers)}",
        )
    return problem


def _held(ledgers: Sequence[Ledger]) -> str:
    """Return what to do about interrupted runs that still reserve what they need; empty where there are none."""
    held = {run_id for ledger in ledgers for run_id in ledger.open_runs()}
    return f"; interrupted runs reserve a part, so continue them first: {RESUME}" if held else ""


def _spent(ledgers: Sequence[Ledger]) -> float:
    """Return the largest epsilon that a ledger holds, over all runs."""
    return max(
        (accountant.epsilon([line.event for line in ledger.lines()], ledger.delta) for ledger in ledgers), default=0.0
    )


@contextmanager
def release_is_whole(out: Path) -> Iterator[None]:
    """Say, where the disk is full or the reader interrupts, that the synthetic table is there and what to do."""
    later = f"the release in '{out}' is whole: `fedsynth evaluate --run {out}` with the same --data makes the report"
    try:
        yield
    except OSError as problem:
        raise StudyError(f"cannot write '{problem.filename or out}': {cause_of(problem)}; make room. {later}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted during the evaluation; {later}") from None
