"""The database of a ledger under this process's lock: entries and replies are appended to it and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common.errors import LedgerHeldError
from common.ledger.chain import Entry, Kind
from common.ledger.files import COLUMNS, TABLES, explained, is_new, stored, system_errors, verified
from common.system.files import HeldError, locked


class Store:
    """The open database, locked until it is closed. Safe to use from several threads, one at a time.

    Args:
        path: the SQLite file; created with its folder if it does not exist. Its lock is `ledger.lock` beside it.

    Raises:
        LedgerError: another process holds the ledger, or it is not a ledger of this format.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._held = path, ExitStack()
        try:
            self._held.enter_context(locked(path.with_suffix(".lock")))
        except HeldError as holder:
            raise LedgerHeldError(
                f"ledger '{path}' is held by process {holder}; a cohort has one writer: stop that process or wait"
            ) from None
        try:
            with explained(path):
                self.database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                self._held.callback(self.database.close)
                self.database.execute("PRAGMA journal_mode = WAL")
                self.database.execute("PRAGMA synchronous = FULL")
                self.is_new = is_new(self.database, path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and release its lock."""
        self._held.close()

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first. Raises `LedgerError` if they were altered."""
        with explained(self._path):
            return verified(self.database, self._path)

    def append(self, entry: Entry, reply: bytes | None = None) -> None:
        """Write and sync an entry, with the reply of an answer; the opening entry creates the tables."""
        with self._transaction():
            for statement in TABLES if entry.kind == Kind.OPEN else ():
                self.database.execute(statement)
            self._insert("entries", entry.row())
            if reply is not None:
                self._insert("replies", (entry.counter, reply))

    def reply(self, entry: Entry) -> bytes:
        """Return the reply whose digest the entry holds. Raises `LedgerError` if it was removed or changed."""
        return stored(self.database, entry)

    def _insert(self, table: str, row: tuple[object, ...]) -> None:
        marks = ", ".join("?" * len(COLUMNS[table]))
        self.database.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608  # our own words

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block writes, or nothing of it."""
        with system_errors(self._path):
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise
