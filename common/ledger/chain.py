"""The hash-chained entries of a ledger as values, and the history that they describe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NoReturn

import numpy as np

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.receipts import Receipt
from common.ledger.slot import Slot
from common.planning.plan import Plan
from common.privacy import accountant, lifetime
from common.privacy.events import Event, event_from_json


class Kind(StrEnum):
    """The kind of an entry.

    OPEN: the ledger begins. DECIDE: a person approved a run or withdrew an approval. ENROLL: a run is accepted and its
    plan reserved. CHARGE: a release is charged before it is computed. ANSWER: its reply is stored and may be sent.
    CLOSE: the operator frees what a run reserved and did not spend.
    """

    OPEN = "open"
    DECIDE = "decide"
    ENROLL = "enroll"
    CHARGE = "charge"
    ANSWER = "answer"
    CLOSE = "close"


NOTHING = "0" * 64
"""The `previous` hash of the first entry."""

REMEDY = "release nothing about this cohort until this is explained, and do not change either file"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a ledger.

    Attributes:
        time: UTC, ISO 8601, to the second.
        request: digest of the request behind a charge or an answer.
        content: by kind of entry: JSON of the cohort's delta and the ledger's random name (OPEN), of the decision
            (DECIDE), of study, plan and table digest (ENROLL), of the event (CHARGE); SHA-256 of the reply (ANSWER).
        epsilon: epsilon of all charges up to here, by Renyi divergences at the cohort's delta.
        previous: the hash of the entry before.
        hash: SHA-256 over all of the above.
    """

    counter: int
    kind: str
    time: str
    cohort: str
    slot: Slot
    request: str
    content: str
    epsilon: float
    previous: str
    hash: str = ""

    @classmethod
    def from_row(cls, row: Sequence[object]) -> Entry:
        """Return the entry that `row` wrote, unchecked; see `verify`."""
        slot: Any = row[4:9]
        values: Any = (*row[:4], Slot(*slot), *row[9:])
        return cls(*values)

    def row(self) -> tuple[object, ...]:
        """Return the columns in the file's order."""
        slot = self.slot
        return (
            self.counter, self.kind, self.time, self.cohort,
            slot.fingerprint, slot.run_id, slot.phase, slot.round, slot.attempt,
            self.request, self.content, self.epsilon, self.previous, self.hash,
        )  # fmt: skip

    def seal(self) -> str:
        """Return the value that `hash` must have."""
        return hashlib.sha256(json.dumps(self.row()[:-1]).encode()).hexdigest()

    def sealed(self) -> Entry:
        """Return the entry with its hash."""
        return replace(self, hash=self.seal())

    @property
    def receipt(self) -> Receipt:
        """Return the receipt for the entries up to this one."""
        return Receipt(self.counter, self.hash)


@dataclass(frozen=True, slots=True)
class Line:
    """One charge: its slot, event and time, and the epsilon of all charges up to it."""

    slot: Slot
    event: Event
    time: str
    is_answered: bool
    epsilon: float
    receipt: Receipt


def verify(entries: Sequence[Entry], before: Receipt | None, after: Receipt | None) -> None:
    """Check that the entries are one unbroken chain, and that the head file agrees with them.

    The head file is written after the entry that it names, so it may lag by the last entry; it is never ahead.

    Args:
        entries: all entries, oldest first.
        before: the head file as read before the entries; None where there was none.
        after: the head file as read after the entries; it is the same unless another process is writing.

    Raises:
        LedgerError: the ledger was altered; the text says how.
    """
    previous = NOTHING
    for index, entry in enumerate(entries):
        if entry.counter != index:
            _refuse(f"entry {index} is missing: it was removed")
        if entry.previous != previous:
            _refuse(f"entry {index} does not follow the one before it: entries were reordered or replaced")
        if entry.hash != entry.seal():
            _refuse(f"entry {index} was changed after it was written")
        previous = entry.hash
    last = len(entries) - 1
    if before is None or after is None:
        if last > 0:
            _refuse("its head file is missing: it was deleted")
        return
    if before.counter > last:
        _refuse(
            f"it ends at entry {last} and its head file names entry {before.counter}: entries were cut off, "
            "or an old copy of the database was restored"
        )
    if entries[before.counter].hash != before.head:
        _refuse("its head file names another history: it belongs to another ledger, or entries were rewritten")
    if after.counter < last - 1:
        _refuse(
            f"it ends at entry {last} and its head file names entry {after.counter}: "
            "an old copy of the head file was restored"
        )


def _refuse(what: str) -> NoReturn:
    raise LedgerError(f"the ledger was altered: {what}; {REMEDY}")


class History:
    """The history of a cohort, from a verified chain of entries.

    Args:
        entries: verified, oldest first, at least the opening one.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: list[Entry] = []
        self._decisions: dict[str, list[str]] = {}
        self._runs: dict[str, Entry] = {}
        self._closed: set[str] = set()
        self._charges: dict[Slot, Entry] = {}
        self._answers: dict[Slot, Entry] = {}
        self._divergences = np.zeros(len(accountant.ORDERS))
        for entry in entries:
            self._add(entry)
        self.cohort = self._entries[0].cohort
        self.delta = float(json.loads(self._entries[0].content)["delta"])

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        match entry.kind:
            case Kind.DECIDE:
                self._decisions.setdefault(entry.slot.run_id, []).append(entry.content)
            case Kind.ENROLL:
                self._runs[entry.slot.run_id] = entry
            case Kind.CHARGE:
                self._charges[entry.slot] = entry
                self._divergences = self._divergences + accountant.renyi([event_from_json(entry.content)])
            case Kind.ANSWER:
                self._answers[entry.slot] = entry
            case Kind.CLOSE:
                self._closed.add(entry.slot.run_id)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first."""
        return tuple(self._entries)

    @property
    def head(self) -> Receipt:
        """The receipt for all entries so far."""
        return self._entries[-1].receipt

    @property
    def epsilon(self) -> float:
        """Epsilon of all charges, by Renyi divergences at the cohort's delta."""
        return self._entries[-1].epsilon

    def check_receipt(self, receipt: Receipt) -> None:
        """Raise `PolicyRefusal` for a receipt whose entries this ledger does not contain.

        Raises:
            PolicyRefusal: the receipt is later than this ledger, or belongs to another history.
        """
        if receipt.counter > self.head.counter:
            raise PolicyRefusal(
                Reason.LEDGER_BEHIND,
                f"the ledger ends at entry {self.head.counter} and the coordinator holds a receipt for entry "
                f"{receipt.counter}: an old copy of both files was restored; find the newest copy, and {REMEDY}",
            )
        if self._entries[receipt.counter].hash != receipt.head:
            raise PolicyRefusal(
                Reason.LEDGER_BEHIND,
                f"the coordinator holds a receipt for another entry {receipt.counter}: an old copy was restored and "
                f"continued, or a new ledger was created; {REMEDY}",
            )

    def enrollment(self, run_id: str) -> tuple[str, str] | None:
        """Return the study text and plan text of a run; None if the run was never accepted."""
        entry = self._runs.get(run_id)
        if entry is None:
            return None
        texts = json.loads(entry.content)
        return str(texts["study"]), str(texts["plan"])

    def decisions(self, run_id: str) -> tuple[str, ...]:
        """Return the decisions of people about a run, as JSON, oldest first."""
        return tuple(self._decisions.get(run_id, ()))

    def table(self, run_id: str) -> str:
        """Return the digest of an accepted run's table; empty in a simulation."""
        return str(json.loads(self._runs[run_id].content)["table"])

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all accepted runs, oldest first."""
        return tuple(self._runs)

    def is_closed(self, run_id: str) -> bool:
        """Return whether the operator closed the run."""
        return run_id in self._closed

    def lines(self) -> tuple[Line, ...]:
        """Return every charge, oldest first."""
        return tuple(
            Line(
                slot,
                event_from_json(charge.content),
                charge.time,
                is_answered=slot in self._answers,
                epsilon=charge.epsilon,
                receipt=charge.receipt,
            )
            for slot, charge in tuple(self._charges.items())
        )

    def charged(self, run_id: str) -> tuple[Slot, ...]:
        """Return the slots that a run was charged for, oldest first."""
        return tuple(slot for slot in self._charges if slot.run_id == run_id)

    def events(self) -> tuple[Event, ...]:
        """Return all events ever charged to the cohort."""
        return tuple(line.event for line in self.lines())

    def committed(self, hospital: str, cap: float = 0.0) -> tuple[Event, ...]:
        """Return the events that the cohort is committed to: whole plans of open runs, and charges of closed runs.

        The first run with a charge counts with its whole plan even if it is closed, unless the filter of `cap` would
        have admitted it: `lifetime.fits_lifetime` says why.
        """
        lines, known = self.lines(), set(self._runs)
        events = [line.event for line in lines if line.slot.run_id not in known]
        is_first = True
        for run_id in self._runs:
            charged = [line.event for line in lines if line.slot.run_id == run_id]
            if self.is_closed(run_id) and not charged:
                continue
            planned = self._planned(run_id, hospital)
            is_whole = not self.is_closed(run_id)
            is_whole |= is_first and not lifetime.fits_filter(planned, cap, self.delta)
            events += planned if is_whole else charged
            is_first = False
        return tuple(events)

    def _planned(self, run_id: str, hospital: str) -> tuple[Event, ...]:
        texts = self.enrollment(run_id)
        assert texts is not None, "a run without an enrollment"
        plan = Plan.from_json(texts[1])
        hospital_plan = plan.of(hospital)
        if hospital_plan is None:
            raise LedgerError(
                f"run '{run_id}' was accepted under another name than '{hospital}', and its reservation belongs to "
                "this cohort: restore the hospital's earlier name, or use this ledger for one name only"
            )
        return plan.events(hospital_plan)
