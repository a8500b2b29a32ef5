"""The hash-chained entries of a ledger as values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from common.ledger.receipts import Receipt
from common.ledger.slot import Slot


class Kind(StrEnum):
    """The kind of an entry.

    OPEN: the ledger begins. DECIDE: a person approved a run or withdrew an approval. ENROLL: a run is accepted and its
    plan reserved. CHARGE: a release is charged before it is computed. ANSWER: its reply is stored and may be sent.
    CLOSE: the operator frees what a run reserved and did not spend. RESTORE: the operator says that this is an old
    copy; what the lost entries may have released is charged. Their numbers are left out before it, and only there.
    SELFTEST: the installation was checked, with versions and outcomes; it releases nothing. WITNESS: from here on a
    witness is kept, or none is.
    """

    OPEN = "open"
    DECIDE = "decide"
    ENROLL = "enroll"
    CHARGE = "charge"
    ANSWER = "answer"
    CLOSE = "close"
    RESTORE = "restore"
    SELFTEST = "selftest"
    WITNESS = "witness"


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
            (DECIDE), of study, plan, table digest and shown receipt (ENROLL), of the event (CHARGE), of events by run
            (RESTORE), of versions and outcomes (SELFTEST), of whether one is kept (WITNESS); SHA-256 of the reply
            (ANSWER).
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

    def expected_hash(self) -> str:
        """Return the value that `hash` must have."""
        return hashlib.sha256(json.dumps(self.row()[:-1]).encode()).hexdigest()

    def with_hash(self) -> Entry:
        """Return the entry with its hash."""
        return replace(self, hash=self.expected_hash())

    @property
    def receipt(self) -> Receipt:
        """Return the receipt for the entries up to this one."""
        return Receipt(self.counter, self.hash)
