"""A ledger's two files: the SQLite database of entries and replies, and the head file that names the last entry."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from common.errors import LedgerError
from common.ledger.chain import REMEDY, Entry, Kind
from common.ledger.receipts import Receipt
from common.ledger.verification import verify
from common.system.files import write_synced

SYSTEM_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
"""Errors of the operating system by primary result code of SQLite."""

FORMAT = 2
"""Version of the database format, stored in `user_version`; a database of another version is refused."""

HEAD_BYTES = 128
"""Length of the head file: below a disk sector, so that it is written whole or not at all."""

TABLES = (
    """CREATE TABLE entries (
        counter INTEGER PRIMARY KEY, kind TEXT NOT NULL, time TEXT NOT NULL, cohort TEXT NOT NULL,
        fingerprint TEXT NOT NULL, run_id TEXT NOT NULL, phase TEXT NOT NULL, round INTEGER NOT NULL,
        attempt INTEGER NOT NULL, request TEXT NOT NULL, content TEXT NOT NULL, epsilon REAL NOT NULL,
        previous TEXT NOT NULL, hash TEXT NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX once ON entries (kind, fingerprint, run_id, phase, round, attempt)",
    "CREATE TABLE replies (counter INTEGER PRIMARY KEY REFERENCES entries, reply BLOB NOT NULL) STRICT",
    *(
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table}"
        " BEGIN SELECT RAISE(ABORT, 'a ledger is only appended to'); END"
        for table in ("entries", "replies")
        for verb in ("UPDATE", "DELETE")
    ),
    f"PRAGMA user_version = {FORMAT}",
)

COLUMNS = {
    "entries": (
        "counter", "kind", "time", "cohort", "fingerprint", "run_id", "phase", "round", "attempt", "request", "content",
        "epsilon", "previous", "hash",
    ),
    "replies": ("counter", "reply"),
}  # fmt: skip
"""Columns of each table, in the order in which entries and replies are written and read."""


def head_path(path: Path) -> Path:
    """Return the head file beside a database."""
    return path.with_suffix(".head.json")


def is_new(database: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is without any table.

    Raises:
        LedgerError: it has another format, or is empty beside a head file.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    tables = int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if tables and version != FORMAT:
        raise LedgerError(
            f"ledger '{path}' has format {version} and this version of fedsynth reads {FORMAT}; use the version that "
            "wrote it"
        )
    if not tables:
        refuse_missing(path)
    return not tables


def refuse_missing(path: Path) -> None:
    """Raise `LedgerError` if the database is gone and its head file is not."""
    if head_path(path).exists():
        raise LedgerError(f"the ledger was altered: '{path}' is gone or empty beside its head file; {REMEDY}")


def read_entries(path: Path, *, with_replies: bool = False) -> tuple[Entry, ...]:
    """Return the verified entries of a ledger without locking it; see `Ledger.view`."""
    if not path.is_file():
        refuse_missing(path)
        raise LedgerError(f"there is no ledger at '{path}'")
    with explained(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        if is_new(database, path):
            raise LedgerError(f"the ledger at '{path}' is empty")
        entries = verified(database, path)
        for entry in entries if with_replies else ():
            if entry.kind == Kind.ANSWER:
                stored(database, entry)
        return entries


def verified(database: sqlite3.Connection, path: Path) -> tuple[Entry, ...]:
    """Return all entries, oldest first.

    Raises:
        LedgerError: the ledger was altered.
    """
    _refuse_other_columns(database)
    before = _read_head(path)
    entries = tuple(Entry.from_row(row) for row in database.execute("SELECT * FROM entries ORDER BY counter"))
    if not entries:
        raise LedgerError(f"the ledger was altered: every entry was removed; {REMEDY}")
    verify(entries, before, _read_head(path))
    return entries


def _refuse_other_columns(database: sqlite3.Connection) -> None:
    """Raise `LedgerError` where a table is missing or has other columns than it was created with."""
    for table, columns in COLUMNS.items():
        present = tuple(row[0] for row in database.execute("SELECT name FROM pragma_table_xinfo(?)", (table,)))
        if not present:
            raise LedgerError(f"the ledger was altered: its table '{table}' was removed; {REMEDY}")
        if present != columns:
            raise LedgerError(
                f"the ledger was altered: its table '{table}' has other columns than it was created with; {REMEDY}"
            )


def _read_head(path: Path) -> Receipt | None:
    try:
        return Receipt(**json.loads(head_path(path).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise LedgerError(f"the ledger was altered: '{head_path(path)}' is not a head file; {REMEDY}") from None


def write_head(path: Path, head: Receipt) -> None:
    """Write the head file in place, synced, always with one length.

    Within a disk sector a write is there whole or not at all, and it costs a fraction of a new file and a rename.
    """
    if not path.exists():
        write_synced(path, head_record(head), mode=0o600)
        return
    overwrite(path, head_record(head))


def head_record(head: Receipt) -> bytes:
    """Return the content of a head file or a witness, `HEAD_BYTES` long."""
    record = json.dumps(asdict(head)).ljust(HEAD_BYTES - 1).encode() + b"\n"
    assert len(record) == HEAD_BYTES, "a counter of more than 19 digits"
    return record


def overwrite(path: Path, record: bytes) -> None:
    """Write and sync a record of one length in the place of an earlier one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_DSYNC)
    try:
        os.pwrite(descriptor, record, 0)
    finally:
        os.close(descriptor)


def stored(database: sqlite3.Connection, entry: Entry) -> bytes:
    """Return the reply whose digest the entry holds.

    Raises:
        LedgerError: it was removed or changed.
    """
    row = database.execute("SELECT reply FROM replies WHERE counter = ?", (entry.counter,)).fetchone()
    if row is None or hashlib.sha256(row[0]).hexdigest() != entry.content:
        change = "removed" if row is None else "changed"
        raise LedgerError(f"the ledger was altered: the stored reply of entry {entry.counter} was {change}; {REMEDY}")
    return bytes(row[0])


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Raise an `OSError` that names the file where SQLite says that the disk is full or the file cannot be written."""
    try:
        yield
    except sqlite3.Error as problem:
        number = SYSTEM_ERRORS.get(getattr(problem, "sqlite_errorcode", 0) & 0xFF)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a damaged file into an error that names the file, as `system_errors` does others."""
    try:
        with system_errors(path):
            yield
    except sqlite3.Error as problem:
        cause = type(problem).__name__
        raise LedgerError(f"ledger '{path}' cannot be read ({cause}); if it is damaged, {REMEDY}") from None
