"""What a run has reached, step by step, so that a coordinator that died goes on where it was and asks nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.arrays import Array
from common.errors import StudyError
from common.planning.plan import Plan
from common.system.folder import RunFolder

FOLDER = "checkpoints"
ROUND, ROUND_FILES = "round-{:05d}", "round-*.safetensors"


class Checkpoints:
    """The steps of one run under one plan, as files below the run's folder.

    Args:
        run_folder: the run's folder, locked by its owner.
        run_id, plan: what the steps belong to.

    Raises:
        StudyError: the folder holds steps of another run or plan.
    """

    def __init__(self, run_folder: RunFolder, run_id: str, plan: Plan) -> None:
        self._run_dir = run_folder
        mine = {"run_id": run_id, "plan": plan.digest}
        found = run_folder.read_json(f"{FOLDER}/run.json")
        if found not in (None, mine):
            raise StudyError(f"'{run_folder.path}' holds the checkpoints of another run or plan; use another folder")
        self.is_resumed = found is not None
        run_folder.write_json(f"{FOLDER}/run.json", mine)

    def once(self, step: str, compute: Callable[[], dict[str, Array]], *, parts: str = "") -> dict[str, Array]:
        """What the step gave before, or what `compute` gives now, which is then kept.

        Args:
            parts: how the names of steps begin that are of no use once this one is kept.
        """
        name = f"{FOLDER}/{step}.safetensors"
        known = self._run_dir.read_arrays(name)
        if known is None:
            known = compute()
            self._run_dir.write_arrays(name, known)
            for path in (self._run_dir.path / FOLDER).glob(f"{parts}*.safetensors") if parts else ():
                path.unlink()
        return known

    def forget_rounds(self) -> None:
        """Remove the weights of all rounds, once the run is finished: they are most of its folder.

        Until then all stay: a run that goes on passes every round again and needs the later half's discriminators.
        """
        for path in (self._run_dir.path / FOLDER).glob(ROUND_FILES):
            path.unlink()

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""
        self._run_dir.write_json(f"{FOLDER}/{name}.json", value)

    def noted(self, name: str) -> Any:
        """The value under a name, or None."""
        return self._run_dir.read_json(f"{FOLDER}/{name}.json")

    def steps(self) -> tuple[str, ...]:
        """The steps that are done, oldest first."""
        files = (self._run_dir.path / FOLDER).glob("*.safetensors")
        return tuple(path.stem for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name)))
