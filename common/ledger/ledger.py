"""What a hospital released about one cohort, over all runs: a file that only grows, and that notices when it did not.

Exactly once, in this order: `charge` writes and syncs a line, the reply is computed, `keep` stores it and seals its
digest into the chain, and only then it travels. A process killed at any point therefore leaves one of two things.

- A line without an answer: the reply may have been computed, and nothing of it left. The same request is computed
  again with fresh noise and charged no second time. That is safe because only one draw is ever seen by anyone
  outside; it supposes that what kills a process does not choose by the noise that was drawn.
- A line with an answer: the same request gets the stored bytes, never fresh noise, whether they had left or not.

Every entry holds the hash of the one before (`chain`). A second file names the last entry; it is written after the
entry and before anything travels, so it may lag by one entry and is never ahead. Whoever alters one of the files
is noticed when it is opened; who puts back an old copy of both, by the receipts that coordinators hold.

Stored replies are rows beside the chain, which holds their digests: a reply that was removed or altered is noticed
and not computed again, since that would be a second release at the price of one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.chain import NOTHING, Entry, History, Kind, Line
from common.ledger.files import (
    FORMAT,
    TABLES,
    explained,
    head_path,
    insert,
    is_new,
    refuse_missing,
    stored,
    transaction,
    verified,
    write_head,
)
from common.ledger.receipts import Receipt
from common.ledger.slot import Slot
from common.privacy import accountant
from common.privacy.events import Event, event_to_json
from common.system.files import HeldError, locked

__all__ = ["FORMAT", "Answer", "Entry", "History", "Kind", "Ledger", "Line", "Receipt", "Slot"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored reply, and the receipt that travels with it."""

    reply: bytes
    receipt: Receipt


class Ledger(History):
    """The cohort's ledger, held by this process alone. Safe to use from several threads.

    Beside `ledger.sqlite` stand `ledger.head.json`, the second file, and `ledger.lock`.

    Args:
        path: the SQLite file; made with its folder where it does not exist.
        cohort: whose patients these are; fixed when the ledger is made.
        delta: the cohort's one delta; fixed when the ledger is made.

    Raises:
        LedgerError: another process holds the ledger, it is another cohort's, or it was altered.
    """

    def __init__(self, path: Path, *, cohort: str, delta: float) -> None:
        if not 0 < delta < 1:
            raise LedgerError(f"delta = {delta:g} is not between 0 and 1")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = threading.RLock()
        self._head_path = head_path(path)
        self._held = ExitStack()
        try:
            self._held.enter_context(locked(path.with_suffix(".lock")))
        except HeldError as holder:
            raise LedgerError(
                f"ledger '{path}' is held by process {holder}; a cohort has one writer: stop that process or wait"
            ) from None
        try:
            with explained(path):
                self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                self._held.callback(self._database.close)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
                if is_new(self._database, path):
                    self._create(cohort, delta)
                super().__init__(verified(self._database, path))
            if (self.cohort, self.delta) != (cohort, delta):
                raise LedgerError(
                    f"ledger '{path}' is that of cohort '{self.cohort}' at delta = {self.delta:g}, not of '{cohort}' "
                    f"at {delta:g}; both are fixed when a ledger is made: give these, or use another state folder"
                )
            write_head(self._head_path, self.head)  # it lags by an entry where a process was killed between the two
        except BaseException:
            self.close()
            raise

    @staticmethod
    def view(path: Path, *, with_replies: bool = False) -> History:
        """What the ledger says now, verified, without holding it: an agent may be at work.

        Args:
            with_replies: also read every stored reply and compare it with its digest.

        Raises:
            LedgerError: there is no ledger, or it was altered.
        """
        if not path.is_file():
            refuse_missing(path)
            raise LedgerError(f"there is no ledger at '{path}'")
        with explained(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if is_new(database, path):
                raise LedgerError(f"the ledger at '{path}' holds nothing yet")
            history = History(verified(database, path))
            if with_replies:
                for entry in history.entries:
                    if entry.kind == Kind.ANSWER:
                        stored(database, entry)
            return history

    def close(self) -> None:
        """Let go of the ledger."""
        self._held.close()

    def enrol(self, run_id: str, fingerprint: str, study: str, plan: str) -> None:
        """Remember which plan this run was accepted under; from then on the plan is reserved.

        Raises:
            PolicyRefusal: the run is known under another study or plan, or was closed.
        """
        with self._guard:
            self._refuse_closed(run_id)
            known = self.enrolment(run_id)
            if known is None:
                texts = json.dumps({"study": study, "plan": plan})
                self._append(Kind.ENROL, Slot(fingerprint, run_id, ""), content=texts)
            elif known != (study, plan):
                raise PolicyRefusal(Reason.PLAN_MISMATCH)

    def close_run(self, run_id: str) -> None:
        """Give back what the run reserved and was not charged; its later requests are refused.

        Raises:
            LedgerError: the run was never accepted, or is closed already.
        """
        with self._guard:
            if run_id not in self._runs:
                raise LedgerError(f"run '{run_id}' was never accepted; `ledger show` lists the runs")
            if self.is_closed(run_id):
                raise LedgerError(f"run '{run_id}' is closed already")
            self._append(Kind.CLOSE, Slot(self._runs[run_id].slot.fingerprint, run_id, ""))

    def close_open_runs(self) -> None:
        """`close_run` for every run that is open."""
        with self._guard:
            for run_id in self.runs():
                if not self.is_closed(run_id):
                    self.close_run(run_id)

    def stored_reply(self, slot: Slot, request: str) -> Answer | None:
        """What this very request (by digest) was already answered, or None if there is no answer yet.

        Raises:
            PolicyRefusal: the slot was paid for by another request, or the run is closed; there is no second release.
            LedgerError: the stored reply was removed or altered.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            line = self._charges.get(slot)
            if line is not None and line.request != request:
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            entry = self._answers.get(slot)
            return None if entry is None else Answer(stored(self._database, entry), entry.receipt)

    def charge(self, slot: Slot, request: str, event: Event) -> Receipt:
        """Write and sync the line for a release that is about to be computed; once per slot and request.

        Raises:
            PolicyRefusal: the slot was paid for by another request, or the run is closed.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            line = self._charges.get(slot)
            if line is None:
                spent = accountant.epsilon_of(self._divergences + accountant.renyi([event]), self.delta)
                line = self._append(Kind.CHARGE, slot, request=request, content=event_to_json(event), epsilon=spent)
            elif line.request != request:
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            return line.receipt

    def keep(self, slot: Slot, reply: bytes) -> Answer:
        """Store the reply, synced, before it travels.

        Raises:
            PolicyRefusal: nothing was charged, another reply is stored already, or the run is closed.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            if slot not in self._charges or slot in self._answers:
                raise PolicyRefusal(Reason.UNAVAILABLE)
            request, seal = self._charges[slot].request, hashlib.sha256(reply).hexdigest()
            return Answer(reply, self._append(Kind.ANSWER, slot, request=request, content=seal, reply=reply).receipt)

    def _refuse_closed(self, run_id: str) -> None:
        if self.is_closed(run_id):
            raise PolicyRefusal(Reason.RUN_CLOSED)

    def _create(self, cohort: str, delta: float) -> None:
        name = secrets.token_hex(16)  # heads of two ledgers never agree, and none can be guessed
        opening = json.dumps({"delta": delta, "ledger": name})
        entry = Entry(0, Kind.OPEN, _now(), cohort, Slot("", "", ""), "", opening, 0.0, NOTHING).sealed()
        with transaction(self._database):
            for statement in TABLES:
                self._database.execute(statement)
            insert(self._database, entry)
        write_head(self._head_path, entry.receipt)

    def _append(
        self,
        kind: str,
        slot: Slot,
        *,
        request: str = "",
        content: str = "",
        epsilon: float | None = None,
        reply: bytes | None = None,
    ) -> Entry:
        """Database first, then the head file; what is in memory follows only when both are on the disk."""
        spent = self.epsilon if epsilon is None else epsilon
        counter, previous = self.head.counter + 1, self.head.head
        entry = Entry(counter, kind, _now(), self.cohort, slot, request, content, spent, previous).sealed()
        with transaction(self._database):
            insert(self._database, entry)
            if reply is not None:
                self._database.execute("INSERT INTO replies VALUES (?, ?)", (entry.counter, reply))
        write_head(self._head_path, entry.receipt)
        self._add(entry)
        return entry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
