"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_synced(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write through a temporary neighbour and rename; file and folder are on the disk when this returns.

    Args:
        mode: permissions of the file, from which the process's umask takes away.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
