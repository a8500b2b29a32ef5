"""The coordinator's folder of one run. Every file appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.arrays import Array
from common.errors import StudyError, cause_of
from common.system.files import HeldError, locked, write_synced
from common.system.locks import take_lock

LOCK = "lock"
"""Name of the lock file in a run's folder."""


class RunFolder:
    """Atomic writes below one folder.

    Args:
        path: created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write and sync a file, which appears whole or not at all."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_synced(target, content.encode() if isinstance(content, str) else content)
        return target

    def write_json(self, name: str, value: Any) -> Path:
        """Write and sync a value as indented JSON with sorted keys."""
        return self.write(name, json.dumps(value, indent=2, sort_keys=True) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, Array]) -> Path:
        """Write and sync arrays by name as safetensors."""
        ordered = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
        return self.write(name, bytes(save(ordered)))

    def read_arrays(self, name: str) -> dict[str, Array] | None:
        """Return the arrays that `write_arrays` wrote; None if there is no such file.

        Raises:
            StudyError: the file is damaged.
        """
        path = self.path / name
        try:
            return dict(load(path.read_bytes())) if path.exists() else None
        except (OSError, SafetensorError) as problem:
            raise StudyError(f"'{path}' is damaged ({cause_of(problem)}); restore it or start a new run") from None

    def read_json(self, name: str) -> Any:
        """Return the value that `write_json` wrote; None if there is no file. Raises `StudyError` if it is damaged."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except (OSError, ValueError, RecursionError) as problem:
            raise StudyError(f"'{path}' is damaged ({cause_of(problem)}); restore it or start a new run") from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run for this process; the operating system releases the lock when the process ends.

        Raises:
            StudyError: another process holds the lock.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path / LOCK))
            except HeldError as holder:
                raise StudyError(
                    f"run folder '{self.path}' is in use by process {holder}; wait for it or stop it first"
                ) from None
            yield

    def holder(self) -> int | None:
        """Return the id of the process that holds the lock, or None."""
        try:
            with (self.path / LOCK).open(encoding="ascii") as file:
                try:
                    take_lock(file, is_shared=True)
                except OSError:
                    return int(file.read() or 0)
        except FileNotFoundError:
            pass
        return None
