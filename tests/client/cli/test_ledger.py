from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client.cli.ledger import ledger_app
from client.site.creation import init_site
from client.site.history import sentences
from client.site.state import open_ledger
from common.errors import LedgerError, SiteError, StudyError
from common.ledger.ledger import Kind, Ledger, Slot
from common.planning.planner import make_plan
from common.planning.proposal import Proposal
from common.privacy.events import DistributedGaussianVector, Unprotected
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study

STUDY = clinic_study(training={"rounds": 2}, synthesizer={"pairs": 2}).with_hospitals(
    (HospitalFacts(name="north", declared_rows=100),), cap_minimum=True
)
PLAN = make_plan(STUDY)
NAMES = ("histograms", "coarse", "pairs")
SLOTS = (
    *(Slot(STUDY.fingerprint, "run-1", name) for name in NAMES),
    *(Slot(STUDY.fingerprint, "run-1", "rounds", number) for number in (1, 2)),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """One run of the clinic's study, complete but for the reply of its last round."""
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)
    opened.enroll("run-1", STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json())
    for slot, event in zip(SLOTS, PLAN.events(PLAN.hospitals[0]), strict=True):
        opened.charge(slot, "digest", event)
        if slot.round < 2:
            opened.store_reply(slot, b"reply")
    yield opened
    opened.close()


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(ledger_app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_every_release_is_a_sentence(ledger: Ledger) -> None:
    today = ledger.entries[0].time[:10]
    told = [sentence for _, sentence in sentences(ledger, 5.0)]
    assert told[:2] == [
        f"{today}: ledger created, at delta 0.0001",
        f"{today}, study clinic: run accepted, the budget of its whole plan is reserved for each patient",
    ]
    assert [sentence.partition(":")[0] for sentence in told[2:]] == [
        f"{today}, study clinic, histograms",
        f"{today}, study clinic, all pairs of columns in groups",
        f"{today}, study clinic, pairs of columns again",
        f"{today}, study clinic, training round 1",
        f"{today}, study clinic, training round 2",
    ]
    # A single run is told by the figure that its plan was made with, so a plan of 3.0 never reads as more.
    assert told[-1].endswith("epsilon so far 3.0 of 5.0 (no reply was stored)")
    assert ledger.epsilon > 3.05


def test_shared_noise_is_named(tmp_path: Path) -> None:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)
    opened.charge(Slot("f", "run-1", "coarse"), "digest", DistributedGaussianVector(8.0, 3, 6))
    opened.close()
    told = [sentence for _, sentence in sentences(Ledger.view(tmp_path / "ledger.sqlite"))]
    assert "all pairs of columns in groups, under the noise of 3 honest hospitals: epsilon so far 0.5" in told[-1]


def test_show_prints_a_table_while_an_agent_holds_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "ledger.sqlite"):
        result = run("show", "--site", place)
        assert result.exit_code == 0, result.exception
        assert "study clinic, all pairs of columns in groups: epsilon so far" in result.output
        assert "Ledger of cohort north" in result.output


def test_the_cap_is_that_of_site_toml(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'name = "north"\ncohort = "north"\ndata = "table.csv"\ndeclared_rows = 100\nmax_epsilon = 5.0\ndelta = 1e-4\n'
    )
    for place in (tmp_path, tmp_path / "site.toml"):
        assert "epsilon so far 3.0 of 5.0" in run("show", "--site", place).output


def test_verify_reports_a_changed_reply(ledger: Ledger, tmp_path: Path) -> None:
    result = run("verify", "--site", tmp_path)
    assert result.exit_code == 0, result.exception
    assert "Intact: 11 entries, 5 releases." in result.output
    assert ledger.head.head in result.output
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as database:
        database.execute("DROP TRIGGER replies_UPDATE")
        database.execute("UPDATE replies SET reply = x'00'")
        database.commit()
    result = run("verify", "--site", tmp_path)
    assert isinstance(result.exception, LedgerError)
    assert "the stored reply of entry 3 was changed" in str(result.exception)


def test_export_contains_the_whole_chain(ledger: Ledger, tmp_path: Path) -> None:
    result = run("export", "--site", tmp_path)
    written = json.loads(result.output)
    assert (written["cohort"], written["delta"], written["format"]) == ("north", 1e-4, 2)
    assert [entry["hash"] for entry in written["entries"]] == [entry.hash for entry in ledger.entries]
    assert [entry["previous"] for entry in written["entries"][1:]] == [entry.hash for entry in ledger.entries[:-1]]
    charges = [entry for entry in written["entries"] if entry["kind"] == Kind.CHARGE]
    assert charges[0]["content"]["kind"] == "discrete-gaussian-vector"
    out = tmp_path / "ledger.json"
    assert run("export", "--site", tmp_path, "--out", out).exit_code == 0
    assert json.loads(out.read_text()) == written
    assert isinstance(run("export", "--site", tmp_path, "--out", out).exception, SiteError)


def test_an_unprotected_release_has_no_epsilon(ledger: Ledger, tmp_path: Path) -> None:
    ledger.charge(Slot(STUDY.fingerprint, "run-2", "histograms"), "digest", Unprotected())
    assert "study unknown, histograms: epsilon so far without limit" in sentences(ledger)[-1][1]
    assert json.loads(run("export", "--site", tmp_path).output)["epsilon"] is None


def test_close_frees_the_budget_that_a_run_reserved(ledger: Ledger, tmp_path: Path) -> None:
    result = run("close", "run-1", "--site", tmp_path)
    assert isinstance(result.exception, LedgerError)
    assert "is held by process" in str(result.exception)
    ledger.close()
    assert run("close", "run-1", "--site", tmp_path).exit_code == 0
    closed = Ledger.view(tmp_path / "ledger.sqlite")
    assert closed.is_closed("run-1")
    assert sentences(closed)[-1][1].endswith("study clinic: run closed, the budget it did not use is free again")
    assert "was never accepted" in str(run("close", "run-9", "--site", tmp_path).exception)


@pytest.fixture
def old_copy(tmp_path: Path) -> Path:
    """A site that was set back to a copy from before its second release; the witness is elsewhere."""
    folder = tmp_path / "site"
    settings = {"name": "north", "cohort": "north", "data": "table.csv", "declared_rows": 100, "max_epsilon": 5.0}
    (tmp_path / "share").mkdir()
    more = {"delta": 1e-4, "ledger": {"witness": str(tmp_path / "share" / "north.json")}}
    site = init_site(folder, settings | more)
    with closing(open_ledger(site)) as ledger:
        ledger.enroll("run-1", STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json())
        for slot, event in zip(SLOTS, PLAN.events(PLAN.hospitals[0]), strict=True):
            if slot == SLOTS[1]:
                shutil.copytree(folder, tmp_path / "copy")
            ledger.charge(slot, "digest", event)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    return folder


class TestAcceptRestore:
    def test_an_old_copy_is_refused_until_it_is_accepted(self, old_copy: Path) -> None:
        for command in (["verify"], ["close", "run-1"]):
            problem = run(*command, "--site", old_copy).exception
            assert isinstance(problem, LedgerError)
            assert "`fedsynth site ledger accept-restore`" in str(problem)
        asked = CliRunner().invoke(ledger_app, ["accept-restore", "--site", str(old_copy)], input="y\n")
        assert asked.exit_code == 0, asked.exception
        for words in (
            "This copy of the ledger ends at entry 2",
            "The witness names entry 6.",
            "Run run-1 is closed, and 4 releases are charged.",
            "of 5.00",
            "Accepted as entry 7",
        ):
            assert words in asked.output
        assert "The witness" in run("verify", "--site", old_copy).output
        history = Ledger.view(old_copy / "ledger.sqlite")
        assert len(history.events()) == 5
        assert "old copy accepted, open runs charged in full (run-1): epsilon so far 3." in sentences(history)[-1][1]
        exported = json.loads(run("export", "--site", old_copy).output)
        assert len(exported["entries"][-1]["content"]["run-1"]) == 4

    def test_nothing_is_written_without_a_yes(self, old_copy: Path) -> None:
        before = Ledger.view(old_copy / "ledger.sqlite").entries
        asked = CliRunner().invoke(ledger_app, ["accept-restore", "--site", str(old_copy)], input="n\n")
        assert isinstance(asked.exception, LedgerError)
        assert "nothing was written" in str(asked.exception)
        assert Ledger.view(old_copy / "ledger.sqlite").entries == before

    def test_a_lost_run_is_named_by_its_proposal(self, old_copy: Path, tmp_path: Path) -> None:
        key = Identity.simulated(1, "coordinator")
        named = STUDY.amended(federation={"coordinator": key.public})
        (tmp_path / "run-2.json").write_text(Proposal.make("run-2", named, key).to_json())
        words = ["accept-restore", "--site", str(old_copy), "--lost", str(tmp_path / "run-2.json"), "--beyond", "40"]
        asked = CliRunner().invoke(ledger_app, words, input="y\n")
        assert asked.exit_code == 0, asked.exception
        assert "Run run-2 is closed, and 5 releases are charged." in asked.output
        assert "Accepted as entry 41" in asked.output

    def test_a_proposal_that_cannot_be_read_is_an_error(self, old_copy: Path) -> None:
        words = ["accept-restore", "--site", str(old_copy), "--lost", str(old_copy / "site.toml")]
        assert isinstance(CliRunner().invoke(ledger_app, words, input="y\n").exception, StudyError)


def test_a_folder_without_a_ledger_is_an_error_that_names_it(tmp_path: Path) -> None:
    for command in (["show"], ["verify"], ["export"], ["close", "run-1"]):
        result = run(*command, "--site", tmp_path)
        assert isinstance(result.exception, LedgerError)
        assert f"there is no ledger at '{tmp_path / 'ledger.sqlite'}'" in str(result.exception)


def test_an_accepted_run_names_its_unit_and_table(tmp_path: Path) -> None:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)
    study = STUDY.amended(privacy={"unit": "record"})
    opened.enroll("run-1", study.fingerprint, study.to_toml(), PLAN.to_json(), table="c0ffee" * 10)
    opened.enroll("run-2", study.fingerprint, "no study", PLAN.to_json())
    told = [sentence.partition(": ")[2] for _, sentence in sentences(opened)]
    opened.close()
    assert told[1:] == [
        "run accepted over table c0ffeec0ffee, the budget of its whole plan is reserved for each record",
        "run accepted, the budget of its whole plan is reserved for each record",
    ]
