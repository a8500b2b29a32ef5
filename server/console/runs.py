"""The runs that a console shows: those of a coordinator's folder, or the one of a simulation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile

from common.dossier.dossier import write_dossier
from common.dossier.facts import read_run
from common.planning.choice import choose
from common.planning.explain import explain
from common.planning.phases import PHASES
from common.planning.plan import HospitalPlan, Plan
from common.privacy import accountant
from common.privacy.events import Event
from common.run_events.file import EVENTS
from common.study.study import Study
from common.system.folder import RunFolder
from server.console.progress import EventTail, Progress
from server.deploy.directory import CoordinatorDirectory
from server.deploy.runs import State, check_not_started, describe_state, state_of, stop_run, submit_run

DOWNLOADS = (
    "synthetic.csv", "visits.csv", "patients.csv", "evaluation.md", "dossier.html", "dossier.json", "dossier.ttl",
    "report.json", "run.json", "events.jsonl", "run.log",
)  # fmt: skip
"""Files of a run that a console hands out, besides the report. None holds a record of a patient."""

FOLDERS = ("model", "images")
"""Folders of a run that a console hands out, each as one ZIP file."""

ZIP = ".zip"

IN_MEMORY = 1 << 24
"""Most bytes of a ZIP file that stay in memory."""

REPORT = "report.html"

LATE = 0.5
"""Fraction of the deadline after which a page says that replies are late."""


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Epsilon of one phase alone, at the study's delta: the highest of any hospital; they do not simply add up."""

    title: str
    epsilon: float


class WatchedRun:
    """One run with its folder, study and plan.

    Args:
        run_id: its id.
        folder: its folder.
        agreed: returns study and plan; raises a `FedSynthError` where they cannot be read.
    """

    actions: tuple[str, ...] = ("run", "resume", "stop", "dossier")
    """What a person can do with it here."""

    is_simulation = False
    """Whether it runs on this machine alone."""

    def __init__(self, run_id: str, folder: RunFolder, agreed: Callable[[], tuple[Study, Plan]]) -> None:
        self.run_id, self.folder, self._agreed = run_id, folder, agreed
        self._tail = EventTail(folder.path / EVENTS)

    @cached_property
    def agreed(self) -> tuple[Study, Plan]:
        return self._agreed()

    @cached_property
    def costs(self) -> tuple[PhaseCost, ...]:
        """Epsilon of each phase and of the whole run."""
        study, plan = self.agreed

        def highest(events: Callable[[HospitalPlan], Sequence[Event]]) -> float:
            return max(accountant.epsilon(events(hospital), study.privacy.delta) for hospital in plan.hospitals)

        phases = [PhaseCost(PHASES[name].title_in(plan), highest(partial(_events, plan, name))) for name in plan.phases]
        return (*phases, PhaseCost("the whole run, with all retries", highest(plan.events)))

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Sentences about why the plan is as it is."""
        return explain(choose(self.agreed[0]))

    @property
    def version(self) -> Hashable:
        """A value that changes when the page would."""
        stamps = (_stamp(self.folder.path / name) for name in (EVENTS, "run.json", REPORT, "dossier.html"))
        return (*stamps, self.folder.holder(), self.is_late)

    @property
    def deadline(self) -> datetime | None:
        """Until when replies are awaited, by the clock of the events; None where none are."""
        return self._after(1.0)

    @property
    def is_late(self) -> bool:
        """Whether replies are awaited for more than `LATE` of their time. Of which hospitals, the events do not say."""
        late = self._after(LATE)
        return late is not None and datetime.now(UTC) > late

    def _after(self, fraction: float) -> datetime | None:
        """Return when a fraction of the time for replies has passed; None where none are awaited."""
        asked = self._tail.progress.asked_at
        if asked is None or self.state != "running":
            return None
        return asked + timedelta(seconds=fraction * self.agreed[0].federation.round_deadline_s)

    @property
    def progress(self) -> Progress:
        return self._tail.follow()

    @property
    def state(self) -> State:
        return state_of(self.folder)

    @property
    def line(self) -> str:
        return describe_state(self.folder)

    @property
    def trouble(self) -> str:
        """Why it ended, where no event says so; "" where one does, or it did not."""
        return ""

    @property
    def downloads(self) -> tuple[str, ...]:
        folders = tuple(f"{name}{ZIP}" for name in FOLDERS if (self.folder.path / name).is_dir())
        return (*folders, *(name for name in DOWNLOADS if (self.folder.path / name).is_file()))

    def zipped(self, name: str) -> IO[bytes]:
        """Return a folder of the run as a ZIP file, open at its start: in memory, or on disk where it is large."""
        archive = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # whoever sends it closes it
        folder = self.folder.path / name
        with ZipFile(archive, "w", ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(folder.parent))
        archive.seek(0)
        return cast("IO[bytes]", archive)

    def write_dossier(self) -> None:
        """Write the documents for governance into the run's folder, as `fedsynth dossier` does."""
        write_dossier(read_run(self.folder.path), self.folder.path, force=False)

    @property
    def has_report(self) -> bool:
        return (self.folder.path / REPORT).is_file()


class Runs(ABC):
    """Where a console's runs come from."""

    is_single = False
    """Whether there is one run only, whose page comes first."""

    @abstractmethod
    def ids(self) -> tuple[str, ...]:
        """Return the ids of all runs, the newest first."""

    @abstractmethod
    def run(self, run_id: str) -> WatchedRun:
        """Return a run. Raises `StudyError` if there is none of that id."""

    def act(self, run_id: str, action: str) -> None:
        """Start, continue or stop a run, or write its dossier."""
        if action == "dossier":
            self.run(run_id).write_dossier()
        else:
            self.control(run_id, action)

    def control(self, run_id: str, action: str) -> None:
        """Start, continue or stop a run."""
        raise NotImplementedError


class CoordinatorRuns(Runs):
    """The runs of a coordinator.

    Args:
        home: the coordinator's folder.
    """

    def __init__(self, home: CoordinatorDirectory) -> None:
        self._home, self._watched = home, dict[str, WatchedRun]()

    def ids(self) -> tuple[str, ...]:
        def created(run_id: str) -> float:
            return (self._home.path / "runs" / run_id).stat().st_ctime

        return tuple(sorted(self._home.runs(), key=created, reverse=True))

    def run(self, run_id: str) -> WatchedRun:
        if run_id not in self._watched:
            folder, proposal = self._home.run(run_id)
            self._watched[run_id] = WatchedRun(run_id, folder, proposal.agreed)
        return self._watched[run_id]

    def control(self, run_id: str, action: str) -> None:
        if action == "stop":
            stop_run(self._home, run_id)
            return
        if action == "run":
            check_not_started(self._home, run_id)
        submit_run(self._home, run_id)


class _Simulation(WatchedRun):
    """A simulation takes no lock: it runs from its first event to its last."""

    actions = ()
    is_simulation = True

    @property
    def state(self) -> State:
        if self.progress.reason:
            return "failed"
        return "finished" if (self.folder.path / "run.json").exists() else "running"

    @property
    def line(self) -> str:
        return self.progress.reason or self.state


class SimulatedRun(Runs):
    """The run of one simulation, which the process that shows it works on.

    Args:
        study, plan: what is simulated.
        folder: its output folder.
    """

    is_single = True

    def __init__(self, study: Study, plan: Plan, folder: Path) -> None:
        self._run = _Simulation(study.name, RunFolder(folder), lambda: (study, plan))

    def ids(self) -> tuple[str, ...]:
        return (self._run.run_id,)

    def run(self, run_id: str) -> WatchedRun:
        return self._run


def _events(plan: Plan, name: str, hospital: HospitalPlan) -> list[Event]:
    planned = plan.vector(name)
    if planned is None:
        return [plan.round_event(hospital)] * plan.rounds
    return [plan.vector_event(hospital, name)] * planned.rounds


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return facts.st_size, facts.st_mtime_ns
