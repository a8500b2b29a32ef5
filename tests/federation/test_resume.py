"""A coordinator that dies anywhere goes on to the same model, and no hospital is charged twice."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from client.hospital import Hospital
from common.errors import StudyError
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.phases import PAIRS, PublicRun, TablesPhase
from common.planning.planner import make_plan
from common.run_events.events import Emit, HospitalReplied, RunEvent, RunStarted
from common.run_events.exclusions import Exclusion
from common.system.folder import RunFolder
from server.run.checkpoints import Checkpoints
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import prepare
from simulations.federation.sites import open_hospitals, open_shards
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.events import Killed, events_in, exclusions

RUN = "clinic-run"


class KilledAt:
    """Stands in for `os.fsync`, through which every file of a coordinator passes, and kills at one of its calls."""

    def __init__(self, call: int | None) -> None:
        self._call, self.calls = call, 0

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self._call:
            raise Killed


def kill_in_the_second_round(event: RunEvent) -> None:
    """Die at the first reply, while other hospitals still compute."""
    if isinstance(event, HospitalReplied) and event.round == 2:
        raise Killed


class Bed:
    """Hospitals whose ledgers outlive the coordinator, and one run folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.out, self.sites = folder / "out", folder / "sites"
        self._prepared = prepare(clinic_study(), clinic_tables())
        shards = open_shards(self._prepared)
        self.hospitals: dict[str, Hospital] = open_hospitals(self._prepared.study, shards, self.sites, stack)

    def run(self, *observers: Emit) -> None:
        config = simulated_run(self._prepared.study, self.out, self.sites, run_id=RUN)
        federate(config, self.hospitals, workers=1, observers=observers)

    def result(self) -> dict[str, bytes]:
        names = ("synthetic.csv", "model/weights.safetensors", "model/released.safetensors")
        return {name: (self.out / name).read_bytes() for name in names}

    def lines(self) -> dict[str, int]:
        return {name: len(hospital.ledger.lines()) for name, hospital in self.hospitals.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, int], int]:
    """Result, charges and number of files written of a run that nothing interrupts."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        bed = Bed(tmp_path_factory.mktemp("undisturbed"), stack)
        count = KilledAt(None)  # of the coordinator's files; the hospitals have opened theirs
        patch.setattr(os, "fsync", count)
        for name in ("_run_id", "_task_id", "_node_id"):
            patch.setattr(f"flwr.supercore.task_identity.TaskIdentity.{name}", 1)
        bed.run()
        return bed.result(), bed.lines(), count.calls


def interrupt_and_resume(call: int, folder: Path, undisturbed: tuple[dict[str, bytes], dict[str, int], int]) -> None:
    with ExitStack() as stack:
        bed = Bed(folder, stack)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", KilledAt(call))
            with pytest.raises(Killed):
                bed.run()
        bed.run()
        assert bed.result() == undisturbed[0]
        assert bed.lines() == undisturbed[1]


@pytest.mark.parametrize(
    "part", [pytest.param(0.2, marks=pytest.mark.slow), 0.5, pytest.param(0.8, marks=pytest.mark.slow)]
)
def test_a_coordinator_killed_on_the_way_goes_on(
    part: float, tmp_path: Path, undisturbed: tuple[dict[str, bytes], dict[str, int], int]
) -> None:
    interrupt_and_resume(round(part * undisturbed[2]), tmp_path, undisturbed)


@pytest.mark.slow
def test_a_coordinator_killed_before_any_file_goes_on(
    tmp_path: Path, undisturbed: tuple[dict[str, bytes], dict[str, int], int]
) -> None:
    assert undisturbed[2] > 20
    for call in range(1, undisturbed[2] + 1):
        interrupt_and_resume(call, tmp_path / str(call), undisturbed)


def test_weights_of_rounds_stay_until_the_run_is_finished(tmp_path: Path) -> None:
    def rounds() -> list[str]:
        return [path.name for path in (tmp_path / "out" / "checkpoints").glob("round-*")]

    with ExitStack() as stack:
        bed = Bed(tmp_path, stack)
        with pytest.raises(Killed):
            bed.run(kill_in_the_second_round)
        assert rounds()
        bed.run()
        assert not rounds()
        assert (tmp_path / "out" / "checkpoints" / "fit.safetensors").exists()


def test_a_coordinator_killed_in_a_round_charges_nothing_more(
    tmp_path: Path, undisturbed: tuple[dict[str, bytes], dict[str, int], int]
) -> None:
    with ExitStack() as stack:
        bed = Bed(tmp_path, stack)
        with pytest.raises(Killed):
            bed.run(kill_in_the_second_round)
        bed.run()
        assert bed.result() == undisturbed[0]
        assert bed.lines() == undisturbed[1]
        run = json.loads((bed.out / "run.json").read_text())
        assert run["traffic"]["histograms"]["north"]["messages"] == 1  # what was measured before is kept
        done = [event.done for event in events_in(bed.out) if isinstance(event, RunStarted)]
        assert done == [(), ("histograms", "coarse", "pairs", "fit", "round-00001")]


def kill_when_pairs_are_asked_for(event: RunEvent) -> None:
    """Die at the first reply about pairs: the hospital has been charged for these tables."""
    if isinstance(event, HospitalReplied) and event.phase == PAIRS:
        raise Killed


def test_resumed_run_asks_for_the_tables_it_chose_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: tuple[dict[str, bytes], dict[str, int], int]
) -> None:
    with ExitStack() as stack:
        bed = Bed(tmp_path, stack)
        with pytest.raises(Killed):
            bed.run(kill_when_pairs_are_asked_for)
        assert any(bed.lines()[name] == 3 for name in bed.lines())  # histograms, coarse and pairs
        # Another version would choose other tables, for which a hospital has no answer.
        chooses: list[str] = []

        def another_choice(phase: TablesPhase, public: PublicRun) -> Asked:
            chooses.append(phase.name)
            return NOTHING_ASKED

        monkeypatch.setattr(TablesPhase, "ask", another_choice)
        bed.run()
        assert PAIRS not in chooses
        assert bed.result() == undisturbed[0]
        assert bed.lines() == undisturbed[1]


def test_resumed_run_admits_no_further_hospital(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bed = Bed(tmp_path, stack)
        checkpoints = Checkpoints(RunFolder(bed.out), RUN, make_plan(bed._prepared.study))
        checkpoints.note("members", ["north", "south"])
        bed.run()
        assert exclusions(events_in(bed.out)) == [("west", Exclusion.NOT_ENROLLED)]
        assert bed.lines()["west"] == 0


def test_a_folder_with_another_run_in_it_is_refused(tmp_path: Path) -> None:
    plan = make_plan(prepare(clinic_study(), clinic_tables()).study)
    Checkpoints(RunFolder(tmp_path), "one", plan)
    with pytest.raises(StudyError, match="another run or plan"):
        Checkpoints(RunFolder(tmp_path), "two", plan)


def test_a_run_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    with first.lock():
        assert second.holder() == os.getpid()
        with pytest.raises(StudyError, match=f"in use by process {os.getpid()}"), second.lock():
            pass
    assert second.holder() is None
    with second.lock():
        pass


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    run_folder = RunFolder(tmp_path)
    run_folder.write("checkpoints/fit.safetensors", b"nothing of the kind")
    with pytest.raises(StudyError, match=r"fit\.safetensors' is damaged"):
        run_folder.read_arrays("checkpoints/fit.safetensors")
