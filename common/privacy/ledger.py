"""What a hospital released about one cohort, over all runs: an SQLite file that outlives every process.

A line is written and synced before the release that it pays for; the reply is stored before it travels. So a crash
leaves either nothing, or a charge whose reply was never sent and may be computed once more.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.errors import PolicyRefusal, Reason
from common.privacy.events import Event, event_from_json, event_to_json

_TABLES = """
CREATE TABLE IF NOT EXISTS enrolments (
    run_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, study TEXT NOT NULL, plan TEXT NOT NULL, time TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS releases (
    line INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL, run_id TEXT NOT NULL, phase TEXT NOT NULL, round INTEGER NOT NULL,
    request TEXT NOT NULL, event TEXT NOT NULL, reply BLOB, time TEXT NOT NULL,
    UNIQUE (fingerprint, run_id, phase, round)
);
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one release in a run; it can be paid for once. `round` is 0 outside training."""

    fingerprint: str
    run_id: str
    phase: str
    round: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One ledger line: where in which run, what was released, when."""

    slot: Slot
    event: Event
    time: str
    is_answered: bool


class Ledger:
    """The cohort's releases. Safe to use from several threads of one process.

    Args:
        path: the SQLite file; made with its folder where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    def enrol(self, run_id: str, fingerprint: str, study: str, plan: str) -> None:
        """Remember which plan this run was accepted under.

        Raises:
            PolicyRefusal: the run is known under another study or plan.
        """
        known = self.enrolment(run_id)
        if known is None:
            self._write("INSERT INTO enrolments VALUES (?, ?, ?, ?, ?)", (run_id, fingerprint, study, plan, _now()))
        elif known != (study, plan):
            raise PolicyRefusal(Reason.PLAN_MISMATCH)

    def enrolment(self, run_id: str) -> tuple[str, str] | None:
        """Study and plan texts of a run, or None where the run was never accepted."""
        rows = self._read("SELECT study, plan FROM enrolments WHERE run_id = ?", (run_id,))
        return (str(rows[0][0]), str(rows[0][1])) if rows else None

    def plans(self) -> tuple[str, ...]:
        """The plans of all runs ever accepted: what the cohort is committed to, whether charged yet or not."""
        return tuple(str(row[0]) for row in self._read("SELECT plan FROM enrolments ORDER BY run_id", ()))

    def stored_reply(self, slot: Slot, request: str) -> bytes | None:
        """The reply that this very request (by digest) already got, or None if the slot has no reply yet.

        Raises:
            PolicyRefusal: the slot was paid for by another request; there is no second release.
        """
        rows = self._read(
            "SELECT request, reply FROM releases WHERE fingerprint = ? AND run_id = ? AND phase = ? AND round = ?",
            (slot.fingerprint, slot.run_id, slot.phase, slot.round),
        )
        if not rows:
            return None
        if rows[0][0] != request:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        return None if rows[0][1] is None else bytes(rows[0][1])

    def charge(self, slot: Slot, request: str, event: Event) -> None:
        """Write and sync the line for a release that is about to be computed; once per slot and request.

        Raises:
            PolicyRefusal: the slot was paid for by another request.
        """
        self._write(
            "INSERT INTO releases (fingerprint, run_id, phase, round, request, event, time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (slot.fingerprint, slot.run_id, slot.phase, slot.round, request, event_to_json(event), _now()),
        )
        self.stored_reply(slot, request)  # refuses where the line that stands is another request's

    def keep(self, slot: Slot, reply: bytes) -> None:
        """Store the reply, synced, before it travels.

        Raises:
            PolicyRefusal: nothing was charged, or another process stored its reply first; only that one may travel.
        """
        changed = self._write(
            "UPDATE releases SET reply = ?"
            " WHERE fingerprint = ? AND run_id = ? AND phase = ? AND round = ? AND reply IS NULL",
            (reply, slot.fingerprint, slot.run_id, slot.phase, slot.round),
        )
        if changed != 1:
            raise PolicyRefusal(Reason.UNAVAILABLE)

    def lines(self) -> tuple[Line, ...]:
        """Every line, oldest first."""
        rows = self._read(
            "SELECT fingerprint, run_id, phase, round, event, time, reply IS NOT NULL FROM releases ORDER BY line", ()
        )
        return tuple(Line(Slot(*row[:4]), event_from_json(row[4]), row[5], bool(row[6])) for row in rows)

    def events(self) -> tuple[Event, ...]:
        """Everything ever charged to the cohort."""
        return tuple(line.event for line in self.lines())

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]  # sqlite rows
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _write(self, query: str, values: tuple[object, ...]) -> int:
        """How many rows changed."""
        with self._lock:
            return self._database.execute(query, values).rowcount


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
