"""Locks on open files that end with the process that holds them, on Linux, macOS and Windows."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any

from common.errors import StudyError

LOCKED_BYTE = 2**20
"""Byte that is locked on Windows, where a locked byte cannot be read: far behind the text of a lock file."""


def take_lock(file: IO[Any], *, is_shared: bool = False) -> None:
    """Lock an open file without waiting.

    Args:
        file: an open file; the lock ends when it is closed.
        is_shared: others may hold a shared lock too; on Windows every lock is exclusive.

    Raises:
        BlockingIOError: another process holds a lock that excludes this one.
        StudyError: the system has no file locks.
    """
    try:
        import fcntl
    except ImportError:
        _lock_on_windows(file)
        return
    fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _lock_on_windows(file: IO[Any]) -> None:
    try:
        msvcrt: Any = import_module("msvcrt")
    except ImportError:
        raise StudyError("this system has no file locks; run fedsynth on Linux, macOS or Windows") from None
    file.seek(LOCKED_BYTE)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError:
        raise BlockingIOError from None
    finally:
        file.seek(0)
