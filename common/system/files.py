"""Files that appear whole or not at all, and locks that end with the process that holds them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import FedSynthError, StudyError, cause_of
from common.system.locks import take_lock

PARTIAL = ".partial"
"""End of the name of a temporary file. One that a killed process left behind may be removed."""


class HeldError(Exception):
    """Another process holds the lock; the text is its number, or `unknown`."""


@contextmanager
def writing(
    path: Path, *, remedy: str = "choose another --out", error: type[FedSynthError] = StudyError
) -> Iterator[None]:
    """Turn any `OSError` of the block into one message that names the path, the system's own words and the remedy.

    Args:
        path: file or folder that the block writes.
        remedy: what the reader can do about it, as an imperative.
        error: class of the error to raise; it decides the exit code.

    Raises:
        FedSynthError: of class `error`, where the block raised an `OSError`.
    """
    try:
        yield
    except OSError as problem:
        raise error(f"cannot write '{path}': {cause_of(problem)}; {remedy}") from None


def refuse_existing(path: Path, *, error: type[FedSynthError] = StudyError) -> None:
    """Raise an error of class `error` where the file of `--out` exists already."""
    if path.exists():
        raise error(f"'{path}' exists; choose another --out or remove it")


def write_synced(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a temporary file in the same folder and rename it; both are on the disk when this returns.

    The temporary file is new and nobody can guess its name, so that no other account opens it before or links it away.

    Args:
        path: file to write.
        content: bytes of the file.
        mode: permissions of the file; None for what the process's umask allows.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    try:
        write_new(temporary, content, mode=mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name != "posix":  # Windows opens no folder
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_new(path: Path, content: bytes, *, mode: int | None) -> None:
    """Write and sync a new file with exactly these permissions. Raises `FileExistsError` if it exists, or a link does.

    Args:
        path: file to write.
        content: bytes of the file.
        mode: permissions of the file; None for what the process's umask allows.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)  # Windows has no such flag
    with os.fdopen(os.open(path, flags, 0o666 if mode is None else mode), "wb") as file:
        if mode is not None and os.name == "posix":  # on Windows a file has the permissions of its folder
            os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def locked(path: Path, *, mode: int = 0o666) -> Iterator[None]:
    """Hold an exclusive lock, which is released when the process ends; the file names the holder.

    Args:
        mode: permissions of a new file, reduced by the process's umask.

    Raises:
        HeldError: another process holds it.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, mode), "r+", encoding="ascii") as file:
        try:
            take_lock(file)
        except BlockingIOError:
            raise HeldError(file.read(20).strip() or "unknown") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
