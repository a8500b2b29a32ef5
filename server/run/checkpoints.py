"""Checkpoints of a run, step by step, from which a restarted coordinator continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.arrays import Array
from common.errors import StudyError
from common.planning.plan import Plan
from common.system.folder import RunFolder

FOLDER = "checkpoints"
ASKED = "asked"
"""Folder of what was asked for, beside the steps that are done: a phase is done once its answer is there."""

NUMBERED = "{}-{:05d}"
"""A release of a phase that has several, by phase and round."""

ROUND, ROUND_FILES = "round-{:05d}", "round-*.safetensors"


OWNER = f"{FOLDER}/run.json"
"""Says whose steps the folder holds."""


def run_in(folder: Path) -> str | None:
    """Return the id of the run whose checkpoints a run's folder holds; None if it holds none.

    Raises:
        StudyError: the file that names the run is damaged.
    """
    owner = RunFolder(folder).read_json(OWNER) if folder.is_dir() else None
    if owner is None:
        return None
    if not isinstance(owner, dict) or not isinstance(owner.get("run_id"), str):
        raise StudyError(f"'{folder / OWNER}' names no run; restore it, or use another folder")
    return str(owner["run_id"])


class Checkpoints:
    """The steps of one run under one plan, as files below the run's folder.

    Args:
        run_folder: folder of the run, locked by its owner.
        run_id: identifier of the run that the steps belong to.
        plan: plan of the run.

    Raises:
        StudyError: the folder holds steps of another run or plan.
    """

    def __init__(self, run_folder: RunFolder, run_id: str, plan: Plan) -> None:
        self._run_folder = run_folder
        owner = {"run_id": run_id, "plan": plan.digest}
        present = run_folder.read_json(OWNER)
        if present not in (None, owner):
            raise StudyError(f"'{run_folder.path}' holds the checkpoints of another run or plan; use another folder")
        self.is_resumed = present is not None
        run_folder.write_json(OWNER, owner)

    def once(self, step: str, compute: Callable[[], dict[str, Array]], *, parts: str = "") -> dict[str, Array]:
        """Return the arrays of a step: from its checkpoint, or computed now and stored.

        Args:
            step: name of the step.
            compute: computes the arrays.
            parts: prefix of the steps whose checkpoints are deleted once this step is stored; empty for none.
        """
        name = f"{FOLDER}/{step}.safetensors"
        arrays = self._run_folder.read_arrays(name)
        if arrays is None:
            arrays = compute()
            self._run_folder.write_arrays(name, arrays)
            for path in (self._run_folder.path / FOLDER).glob(f"{parts}*.safetensors") if parts else ():
                path.unlink()
        return arrays

    def forget_rounds(self) -> None:
        """Remove the weights of all rounds after the run; they take most of the space in its folder.

        Until then all stay: a resumed run replays every round and needs the discriminators of the later half.
        """
        for path in (self._run_folder.path / FOLDER).glob(ROUND_FILES):
            path.unlink()

    def note(self, name: str, value: Any) -> None:
        """Store a JSON value under a name."""
        self._run_folder.write_json(f"{FOLDER}/{name}.json", value)

    def noted(self, name: str) -> Any:
        """Return the value under a name, or None."""
        return self._run_folder.read_json(f"{FOLDER}/{name}.json")

    def steps(self) -> tuple[str, ...]:
        """Return the names of the steps that are done, oldest first."""
        files = (self._run_folder.path / FOLDER).glob("*.safetensors")
        return tuple(path.stem for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name)))
