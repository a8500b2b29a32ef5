"""Simulations that a console starts, each in a process of its own that outlives the console, and watches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from common.errors import StudyError
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.study import Study, read_study
from common.system.files import write_synced, writing
from common.system.folder import LOCK, RunFolder
from common.system.locks import take_lock
from server.console.runs import Runs, WatchedRun
from server.deploy.runs import State, final_status
from simulations.console.workspace import STUDY, Workspace
from simulations.federation.prepare import SmallHospitals, prepare
from simulations.federation.tables import DEFAULT_HOSPITALS, TableSplit

SIMULATIONS, OUT, OUTPUT = "simulations", "out", "output.txt"
"""In the folder of a study, the folder of its simulations; in that of one, what the command wrote and what it said."""

TAIL = 2_000
"""Most characters of what the command said that a page shows, from the end."""


@dataclass(frozen=True, slots=True)
class HowToSimulate:
    """What a person chooses for one simulation.

    Attributes:
        hospitals: number of hospitals to split the table into, where no column names them.
        small_hospitals: what becomes of hospitals below the minimum of patients; None refuses them.
    """

    hospitals: int = DEFAULT_HOSPITALS
    small_hospitals: SmallHospitals | None = None


class LaunchedRun(WatchedRun):
    """One simulation: it runs while its process holds the lock.

    Args:
        run_id: its id.
        path: its folder in the workspace.
    """

    is_simulation = True

    def __init__(self, run_id: str, path: Path) -> None:
        super().__init__(run_id, RunFolder(path / OUT), lambda: _agreed(path))
        self._lock, self._output = RunFolder(path), path / OUTPUT

    @property
    def process(self) -> int | None:
        """The id of its process, while it runs."""
        return self._lock.holder()

    @property
    def actions(self) -> tuple[str, ...]:  # type: ignore[override]  # what can be done depends on its state
        if self.process is not None:
            return ("stop",)
        return ("dossier",) if self.state == "finished" else ()

    @property
    def version(self) -> Hashable:
        return (super().version, self.process)

    @property
    def state(self) -> State:
        if self.process is not None:
            return "running"
        return "finished" if final_status(self.folder) == "finished" else "failed"

    @property
    def line(self) -> str:
        return f"a simulation on this machine: {self.progress.reason or self.state}"

    @property
    def trouble(self) -> str:
        """What the command said, where it ended without a result and without an event that says why."""
        if self.state != "failed" or self.progress.reason:
            return ""
        try:
            output = self._output.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        except OSError:
            output = ""
        return output or "its process ended without a word"


class LaunchedRuns(Runs):
    """The simulations of a workspace.

    Args:
        workspace: the studies.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._watched = workspace, dict[str, LaunchedRun]()
        self._starting = Lock()

    def ids(self) -> tuple[str, ...]:
        paths = self._workspace.path.glob(f"*/{SIMULATIONS}/*/{STUDY}")
        newest_first = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
        return tuple(f"{path.parents[2].name}.{path.parent.name}" for path in newest_first)

    def of(self, name: str) -> tuple[str, ...]:
        """Return the ids of the simulations of one study, the newest first."""
        return tuple(run_id for run_id in self.ids() if run_id.rpartition(".")[0] == name)

    def run(self, run_id: str) -> LaunchedRun:
        if run_id not in self._watched:
            name, _, number = run_id.rpartition(".")
            self._watched[run_id] = LaunchedRun(run_id, self._folder(name) / number)
        return self._watched[run_id]

    def control(self, run_id: str, action: str) -> None:
        process = self.run(run_id).process
        if process is None or process <= 1:  # 0: its process is just being made
            raise StudyError(f"simulation '{run_id}' does not run; there is nothing to stop")
        os.kill(process, signal.SIGTERM)

    def start(self, name: str, how: HowToSimulate) -> str:
        """Start a simulation of a study as it was saved last, and return the run's id.

        The table is checked here first, as `simulate` does it: what is wrong is said before anything starts.

        Raises:
            DataError: the table does not fit the study.
            StudyError: another simulation runs, or the study was not saved or cannot be simulated.
        """
        with self._starting:  # of two pages that start one at once, the second finds it running
            return self._start(name, how)

    def _start(self, name: str, how: HowToSimulate) -> str:
        file = self._workspace.study_file(name)
        if file is None:
            raise StudyError("the study was not saved; save it first")
        if running := [run_id for run_id in self.ids() if self.run(run_id).process is not None]:
            raise StudyError(f"simulation '{running[0]}' is running; wait until it ends, or stop it")
        draft, study = self._workspace.draft(name), read_study(file)
        hospitals = how.hospitals if draft.site_column is None else None
        split = TableSplit(draft.site_column, hospitals, None, draft.patient_column, draft.how, how.small_hospitals)
        tables, redeclare = split.open(study, draft.path)
        prepared = prepare(
            study,
            tables,
            patient_column=draft.patient_column,
            redeclare=redeclare,
            small_hospitals=how.small_hospitals,
        )
        make_plan(prepared.study)  # raises where it cannot be planned
        number, folder = self._new_folder(name)
        with writing(folder, remedy="make room"):
            write_synced(folder / STUDY, prepared.study.to_toml().encode())
        options = {
            "--study": str(folder / STUDY),
            "--data": draft.table,
            "--out": str(folder / OUT),
            "--site-column": draft.site_column,
            "--hospitals": None if hospitals is None else str(hospitals),
            "--patient-column": draft.patient_column,
            "--small-hospitals": how.small_hospitals,
        }
        words = [f"{option}={value}" for option, value in options.items() if value is not None]
        launch(folder, ["simulate", *words, *(f"--read={text}" for text in draft.reading)])
        return f"{name}.{number}"

    def _folder(self, name: str) -> Path:
        return self._workspace.folder(name).resolve() / SIMULATIONS

    def _new_folder(self, name: str) -> tuple[int, Path]:
        """Return the number and the new folder of a simulation, also where another console makes one just now."""
        number = 1
        with writing(self._folder(name), remedy="make room"):
            while True:
                path = self._folder(name) / str(number)
                try:
                    path.mkdir(mode=0o700, parents=True)
                except FileExistsError:
                    number += 1
                else:
                    return number, path


class ManyRuns(Runs):
    """Runs of several sources in one list.

    Args:
        sources: whose ids differ.
    """

    def __init__(self, sources: Sequence[Runs]) -> None:
        self._sources = sources

    def ids(self) -> tuple[str, ...]:
        return tuple(run_id for source in self._sources for run_id in source.ids())

    def run(self, run_id: str) -> WatchedRun:
        return self._source(run_id).run(run_id)

    def control(self, run_id: str, action: str) -> None:
        self._source(run_id).control(run_id, action)

    def _source(self, run_id: str) -> Runs:
        for source in self._sources:
            if run_id in source.ids():
                return source
        raise StudyError(f"there is no run '{run_id}'")


def launch(folder: Path, words: Sequence[str]) -> None:
    """Start a command in a process of its own, which holds the lock of a folder until it ends.

    Args:
        folder: gets the lock and what the command says.
        words: the command after `fedsynth`.

    Raises:
        StudyError: the process cannot be started.
    """
    with (
        writing(folder, remedy="make room, or end other processes"),
        (folder / LOCK).open("w", encoding="ascii") as lock,
        (folder / OUTPUT).open("wb") as output,
    ):
        take_lock(lock)  # the process inherits it with the open file, and keeps it when this file is closed
        process = subprocess.Popen(  # noqa: S603  # this program, with options as words of their own
            [sys.executable, "-m", "simulations.cli.child", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C in the console's terminal ends the console, not the simulation
        )
        lock.write(f"{process.pid}\n")
    Thread(target=process.wait, name="simulation", daemon=True).start()


def _agreed(path: Path) -> tuple[Study, Plan]:
    study = read_study(path / STUDY)
    return study, make_plan(study)
