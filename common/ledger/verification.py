"""Verify that a ledger's entries are one unbroken chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from common.errors import LedgerError
from common.ledger.chain import NOTHING, REMEDY, Entry, Kind
from common.ledger.receipts import Receipt

KINDS = frozenset(map(str, Kind))


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
    expected = 0
    for entry in entries:
        if entry.counter != expected and not (entry.kind == Kind.RESTORE and entry.counter > expected):
            _refuse(f"entry {expected} is missing: it was removed")
        if entry.previous != previous:
            _refuse(f"entry {entry.counter} does not follow the one before it: entries were reordered or replaced")
        if entry.hash != entry.expected_hash():
            _refuse(f"entry {entry.counter} was changed after it was written")
        if entry.kind not in KINDS:  # it may be a charge of another version, which would count as nothing here
            _refuse(
                f"entry {entry.counter} is of the unknown kind '{entry.kind}'; if a newer fedsynth wrote it, use that"
            )
        previous, expected = entry.hash, entry.counter + 1
    last, hashes = entries[-1].counter, {entry.counter: entry.hash for entry in entries}
    if before is None or after is None:
        if len(entries) > 1:
            _refuse("its head file is missing: it was deleted")
        return
    if before.counter > last:
        _refuse(
            f"it ends at entry {last} and its head file names entry {before.counter}: entries were cut off, "
            "or an old copy of the database was restored"
        )
    if hashes.get(before.counter) != before.head:
        _refuse("its head file names another history: it belongs to another ledger, or entries were rewritten")
    if len(entries) > 1 and after.counter < entries[-2].counter:
        _refuse(
            f"it ends at entry {last} and its head file names entry {after.counter}: "
            "an old copy of the head file was restored"
        )


def _refuse(problem: str) -> NoReturn:
    raise LedgerError(f"the ledger was altered: {problem}; {REMEDY}")
