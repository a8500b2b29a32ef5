from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client.cli.ledger import ledger_app
from client.consent.decisions import Decision
from client.site.config import LedgerSettings, Site, read_site
from client.site.creation import init_site
from client.site.history import sentences
from client.site.state import open_ledger
from common.errors import LedgerError, SiteError, StudyError
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Kind, Ledger, Slot
from common.ledger.receipts import Receipt
from common.planning.planner import make_plan
from common.planning.proposal import Proposal
from common.privacy.events import DistributedGaussianVector, Unprotected
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from tests.testbeds.approving import KARI
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
    opened.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
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
        f"{today}, study clinic, pairs of columns in groups",
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
    assert "pairs of columns in groups, under the noise of 3 honest hospitals: epsilon so far 0.5" in told[-1]


def test_show_prints_a_table_while_an_agent_holds_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "ledger.sqlite"):
        result = run("show", "--site", place)
        assert result.exit_code == 0, result.exception
        assert "study clinic, pairs of columns in groups: epsilon so far" in result.output
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


def with_witness(folder: Path) -> Site:
    """A site in `folder/site` whose witness is elsewhere."""
    settings = {"name": "north", "cohort": "north", "data": "table.csv", "declared_rows": 100, "max_epsilon": 5.0}
    (folder / "share").mkdir()
    more = {"delta": 1e-4, "ledger": {"witness": str(folder / "share" / "north.json")}}
    return init_site(folder / "site", settings | more)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with two accepted runs, of which the first was charged for its histograms; its witness is elsewhere."""
    made = with_witness(tmp_path)
    with closing(open_ledger(made)) as ledger:
        for run_id in ("run-1", "run-2"):
            ledger.enroll(run_id, Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
        ledger.charge(SLOTS[0], "digest", PLAN.events(PLAN.hospitals[0])[0])
    return made


def test_a_witness_that_is_removed_leaves_a_trace(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    without = site.model_copy(update={"ledger_settings": LedgerSettings()})
    for _ in range(2):
        open_ledger(without).close()
    assert "[ledger] witness was removed from site.toml" in caplog.text
    noted = [
        sentence.partition(": ")[2]
        for entry, sentence in sentences(Ledger.view(site.ledger))
        if entry.kind == Kind.WITNESS
    ]
    assert noted == [
        "from here on, a witness outside the state folder is kept",
        "from here on, NO witness is kept",
    ]


class TestClose:
    def test_it_frees_the_budget_that_a_run_reserved(self, site: Site) -> None:
        with closing(open_ledger(site)):
            result = run("close", "run-1", "--site", site.state)
            assert isinstance(result.exception, LedgerError)
            assert "is held by process" in str(result.exception)
        for run_id in ("run-1", "run-2"):
            assert run("close", run_id, "--site", site.state).exit_code == 0
        closed = Ledger.view(site.ledger)
        assert closed.is_closed("run-1")
        told = [sentence for _, sentence in sentences(closed)]
        assert told[-2].endswith("study clinic: run closed, the budget it did not use is free again")
        assert told[-1].endswith("study clinic: run closed without a charge, its budget is free again")
        assert "was never accepted" in str(run("close", "run-9", "--site", site.state).exception)

    def test_a_ledger_file_alone_is_refused(self, site: Site) -> None:
        """Nothing would say where its witness is."""
        before = Ledger.view(site.ledger).entries
        (site.state / "site.toml").rename(site.state.parent / "elsewhere.toml")
        for location in (site.ledger, site.state):
            assert isinstance(run("close", "run-2", "--site", location).exception, SiteError)
        assert Ledger.view(site.ledger).entries == before


@pytest.mark.parametrize("words", [("close", "run-1"), ("accept-restore",)])
def test_another_account_may_not_write(site: Site, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    before = Ledger.view(site.ledger).entries
    monkeypatch.setattr("os.geteuid", lambda: site.state.stat().st_uid + 1)
    problem = run(*words, "--site", site.state).exception
    assert isinstance(problem, SiteError)
    assert "run this as that account" in str(problem)
    assert Ledger.view(site.ledger).entries == before


@pytest.fixture
def old_copy(tmp_path: Path) -> Path:
    """A site that was set back to a copy from before its second release; the witness is elsewhere."""
    site = with_witness(tmp_path)
    folder = site.state
    with closing(open_ledger(site)) as ledger:
        ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
        for slot, event in zip(SLOTS, PLAN.events(PLAN.hospitals[0]), strict=True):
            if slot == SLOTS[1]:
                shutil.copytree(folder, tmp_path / "copy")
            ledger.charge(slot, "digest", event)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    return folder


def accept(folder: Path, *words: str, typed: str = "y\nnone\n") -> Result:
    """Accept the copy, with what a person types."""
    return CliRunner().invoke(ledger_app, ["accept-restore", "--site", str(folder), *words], input=typed)


def proposal(folder: Path, run_id: str) -> Path:
    """The proposal of a run of the study, signed by its coordinator."""
    folder.mkdir(exist_ok=True)
    key = Identity.simulated(1, "coordinator")
    named = STUDY.amended(federation={"coordinator": key.public})
    path = folder / f"{run_id}.json"
    path.write_text(Proposal.make(run_id, named, key).to_json())
    return path


def approved(folder: Path, plan_sha256: str, seen: Receipt | None = None) -> None:
    """File an approval of a third run that the ledger does not have."""
    now = datetime.now(UTC)
    site = read_site(folder)
    decision = Decision(
        kind="approve",
        run_id="run-3",
        study=STUDY.name,
        fingerprint=STUDY.fingerprint,
        plan_sha256=plan_sha256,
        table_sha256="b" * 64,
        person=KARI,
        ledger=seen or Ledger.view(site.ledger).head,
        time=now,
        expires=now + timedelta(days=1),
    )
    site.approvals.add(decision)


class TestAcceptRestore:
    def test_an_old_copy_is_refused_until_it_is_accepted(self, old_copy: Path) -> None:
        for command in (["verify"], ["close", "run-1"]):
            problem = run(*command, "--site", old_copy).exception
            assert isinstance(problem, LedgerError)
            assert "`fedsynth site ledger accept-restore`" in str(problem)
        asked = accept(old_copy)
        assert asked.exit_code == 0, asked.exception
        for words in (
            "This copy of the ledger ends at entry 3",
            "The witness names entry 7.",
            "Run run-1 is closed, and 4 releases are charged.",
            "This copy pins these partners: none.",
            "of 5.00",
            "Accepted as entry 8",
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
        for typed, cause in (("n\nnone\n", "the old copy was not accepted"), ("y\nrun-7\n", "")):
            asked = accept(old_copy, typed=typed)
            assert isinstance(asked.exception, LedgerError)
            assert cause in str(asked.exception)
            assert "nothing was written" in str(asked.exception)
        assert Ledger.view(old_copy / "ledger.sqlite").entries == before

    def test_a_lost_run_is_named_by_its_proposal(self, old_copy: Path, tmp_path: Path) -> None:
        words = ["--lost", str(proposal(tmp_path, "run-2")), "--beyond", "40"]
        assert isinstance(accept(old_copy, *words, typed="y\nnone\n").exception, LedgerError)
        asked = accept(old_copy, *words, typed="y\nrun-2\n")
        assert asked.exit_code == 0, asked.exception
        assert "Run run-2 is closed, and 5 releases are charged." in asked.output
        assert "Accepted as entry 41" in asked.output

    def test_goes_beyond_what_a_person_saw(self, old_copy: Path) -> None:
        """The file of a decision is newer than ledger and witness."""
        seen = Receipt(60, "0" * 64)
        approved(old_copy, PLAN.digest, seen)
        asked = accept(old_copy)
        assert asked.exit_code == 0, asked.exception
        assert "Accepted as entry 61" in asked.output

    def test_a_proposal_that_cannot_be_read_is_an_error(self, old_copy: Path) -> None:
        assert isinstance(accept(old_copy, "--lost", str(old_copy / "site.toml")).exception, StudyError)

    def test_two_proposals_for_one_run_are_refused(self, old_copy: Path, tmp_path: Path) -> None:
        names = [str(proposal(tmp_path / folder, "run-2")) for folder in ("one", "two")]
        problem = accept(old_copy, "--lost", names[0], "--lost", names[1]).exception
        assert isinstance(problem, LedgerError)
        assert "is a second proposal for run 'run-2'" in str(problem)

    def test_a_run_approved_and_not_in_the_copy_never_begins(self, old_copy: Path) -> None:
        approved(old_copy, PLAN.digest)
        asked = accept(old_copy)
        assert asked.exit_code == 0, asked.exception
        assert "Run run-3 was approved and is not in this copy." in asked.output.replace("\n", " ")
        history = Ledger.view(old_copy / "ledger.sqlite")
        assert history.is_closed("run-3")
        assert "(run-1), closed without a charge: run-3: epsilon so far 3." in sentences(history)[-1][1]

    def test_a_proposal_of_another_plan_than_approved_is_refused(self, old_copy: Path, tmp_path: Path) -> None:
        approved(old_copy, "c" * 64)
        problem = accept(old_copy, "--lost", str(proposal(tmp_path, "run-3"))).exception
        assert isinstance(problem, LedgerError)
        assert "has another plan of run 'run-3' than people approved" in str(problem)

    def test_a_run_closed_by_mistake_is_pointed_out(self, old_copy: Path, tmp_path: Path) -> None:
        with closing(Ledger(old_copy / "ledger.sqlite", cohort="north", delta=1e-4)) as without_witness:
            without_witness.close_run("run-1")
        told = accept(old_copy, typed="n\n").output.replace("\n", " ")
        assert "Run run-1 is closed in this copy, and 4 releases of its plan are not charged." in told


def test_a_folder_without_a_ledger_is_an_error_that_names_it(tmp_path: Path) -> None:
    for command in (["show"], ["verify"], ["export"]):
        result = run(*command, "--site", tmp_path)
        assert isinstance(result.exception, LedgerError)
        assert f"there is no ledger at '{tmp_path / 'ledger.sqlite'}'" in str(result.exception)


def test_an_accepted_run_names_its_unit_and_table(tmp_path: Path) -> None:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)
    study = STUDY.amended(privacy={"unit": "record"})
    opened.enroll("run-1", Enrollment(study.fingerprint, study.to_toml(), PLAN.to_json(), "c0ffee" * 10))
    opened.enroll("run-2", Enrollment(study.fingerprint, "no study", PLAN.to_json()))
    told = [sentence.partition(": ")[2] for _, sentence in sentences(opened)]
    opened.close()
    assert told[1:] == [
        "run accepted over table c0ffeec0ffee, the budget of its whole plan is reserved for each record",
        "run accepted, the budget of its whole plan is reserved for each record",
    ]
