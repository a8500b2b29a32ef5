"""The witness: a second copy of a ledger's head outside the state folder, so that an old copy of the folder is noticed.

A backup or a snapshot sets the database and the head file back together, and nothing in the folder can tell. The
witness is a file elsewhere: in another account's folder, or on a share that another machine holds. It is written after
the entry and the head file, before anything is sent. So it may lag behind the ledger and is never ahead, unless an
old copy of the ledger was restored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from common.errors import LedgerError, cause_of
from common.ledger.files import head_record, overwrite, write_head
from common.ledger.history import History
from common.ledger.receipts import Receipt
from common.system.files import write_synced

ACCEPT = "`fedsynth site ledger accept-restore`"


@dataclass(frozen=True, slots=True)
class Witness:
    """The file with the second copy."""

    path: Path

    def read(self) -> Receipt:
        """Return the head that the witness names.

        Raises:
            LedgerError: it cannot be read, or is not a witness.
        """
        try:
            return Receipt(**json.loads(self.path.read_bytes()))
        except OSError as problem:
            raise LedgerError(
                f"cannot read the ledger's witness '{self.path}' ({cause_of(problem)}), and nothing is released "
                f"without it: mount it again; if it is lost, or new, {ACCEPT} writes it"
            ) from None
        except (ValueError, TypeError):
            raise LedgerError(
                f"'{self.path}' is not a witness of a ledger, and nothing is released without one: restore it; if it "
                f"is lost, {ACCEPT} writes it"
            ) from None

    def check(self, history: History) -> None:
        """Raise unless the ledger holds the entry that the witness names.

        Raises:
            LedgerError: the witness is ahead of the ledger, belongs to another one, or cannot be read.
        """
        witnessed = self.read()
        if witnessed.counter > history.head.counter:
            problem = f"the ledger ends at entry {history.head.counter} and its witness names entry {witnessed.counter}"
        elif not history.holds(witnessed):
            problem = f"the ledger and its witness have another entry {witnessed.counter}"
        else:
            return
        raise LedgerError(
            f"{problem}: an old copy of the state folder was restored. Find the newest copy; if it is lost, {ACCEPT} "
            "counts everything that was reserved as spent"
        )

    def write(self, head: Receipt) -> None:
        """Write and sync the head in place. A file that is gone, such as on a share that is not mounted, stays gone.

        Raises:
            LedgerError: it cannot be written.
        """
        try:
            overwrite(self.path, head_record(head))
        except OSError as problem:
            raise LedgerError(
                f"cannot write the ledger's witness '{self.path}' ({cause_of(problem)}), and nothing is released "
                "without it: mount it again, and let this account write it"
            ) from None

    def create(self, head: Receipt) -> None:
        """Write the file, whether or not there was one. Raises `LedgerError` if it cannot be written."""
        try:
            write_synced(self.path, head_record(head), mode=0o600)
        except OSError as problem:
            raise LedgerError(
                f"cannot write the ledger's witness '{self.path}' ({cause_of(problem)}); create its folder, or mount it"
            ) from None


class HeadCopies:
    """The two copies of a ledger's head: the head file beside it, and the witness where there is one.

    Args:
        head_file: path of the head file.
        witness: the second copy; None for none.
    """

    def __init__(self, head_file: Path, witness: Witness | None) -> None:
        self._head_file, self._witness = head_file, witness
        self._written: Receipt | None = None

    def check(self, history: History) -> None:
        """Raise `LedgerError` if the witness is ahead, belongs to another ledger, or cannot be read."""
        if self._witness is not None:
            self._witness.check(history)

    def confirm(self, history: History) -> None:
        """Make sure that both name the last entry: writing them may have failed when it was added.

        Raises:
            LedgerError: as for `check`, or the witness cannot be written.
        """
        if self._written != history.head:
            self.check(history)
            self.write(history.head)

    def write(self, head: Receipt) -> None:
        """Write both, the witness last. Raises `LedgerError` if the witness cannot be written."""
        write_head(self._head_file, head)
        if self._witness is not None:
            self._witness.write(head)
        self._written = head

    def seen(self) -> int:
        """Return the number of the entry that the witness names; 0 without a witness that can be read."""
        try:
            return 0 if self._witness is None else self._witness.read().counter
        except LedgerError:
            return 0

    def start_again(self, head: Receipt) -> None:
        """Write both, whatever the witness says. Raises `LedgerError` if it cannot be written."""
        write_head(self._head_file, head)
        if self._witness is not None:
            self._witness.create(head)
        self._written = head
