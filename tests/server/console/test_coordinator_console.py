"""The coordinator's console: what it says of runs from their events and folders, and its actions."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from common.errors import FederationError, Reason, StudyError
from common.planning.planner import make_plan
from common.run_events.events import (
    ExchangeStarted,
    HospitalDeclined,
    HospitalExcluded,
    HospitalReplied,
    PhaseFinished,
    PhaseStarted,
    ReleaseWritten,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    to_json,
)
from common.run_events.exclusions import Exclusion
from server.console.progress import EventTail
from server.console.runs import CoordinatorRuns, SimulatedRun, WatchedRun
from server.deploy.directory import CoordinatorDirectory
from tests.testbeds.consoles import Visitor, coordinator_console, coordinator_runs, visiting
from tests.testbeds.images import images_study

START = RunStarted(
    run_id="run-1", study="clinic", fingerprint="0" * 64, hospitals=("north", "south"), phases=("histograms",),
    rounds=0, is_simulation=False,
)  # fmt: skip
ASKED = ExchangeStarted(phase="histograms", request="query", hospitals=2)
REPLIED = HospitalReplied(phase="histograms", request="query", hospital="north", bytes_down=100, bytes_up=2000)
LATE = HospitalExcluded(phase="histograms", request="query", hospital="south", reason=Exclusion.NO_REPLY)


def write(path: Path, *events: RunEvent, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(to_json(event) for event in events) + end)


@pytest.fixture
def runs(tmp_path: Path) -> CoordinatorRuns:
    return coordinator_runs(tmp_path, "run-1", "run-2")


@pytest.fixture
def folder(runs: CoordinatorRuns) -> Path:
    return runs.run("run-1").folder.path


@pytest.fixture
def visitor(runs: CoordinatorRuns) -> Iterator[Visitor]:
    with visiting(coordinator_console(runs)) as opened:
        yield opened


class TestEventTail:
    def test_a_line_is_read_once_when_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        tail = EventTail(path)
        assert tail.follow().hospitals == ()
        write(path, START, PhaseStarted(phase="histograms"), ASKED)
        assert tail.follow().cell("histograms", "south").is_asked
        write(path, REPLIED, end="")
        assert tail.follow().cell("histograms", "north").replies == 0
        write(path, end="\n")
        write(path, LATE)
        progress = tail.follow()
        assert progress.cell("histograms", "north").replies == 1
        assert progress.bytes_of("histograms") == 2100
        assert progress.cell("histograms", "south").trouble == "no reply before the deadline"
        assert tail.follow().cell("histograms", "north").replies == 1

    def test_a_file_that_became_shorter_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, START, PhaseStarted(phase="histograms"), ASKED, REPLIED)
        tail = EventTail(path)
        tail.follow()
        path.write_text(to_json(START) + "\n")
        assert tail.follow().phase == ""

    def test_a_file_that_was_cut_goes_on_after_the_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, START, PhaseStarted(phase="histograms"))
        path.write_bytes(path.read_bytes()[:-20])
        tail = EventTail(path)
        assert tail.follow().phase == ""
        write(path, ASKED, REPLIED)  # the first line joins what is left of the one that was cut
        progress = tail.follow()
        assert progress.unread == 1
        assert progress.cell("histograms", "north").replies == 1

    def test_a_clock_that_goes_back_changes_no_order(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, START, PhaseStarted(phase="histograms"), replace(ASKED, time=START.time - timedelta(days=1)), LATE)
        progress = EventTail(path).follow()
        assert progress.cell("histograms", "south").trouble == "no reply before the deadline"
        assert not progress.cell("histograms", "north").trouble

    def test_a_damaged_line_is_counted(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        path.write_bytes(b'{"kind": "none"}\n\xff\xfe\n' + to_json(START).encode() + b"\n")
        progress = EventTail(path).follow()
        assert progress.unread == 2
        assert progress.hospitals == ("north", "south")

    def test_a_resumed_run_forgets_its_failure(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, START, RunFailed(reason="too few hospitals"))
        tail = EventTail(path)
        assert tail.follow().reason == "too few hospitals"
        write(path, START)
        assert tail.follow().reason == ""


def test_runs_are_listed_with_their_states(visitor: Visitor, folder: Path) -> None:
    (folder / "run.json").write_text('{"status": "failed", "reason": "too few hospitals"}')
    page = visitor.get("/").text
    assert "run-1" in page
    assert "too few hospitals" in page
    assert "proposed" in page


def test_a_damaged_run_hides_no_other(visitor: Visitor, folder: Path) -> None:
    (folder / "run.json").write_text("{")
    page = visitor.get("/").text
    assert "damaged" in page
    assert "run-2" in page


@pytest.mark.parametrize("name", ["run.json", "proposal.json"])
def test_a_damaged_run_says_so_on_its_page(visitor: Visitor, tmp_path: Path, name: str) -> None:
    (tmp_path / "coordinator" / "runs" / "run-1" / name).write_text("{")
    answer = visitor.get("/runs/run-1")
    assert answer.status_code == 400
    assert name in answer.text
    overview = visitor.get("/")
    assert overview.status_code == 200
    assert "run-2" in overview.text


def test_an_unreadable_file_of_events_is_said(visitor: Visitor, folder: Path) -> None:
    (folder / "events.jsonl").mkdir()
    page = visitor.get("/runs/run-1")
    assert page.status_code == 200
    assert "cannot be read" in page.text


@pytest.mark.parametrize("ahead_s", [-3600, 10, 40, 3600])
def test_replies_are_late_after_half_of_their_time(
    runs: CoordinatorRuns, folder: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """The study's deadline is 60 s. A clock that jumps back makes nobody late, one that jumps on everybody."""
    monkeypatch.setattr(WatchedRun, "state", "running")
    asked = replace(ASKED, time=datetime.now(UTC) - timedelta(seconds=ahead_s))
    write(folder / "events.jsonl", START, PhaseStarted(phase="histograms"), asked)
    run = runs.run("run-1")
    before = run.version
    assert run.progress.asked_at == asked.time
    assert run.is_late == (ahead_s > 30)
    assert (run.version != before) == run.is_late, "a page is rendered again when replies become late"
    write(folder / "events.jsonl", replace(LATE, time=asked.time))
    assert run.progress.asked_at is None
    assert not run.is_late


def test_two_consoles_show_the_same_run(visitor: Visitor, runs: CoordinatorRuns, folder: Path, tmp_path: Path) -> None:
    with visiting(coordinator_console(CoordinatorRuns(CoordinatorDirectory(tmp_path / "coordinator")))) as other:
        write(folder / "events.jsonl", START, PhaseStarted(phase="histograms"), ASKED, REPLIED, LATE)
        for each in (visitor, other):
            page = each.get("/runs/run-1").text
            assert "answered" in page
            assert "no reply before the deadline" in page
        (folder / "run.json").write_text('{"status": "finished"}')
        refused = other.post("/runs/run-1/resume", page="/runs/run-1", confirmed="yes")
        assert refused.status_code == 400
        assert "is finished" in refused.text


def test_a_run_shows_who_answered_and_who_did_not(visitor: Visitor, folder: Path) -> None:
    declined = HospitalDeclined(hospital="south", reason=Reason.STUDY_NOT_APPROVED)
    write(folder / "events.jsonl", START, PhaseStarted(phase="histograms"), ASKED, REPLIED, LATE, declined)
    page = visitor.get("/runs/run-1").text
    assert "answered" in page
    assert "no reply before the deadline" in page
    assert "does not take part" in page


def test_a_run_shows_what_it_costs_and_why(visitor: Visitor) -> None:
    page = visitor.get("/runs/run-1").text
    assert "the whole run, with all retries" in page
    assert "signal-to-noise ratio" in page


def test_a_run_says_what_its_study_is(tmp_path: Path) -> None:
    study = images_study()
    with visiting(coordinator_console(SimulatedRun(study, make_plan(study), tmp_path))) as visitor:
        page = html.unescape(visitor.get(f"/runs/{study.name}").text)
    assert "A row is a record" in page
    assert "No image leaves a hospital" in page


def test_a_finished_run_hands_out_its_files(visitor: Visitor, folder: Path) -> None:
    done = (
        PhaseFinished(phase="histograms", seconds=1.5),
        ReleaseWritten(rows=80),
        RunFinished(run_id="run-1", seconds=9),
    )
    write(folder / "events.jsonl", START, *done)
    (folder / "run.json").write_text('{"status": "finished"}')
    (folder / "synthetic.csv").write_text("age\n50\n")
    page = visitor.get("/runs/run-1").text
    assert "80 synthetic rows" in page
    answer = visitor.get("/runs/run-1/files/synthetic.csv")
    assert answer.text == "age\n50\n"
    assert "attachment" in answer.headers["content-disposition"]


def test_folders_of_a_run_are_handed_out_as_zip(visitor: Visitor, folder: Path) -> None:
    assert visitor.get("/runs/run-1/files/model.zip").status_code == 404
    (folder / "model" / "parts").mkdir(parents=True)
    (folder / "model" / "parts" / "card.md").write_text("a card")
    assert "model.zip" in visitor.get("/runs/run-1").text
    with ZipFile(BytesIO(visitor.get("/runs/run-1/files/model.zip").content)) as archive:
        assert archive.namelist() == ["model/parts/card.md"]
        assert archive.read("model/parts/card.md") == b"a card"


def test_a_dossier_of_an_unfinished_run_is_refused(visitor: Visitor, folder: Path) -> None:
    answer = visitor.post("/runs/run-1/dossier", page="/runs/run-1", confirmed="yes")
    assert answer.status_code == 400
    assert not list(folder.glob("dossier.*"))


@pytest.mark.parametrize("name", ["proposal.json", "lock", "..%2f..%2fcerts%2fcoordinator.key", "checkpoints"])
def test_other_files_are_not_handed_out(visitor: Visitor, folder: Path, name: str) -> None:
    (folder / "checkpoints").mkdir(exist_ok=True)
    assert visitor.get(f"/runs/run-1/files/{name}").status_code == 404


def test_a_report_runs_in_an_origin_of_its_own(visitor: Visitor, folder: Path) -> None:
    assert visitor.get("/runs/run-1/report").status_code == 404
    (folder / "report.html").write_text("<script>1</script>")
    policy = visitor.get("/runs/run-1/report").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize("run_id", ["run-9", "run-1%00", "%00"])
def test_a_run_that_is_none_has_no_page(visitor: Visitor, run_id: str) -> None:
    assert visitor.get(f"/runs/{run_id}").status_code == 404
    assert visitor.get(f"/runs/{run_id}/events").status_code == 404


def test_a_run_that_was_started_is_not_started_again(
    runs: CoordinatorRuns, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[str] = []
    monkeypatch.setattr("server.console.runs.submit_run", lambda home, run_id: submitted.append(run_id))
    (folder / "checkpoints").mkdir()
    with pytest.raises(StudyError, match="was started before; continue it with"):
        runs.control("run-1", "run")
    runs.control("run-1", "resume")
    assert submitted == ["run-1"]


def test_a_simulation_that_failed_says_why(tmp_path: Path) -> None:
    study = images_study()
    run = SimulatedRun(study, make_plan(study), tmp_path).run(study.name)
    write(tmp_path / "events.jsonl", START)
    assert (run.state, run.line) == ("running", "running")
    write(tmp_path / "events.jsonl", RunFailed(reason="2 hospitals left"))
    assert (run.state, run.line) == ("failed", "2 hospitals left")


class TestActions:
    @pytest.fixture
    def done(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        done: list[tuple[str, str]] = []
        monkeypatch.setattr(CoordinatorRuns, "act", lambda self, run_id, action: done.append((run_id, action)))
        return done

    @pytest.mark.parametrize("action", ["run", "resume", "stop"])
    def test_a_confirmed_action_is_done(self, visitor: Visitor, done: list[tuple[str, str]], action: str) -> None:
        answer = visitor.post(f"/runs/run-1/{action}", page="/runs/run-1", confirmed="yes")
        assert answer.status_code == 303
        assert done == [("run-1", action)]

    def test_an_action_must_be_confirmed(self, visitor: Visitor, done: list[tuple[str, str]]) -> None:
        answer = visitor.post("/runs/run-1/stop", page="/runs/run-1")
        assert answer.status_code == 400
        assert "Tick the box" in answer.text
        assert done == []

    def test_an_unknown_action_is_none(self, visitor: Visitor, done: list[tuple[str, str]]) -> None:
        assert visitor.post("/runs/run-1/erase", page="/runs/run-1", confirmed="yes").status_code == 404
        assert done == []

    def test_a_get_changes_nothing(self, visitor: Visitor, done: list[tuple[str, str]]) -> None:
        assert visitor.get("/runs/run-1/stop").status_code == 405
        assert done == []

    @pytest.mark.parametrize("problem", [StudyError("it was not started"), FederationError("Flower is silent")])
    def test_a_refusal_is_said(
        self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, problem: StudyError | FederationError
    ) -> None:
        def refuse(self: CoordinatorRuns, run_id: str, action: str) -> None:
            raise problem

        monkeypatch.setattr(CoordinatorRuns, "act", refuse)
        answer = visitor.post("/runs/run-1/stop", page="/runs/run-1", confirmed="yes")
        assert answer.status_code == 400
        assert str(problem) in answer.text
