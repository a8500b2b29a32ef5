"""Receipts: the head of a ledger when a reply left. Coordinators keep them, so an old copy of a ledger is detected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from common.errors import WireError

MAX_COUNTER = 2**53
"""Largest number of an entry that a receipt names: no ledger gets there, and JSON and SQLite hold it exactly."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A ledger head: the number of an entry, and its hash (hex), which covers all entries up to it."""

    counter: int
    head: str

    def __post_init__(self) -> None:
        if type(self.counter) is not int or not 0 <= self.counter <= MAX_COUNTER:
            raise ValueError("counter is not a number of entries, from 0 to 2^53")
        if not re.fullmatch("[0-9a-f]{64}", self.head):
            raise ValueError("head is not 64 hex digits")

    def to_bytes(self) -> bytes:
        """Return 40 bytes: the counter (8, big-endian) and the hash (32)."""
        return self.counter.to_bytes(8, "big") + bytes.fromhex(self.head)

    @classmethod
    def from_bytes(cls, data: bytes) -> Receipt:
        """Return the receipt that `to_bytes` wrote."""
        return cls(int.from_bytes(data[:8], "big"), data[8:].hex())


def is_receipt(data: bytes) -> bool:
    """Return whether `Receipt.from_bytes` accepts these 40 bytes: whether a ledger can have that number of entries."""
    return int.from_bytes(data[:8], "big") <= MAX_COUNTER


@dataclass(frozen=True, slots=True)
class Shown:
    """What a coordinator shows of this ledger when it asks for a run.

    Attributes:
        coordinator: text of its public key.
        receipt: its latest receipt; None if it shows none.
    """

    coordinator: str
    receipt: Receipt | None


def receipts_to_json(receipts: Mapping[str, Receipt]) -> str:
    """Return the latest receipt of each hospital as one line of JSON."""
    return json.dumps({name: asdict(receipt) for name, receipt in receipts.items()}, sort_keys=True)


def receipts_from_json(text: str) -> dict[str, Receipt]:
    """Return the receipts that `receipts_to_json` wrote. Raises `WireError` for anything else."""
    try:
        return {str(name): Receipt(**fields) for name, fields in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise WireError("these are not receipts") from problem
