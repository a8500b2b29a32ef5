"""The ledger of a cohort: all releases over all runs, in an append-only file that detects alterations.

Every release happens exactly once, in this order: `charge` writes and syncs an entry, the reply is computed,
`store_reply` adds it and its digest, and then it is sent. A process killed at any point leaves one of two states.

- A charge without an answer: the reply may have been computed, but was not sent. The same request is computed
  again with the same noise (`common.ledger.draws`) and not charged again.
- A charge with an answer: the same request gets the stored bytes, never fresh noise, whether they were sent or not.

Every entry holds the hash of the previous entry (`chain`). A second file, the head file, names the last entry. It is
written after the entry and before the reply is sent, so it may lag by one entry and is never ahead. An alteration of
one file is detected when the ledger is opened; an old copy of both, by a witness outside the state folder (`witness`),
and where there is none by the receipts that others hold, if they show them.

Stored replies are rows beside the chain, which holds their digests. A removed or altered reply is detected and not
computed again, since that would be a second release at the price of one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.chain import NOTHING, Entry, Kind
from common.ledger.enrollment import Enrollment
from common.ledger.files import FORMAT, head_path, read_entries, write_head
from common.ledger.history import History, Line
from common.ledger.receipts import MAX_COUNTER, Receipt, Shown
from common.ledger.slot import Slot
from common.ledger.store import Store
from common.ledger.witness import HeadCopies, Witness
from common.privacy.events import Event, event_to_json

MAX_BEYOND = MAX_COUNTER // 2
"""Largest number of an entry after which a ledger continues: as many numbers are left."""

__all__ = ["FORMAT", "Answer", "Enrollment", "Entry", "History", "Kind", "Ledger", "Line", "Receipt", "Slot"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored reply, and the receipt that travels with it."""

    reply: bytes
    receipt: Receipt


class Ledger(History):
    """The cohort's ledger, locked by this process. Safe to use from several threads.

    Beside `ledger.sqlite` are the head file `ledger.head.json` and `ledger.lock`.

    Args:
        path: the SQLite file; created with its folder if it does not exist.
        cohort: name of the cohort; fixed when the ledger is created.
        delta: delta of the cohort; fixed when the ledger is created.
        witness: the second copy of the head outside the state folder; it is not created. None for none.
        is_restored: open an old copy, whatever the witness says; `accept_restore` must follow.

    Raises:
        LedgerError: another process holds the ledger, it belongs to another cohort, it was altered, or the witness is
            ahead or cannot be reached.
    """

    def __init__(
        self, path: Path, *, cohort: str, delta: float, witness: Path | None = None, is_restored: bool = False
    ) -> None:
        if not 0 < delta < 1:
            raise LedgerError(f"delta = {delta:g} is not between 0 and 1")
        self._guard = threading.RLock()
        self.path = path
        self._copies = HeadCopies(head_path(path), None if witness is None else Witness(witness))
        self._store = Store(path)
        try:
            if self._store.is_new:
                self._create(cohort, delta)
            super().__init__(self._store.entries())
            if (self.cohort, self.delta) != (cohort, delta):
                raise LedgerError(
                    f"ledger '{path}' belongs to cohort '{self.cohort}' at delta = {self.delta:g}, not to '{cohort}' "
                    f"at {delta:g}; both are fixed when a ledger is created: restore these values, or use "
                    "another state folder"
                )
            if not is_restored:
                self._copies.confirm(self)  # both lag by an entry where a process was killed before it wrote them
        except BaseException:
            self.close()
            raise

    @staticmethod
    def view(path: Path, *, with_replies: bool = False) -> History:
        """Return the verified history of a ledger without locking it: an agent may be running.

        Args:
            path: the SQLite file.
            with_replies: also read every stored reply and compare it with its digest.

        Raises:
            LedgerError: there is no ledger, or it was altered.
        """
        return History(read_entries(path, with_replies=with_replies))

    def close(self) -> None:
        """Close the ledger and release its lock."""
        self._store.close()

    def enroll(self, run_id: str, enrollment: Enrollment, *, shown: Shown | None = None) -> None:
        """Record that a run was accepted, and reserve its plan.

        Args:
            run_id: id of the run.
            enrollment: study, plan and table of the run.
            shown: the coordinator's receipt for this ledger; None for a coordinator without a key.

        Raises:
            PolicyRefusal: the run is known under another study, plan or table, or was closed.
        """
        with self._guard:
            self._refuse_closed(run_id)
            known = self.enrollment(run_id)
            if known is None:
                seen = {} if shown is None or shown.receipt is None else {shown.coordinator: shown.receipt.counter}
                slot = Slot(enrollment.fingerprint, run_id, "")
                self._append(self._next(Kind.ENROLL, slot, content=enrollment.content(seen)))
            elif (known.study, known.plan) != (enrollment.study, enrollment.plan):
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            else:
                self.check_table(run_id, enrollment.table)

    def decide(self, fingerprint: str, run_id: str, decision: str) -> None:
        """Record what a person at the hospital decided about a run. It releases nothing and costs nothing.

        Args:
            fingerprint: fingerprint of the study.
            run_id: id of the run.
            decision: the decision as JSON.
        """
        with self._guard:
            number = len(self.decisions(run_id)) + 1
            self._append(self._next(Kind.DECIDE, Slot(fingerprint, run_id, "", number), content=decision))

    def note(self, kind: Literal[Kind.SELFTEST, Kind.WITNESS], content: str) -> Entry:
        """Record a fact about the installation, as JSON. It releases nothing and costs nothing."""
        with self._guard:
            return self._append(self._next(kind, Slot("", "", "", self.head.counter + 1), content=content))

    def close_run(self, run_id: str) -> None:
        """Free what a run reserved and was not charged; its later requests are refused.

        Raises:
            LedgerError: the run was never accepted, or is closed already.
        """
        with self._guard:
            if run_id not in self._runs:
                raise LedgerError(f"run '{run_id}' was never accepted; `ledger show` lists the runs")
            if self.is_closed(run_id):
                raise LedgerError(f"run '{run_id}' is closed already")
            self._append(self._next(Kind.CLOSE, Slot(self._runs[run_id].slot.fingerprint, run_id, "")))

    def accept_restore(self, events: Mapping[str, Sequence[Event]], *, beyond: int = 0) -> Entry:
        """Continue from an old copy: charge what it may have forgotten, close these runs and reset the witness.

        The entry's number is above every number that the witness or a receipt names, so that coordinators and partners
        see a ledger that went forward.

        Args:
            events: what may have been released without an entry, by run id; see `restore.reserved`. A run without any
                is closed too. Events of a run that an earlier restore closed are charged on top.
            beyond: the highest number of an entry that somebody outside has seen.

        Raises:
            LedgerError: the witness cannot be written, or a number is above `MAX_BEYOND`.
        """
        with self._guard:
            beyond = max(beyond, self._copies.seen())
            if beyond > MAX_BEYOND:
                raise LedgerError(
                    f"no ledger has {beyond} entries, so this number is invented; give the highest true one as "
                    "--beyond, or remove the witness where it names this number"
                )
            spent = self.epsilon_with(chain.from_iterable(events.values()))
            content = json.dumps({run_id: list(map(event_to_json, charged)) for run_id, charged in events.items()})
            number = max(self.head.counter, beyond) + 1
            slot = Slot("", "", "", number)
            entry = replace(self._next(Kind.RESTORE, slot, content=content), counter=number, epsilon=spent).with_hash()
            self._keep(entry)
            self._copies.start_again(entry.receipt)
            return entry

    def stored_reply(self, slot: Slot, request: str) -> Answer | None:
        """Return the stored answer to exactly this request, by digest; None if there is no answer yet.

        Raises:
            PolicyRefusal: the slot was charged for another request, or the run is closed; there is no second release.
            LedgerError: the stored reply was removed or altered.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            line = self._charges.get(slot)
            if line is not None and line.request != request:
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            self._copies.confirm(self)
            entry = self._answers.get(slot)
            return None if entry is None else Answer(self._store.reply(entry), entry.receipt)

    def charge(self, slot: Slot, request: str, event: Event) -> Receipt:
        """Write and sync the charge for a release that is about to be computed, once per slot and request.

        Args:
            slot: the release.
            request: digest of the request.
            event: the release as the accountant composes it.

        Returns:
            The receipt for the charge.

        Raises:
            PolicyRefusal: the slot was charged for another request, or the run is closed.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            self._copies.confirm(self)
            line = self._charges.get(slot)
            if line is None:
                charge = self._next(Kind.CHARGE, slot, request=request, content=event_to_json(event))
                line = self._append(replace(charge, epsilon=self.epsilon_with([event])).with_hash())
            elif line.request != request:
                raise PolicyRefusal(Reason.PLAN_MISMATCH)
            return line.receipt

    def store_reply(self, slot: Slot, reply: bytes) -> Answer:
        """Store and sync a reply before it is sent.

        Raises:
            PolicyRefusal: nothing was charged, another reply is stored already, or the run is closed.
        """
        with self._guard:
            self._refuse_closed(slot.run_id)
            if slot not in self._charges or slot in self._answers:
                raise PolicyRefusal(Reason.UNAVAILABLE)
            request, digest = self._charges[slot].request, hashlib.sha256(reply).hexdigest()
            entry = self._append(self._next(Kind.ANSWER, slot, request=request, content=digest), reply)
            return Answer(reply, entry.receipt)

    def _refuse_closed(self, run_id: str) -> None:
        if self.is_closed(run_id):
            raise PolicyRefusal(Reason.RUN_CLOSED)

    def _create(self, cohort: str, delta: float) -> None:
        name = secrets.token_hex(16)  # heads of two ledgers never agree, and none can be guessed
        opening = json.dumps({"delta": delta, "ledger": name})
        entry = Entry(0, Kind.OPEN, _now(), cohort, Slot("", "", ""), "", opening, 0.0, NOTHING).with_hash()
        self._store.append(entry)
        write_head(head_path(self.path), entry.receipt)

    def _append(self, entry: Entry, reply: bytes | None = None) -> Entry:
        """Append the next entry: database, memory, head file, witness. It counts once all of them have it."""
        self._copies.confirm(self)
        self._copies.check(self)  # before anything is charged
        self._keep(entry, reply)
        self._copies.write(entry.receipt)
        return entry

    def _keep(self, entry: Entry, reply: bytes | None = None) -> None:
        self._store.append(entry, reply)
        self._add(entry)

    def _next(self, kind: str, slot: Slot, *, request: str = "", content: str = "") -> Entry:
        """Return the entry that would follow the last one, at the same epsilon and with the next number."""
        number, last = self.head.counter + 1, self.head.head
        return Entry(number, kind, _now(), self.cohort, slot, request, content, self.epsilon, last).with_hash()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
