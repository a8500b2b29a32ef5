"""The coordinator's folder of one run. Every file appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from common.files import write_synced
from common.messages import Array


class RunDir:
    """Atomic writes below one folder.

    Args:
        path: made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file whole, and synced."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_synced(target, content.encode() if isinstance(content, str) else content)
        return target

    def write_json(self, name: str, value: Any) -> Path:
        return self.write(name, json.dumps(value, indent=2, sort_keys=True) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, Array]) -> Path:
        ordered = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
        return self.write(name, bytes(save(ordered)))

    def checkpoint(self, phase: str, arrays: Mapping[str, Array]) -> None:
        """The newest state of a phase; the next one of the same phase takes its place."""
        self.write_arrays(f"checkpoints/{phase}.safetensors", arrays)
