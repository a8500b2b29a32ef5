"""A site as its people set it up: site.toml, the state folder, and the commands."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from click.testing import Result

from client.site.approval import ProposedRun, consider_run, read_proposed_run
from client.site.config import HOLDOUT_KEY, Site, read_site
from client.site.creation import init_site
from client.site.importing import import_table
from client.site.opening import open_agent, open_hospital
from client.site.state import open_ledger
from common.errors import DataError, LedgerError, PolicyRefusal, Reason, SiteError
from common.ledger.enrollment import Enrollment
from common.ledger.witness import Witness
from common.planning.planner import make_plan
from common.planning.proposal import Proposal
from common.protocol.messages import CountsReply, CountsRequest, EnrollRequest
from common.protocol.signing import Identity, fingerprint
from common.study.sections import HospitalFacts
from common.tables.reading import Reading
from tests.testbeds.approving import BY_KARI, BY_OLA, KARI, OLA, approve, approve_by_command, file_approval
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.command_line import fedsynth, output_of

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 1, "steps": 2}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)


def enroll(run_id: str = "run-1") -> EnrollRequest:
    return EnrollRequest(run_id, STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    table = clinic_table(100, seed=0)
    table.assign(patient=[f"p{row}" for row in range(len(table))]).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.to_toml())
    return path


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    made = fedsynth(
        "site", "init", tmp_path / "site", "--name", "north", "--data", data, "--declared-rows", 100,
        "--max-epsilon", 5, "--delta", "1e-4", "--patient-column", "patient",
    )  # fmt: skip
    assert made.exit_code == 0, output_of(made)
    imported = fedsynth("site", "import", "--site", tmp_path / "site")
    assert imported.exit_code == 0, output_of(imported)
    return tmp_path / "site"


def write_proposal(folder: Path) -> Path:
    """The file by which a coordinator proposes run-1."""
    key = Identity.simulated(1, "coordinator")
    signed = clinic_study(federation={"coordinator": key.public}).with_hospitals(FACTS)
    path = folder / "proposal.json"
    path.write_text(Proposal.make("run-1", signed, key).to_json(), encoding="utf-8")
    return path


def import_again(folder: Path) -> None:
    imported = fedsynth("site", "import", "--site", folder, "--replace")
    assert imported.exit_code == 0, output_of(imported)


def change(folder: Path, before: str, after: str) -> None:
    text = (folder / "site.toml").read_text()
    assert before in text
    (folder / "site.toml").write_text(text.replace(before, after))


def test_init_makes_a_site_that_only_this_account_can_read(folder: Path, data: Path) -> None:
    site = read_site(folder)
    assert site == read_site(folder / "site.toml")
    assert (site.name, site.cohort, site.data, site.max_epsilon, site.delta) == ("north", "north", data, 5.0, 1e-4)
    assert (site.min_rows, site.rehearsal, site.state) == (30, False, folder)
    assert (site.consent.approvers, site.consent.days) == (1, 90)
    assert len((folder / HOLDOUT_KEY).read_bytes()) == 32
    with open_hospital(site) as north:
        north.handle(enroll())
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((folder / "approvals").stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert path.suffix == ".pub" or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    comments = [line for line in (folder / "site.toml").read_text().splitlines() if line.startswith("# ")]
    unset = ["# mapping ="]
    assert [line for line in comments if line.endswith(" =")] == unset
    assert len(comments) == 1 + len(Site.model_fields) + len(unset)


def test_init_writes_a_witness_and_never_over_another(tmp_path: Path, data: Path) -> None:
    words = ["--name", "north", "--data", data, "--declared-rows", 100, "--max-epsilon", 5, "--delta", 1e-4]
    witness = tmp_path / "witness.json"
    assert fedsynth("site", "init", tmp_path / "a", *words, "--witness", witness).exit_code == 0
    site = read_site(tmp_path / "a")
    assert site.witness == witness
    with closing(open_ledger(site)) as ledger:
        assert Witness(witness).read() == ledger.head
    again = fedsynth("site", "init", tmp_path / "b", *words, "--witness", witness)
    assert again.exit_code == 2
    assert "may be the witness of another ledger" in output_of(again)
    assert not (tmp_path / "b").exists()
    unreachable = fedsynth("site", "init", tmp_path / "c", *words, "--witness", tmp_path / "gone" / "w.json")
    assert unreachable.exit_code == 2
    assert not (tmp_path / "c").exists()
    inside = fedsynth("site", "init", tmp_path / "d", *words, "--witness", tmp_path / "d" / "w.json")
    assert inside.exit_code == 2
    assert "there is no [ledger] witness" in output_of(fedsynth("site", "init", tmp_path / "e", *words))


def test_a_restored_site_answers_nothing(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 5.0}
    more = {"delta": 1e-4, "patient_column": "patient"}
    site = init_site(tmp_path / "site", settings | more | {"ledger": {"witness": str(tmp_path / "witness.json")}})
    shutil.copytree(tmp_path / "site", tmp_path / "backup")
    with closing(open_ledger(site)) as ledger:
        ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
    shutil.rmtree(tmp_path / "site")
    shutil.copytree(tmp_path / "backup", tmp_path / "site")
    with pytest.raises(LedgerError, match="accept-restore"):
        open_ledger(site)


def test_a_site_holds_replies_back_unless_it_says_otherwise(folder: Path) -> None:
    with open_agent(read_site(folder)) as agent:
        assert agent._replies.grid_s == 1.0
    change(folder, "grid_s = 1.0", "grid_s = 0.0")
    with open_agent(read_site(folder)) as agent:
        assert agent._replies.grid_s == 0.0


def test_init_overwrites_nothing(folder: Path, data: Path) -> None:
    key = (folder / HOLDOUT_KEY).read_bytes()
    arguments = ["--name", "north", "--data", data, "--declared-rows", 100, "--max-epsilon", 5]
    again = fedsynth("site", "init", folder, *arguments)
    assert again.exit_code == 2
    assert "is not empty" in output_of(again)
    assert (folder / HOLDOUT_KEY).read_bytes() == key


def test_init_accepts_an_empty_folder(tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 1.0}
    assert init_site(tmp_path / "empty", {**settings, "delta": 1e-4}).name == "north"


def test_two_sites_never_share_a_holdout_key(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 1.0}
    for name in ("one", "two"):
        init_site(tmp_path / name, {**settings, "delta": 1e-4})
    assert (tmp_path / "one" / HOLDOUT_KEY).read_bytes() != (tmp_path / "two" / HOLDOUT_KEY).read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_epsilon = 5.0\n", "", "[max_epsilon] is not given; add it"),
        ("delta = 0.0001\n", "", "[delta] is not given; add it"),
        ("max_epsilon = 5.0", "max_epsilon = inf", "[max_epsilon]"),
        ("max_epsilon = 5.0", "max_epsilom = 5.0", "unknown key 'max_epsilom'; did you mean 'max_epsilon'?"),
        ("delta = 0.0001", "delta = 0.0011", "delta = 0.0011 is above 1 / (10 x declared_rows) (0.001); choose"),
        ("declared_rows = 100", "declared_rows = 103", "declared_rows = 103 has more than 2 significant digits"),
        ("max_epsilon = 5.0", "max_epsilon = 20.1", "max_epsilon = 20.1 is above 20, which protects nobody"),
        ("one_row_per_patient = false", "one_row_per_patient = true", "patient_column and one_row_per_patient exclude"),
        ("min_rows = 30", "min_rows = 101", "declared_rows = 100 is below min_rows = 101"),
        ('"histograms"', '"histogram"', "phases: unknown phase 'histogram'; choose from histograms, coarse"),
        ("approvers = 1", "approvers = 3", "[consent.approvers] input should be less than or equal to 2"),
        ("days = 90", "days = 0", "[consent.days] input should be greater than or equal to 1"),
        ("days = 90", "day = 90", "unknown key 'day' in [consent]; did you mean 'days'?"),
        ("rehearsal = false", 'rehearsal = "no"', "[rehearsal]"),
        ("name =", "name", "is not valid TOML"),
        ("[ledger]", '[ledger]\nwitness = "witness.json"', "[ledger] witness is inside the state folder"),
        ("[ledger]", '[ledger]\nwitnes = "a"', "unknown key 'witnes' in [ledger]; did you mean 'witness'?"),
        ("grid_s = 1.0", "grid_s = -1.0", "[timing.grid_s]"),
        ("grid_s = 1.0", "grid_s = 61.0", "[timing.grid_s]"),
    ],
)
def test_a_site_error_names_key_limit_and_remedy(before: str, after: str, words: str, folder: Path) -> None:
    change(folder, before, after)
    with pytest.raises(SiteError) as problem:
        read_site(folder)
    assert words in str(problem.value)


def test_a_state_that_other_accounts_can_reach_is_refused(folder: Path) -> None:
    for path in (folder, folder / HOLDOUT_KEY, folder / "ledger.sqlite", folder / "approvals"):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(before | 0o040)
        with pytest.raises(SiteError, match="chmod go-rwx"), open_hospital(read_site(folder)):
            pass
        path.chmod(before)
    with open_hospital(read_site(folder)):
        pass


def test_a_state_without_its_key_is_refused(folder: Path) -> None:
    (folder / HOLDOUT_KEY).unlink()
    with pytest.raises(SiteError, match="site init"), open_hospital(read_site(folder)):
        pass


def test_state_with_a_key_of_another_length_is_refused(folder: Path) -> None:
    (folder / HOLDOUT_KEY).write_bytes(b"a" * 31)
    with pytest.raises(SiteError, match="is not 32 bytes long"), open_hospital(read_site(folder)):
        pass


@pytest.mark.parametrize("command", ["check", "approve"])
def test_site_commands_refuse_a_state_open_to_others(command: str, folder: Path, study: Path) -> None:
    (folder / HOLDOUT_KEY).chmod(0o640)
    more = ("--run", "run-1", *BY_KARI) if command == "approve" else ()
    refused = fedsynth("site", command, study, "--site", folder, *more)
    assert refused.exit_code == 2
    assert "chmod go-rwx" in output_of(refused)
    assert not list((folder / "approvals").iterdir())


def test_a_site_answers_a_run_that_was_approved_and_no_other(folder: Path, study: Path) -> None:
    with open_hospital(read_site(folder)) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
        approved = approve_by_command(folder, study, "run-1")
        assert approved.exit_code == 0, output_of(approved)  # while the hospital holds its ledger
        assert "The agent is running and holds the ledger" in output_of(approved)
        assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)
        assert north.handle(enroll("run-2")).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
    shown = fedsynth("site", "ledger", "show", "--site", folder)
    assert shown.exit_code == 0
    assert "clinic" in output_of(shown)


def test_a_second_process_over_the_same_ledger_is_locked_out(folder: Path) -> None:
    second = open_hospital(read_site(folder))
    with open_hospital(read_site(folder)), pytest.raises(LedgerError, match="is held by process"), second:
        pass


def test_a_rehearsal_and_a_real_cohort_never_share_a_ledger(folder: Path, study: Path) -> None:
    change(folder, "rehearsal = false", "rehearsal = true")
    with pytest.raises(LedgerError, match="rehearsal"), open_hospital(read_site(folder)):
        pass
    checked = fedsynth("site", "check", study, "--site", folder)
    assert "REHEARSAL: the noise is predictable" in output_of(checked)


def test_rehearsals_and_real_runs_never_meet(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 5.0}
    more = {"delta": 1e-4, "rehearsal": True, "patient_column": "patient"}
    site = init_site(tmp_path / "site", settings | more)
    import_table(site)
    file_approval(site, STUDY)
    with open_hospital(site) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_REHEARSAL  # type: ignore[union-attr]


def test_approve_says_what_leaves_to_whom_and_at_what_epsilon(folder: Path, study: Path) -> None:
    asked = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, answer="n\n")
    assert asked.exit_code == 3
    text = output_of(asked)
    for words in (
        STUDY.fingerprint,
        PLAN.digest,
        "north would send to the coordinator of the study",
        "may publish the result: south",
        'used, one quoted name per line: "age" "lab" "sex" "outcome" The coordinator would get: - yes',
        f"a patient adds at most {PLAN.vectors[0].tables} to all of them together",
        "by every two columns in 4 groups each: 6 tables",
        "1 times: the weights of generator and discriminator",
        "It costs each patient epsilon 3.000 at delta 0.0001",
        "nothing of epsilon 5 at delta 0.0001 is spent",
        "a probability of 1 in 100 that a certain patient is in the data, the results raise this to at most about",
        "1 in 6, whatever else is known",
        "for a pair and",
        "for a family of five",
        "has mu 0.",
        "and rho 0.",
        "once one person approved this run, for 90 days after each approval",
        "nothing was written",
    ):
        assert words in text
    assert not list((folder / "approvals").iterdir())


def test_approve_shows_what_the_cohort_has_spent(folder: Path, study: Path) -> None:
    change(folder, "max_epsilon = 5.0", "max_epsilon = 9.0")
    approve(folder, study, "run-1")
    with open_hospital(read_site(folder)) as north:
        north.handle(enroll())
    second = approve_by_command(folder, study, "run-2")
    assert second.exit_code == 0
    assert "released or reserved epsilon 3." in output_of(second)
    assert "Everything together: If somebody suspects" in output_of(second)
    (stored,) = json.loads((folder / "approvals" / "run-2.json").read_text())
    assert (stored["fingerprint"], stored["plan_sha256"]) == (STUDY.fingerprint, PLAN.digest)
    known = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_OLA)
    assert known.exit_code == 2
    assert "is already in the ledger" in output_of(known)
    (folder / "approvals" / "run-1.json").unlink()
    known = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_OLA)
    assert known.exit_code == 2
    assert "already in the ledger" in output_of(known)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_epsilon = 5.0", "max_epsilon = 2.0", "costs more epsilon than the hospital allows"),
        ("declared_rows = 100", "declared_rows = 110", "declare different numbers of rows"),
        ('    "rounds",\n', "", "a phase that the hospital does not take part in"),
        ('name = "north"', 'name = "west"', "does not list this hospital"),
    ],
)
def test_approve_refuses_what_the_policy_would_refuse(
    before: str, after: str, words: str, folder: Path, study: Path
) -> None:
    change(folder, before, after)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI)
    assert refused.exit_code == 3
    assert words in output_of(refused)
    assert not list((folder / "approvals").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="unproven: giving files away needs root")
def test_approve_refuses_another_account(folder: Path, study: Path) -> None:
    os.chown(folder, 20001, 20001)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI)
    assert refused.exit_code == 2
    assert "belongs to account 20001" in output_of(refused)
    assert not list((folder / "approvals").iterdir())


@pytest.mark.parametrize("run_id", ["../run", "a b", "x" * 65])
def test_approve_wants_a_run_that_can_name_a_file(run_id: str, folder: Path, study: Path) -> None:
    refused = fedsynth("site", "approve", study, "--run", run_id, "--site", folder, *BY_KARI)
    assert refused.exit_code == 2
    assert "1 to 64 letters" in output_of(refused)


def test_consider_run_refuses_an_unusable_run_id(folder: Path) -> None:
    # Before a person reads the statement: `Approvals.write` would refuse it only afterwards.
    with pytest.raises(SiteError, match="1 to 64 letters"):
        consider_run(read_site(folder), ProposedRun("../run", STUDY, PLAN))


class TestApproval:
    """Who approves, what they read, and how it is taken back."""

    @pytest.fixture(autouse=True)
    def _wide_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "250")

    def asked(self, folder: Path, study: Path, *more: object, answer: str | None = None) -> Result:
        return fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, *more, answer=answer)

    def digest(self, folder: Path, study: Path) -> str:
        text = output_of(self.asked(folder, study, answer="n\n"))
        return text.partition("Digest of this statement: ")[2].partition(" ")[0]

    def test_a_person_types_the_digest_of_what_they_read(self, folder: Path, study: Path) -> None:
        digest = self.digest(folder, study)
        for typed in ("y", "", digest[:7], "0" * 8):
            refused = self.asked(folder, study, answer=f"{typed}\n")
            assert refused.exit_code == 3
            assert "nobody agreed; nothing was written" in output_of(refused)
        assert not list((folder / "approvals").iterdir())
        approved = self.asked(folder, study, "--reason", "ethics vote 12", answer=f"{digest[:8]}\n")
        assert approved.exit_code == 0, output_of(approved)
        (decision,) = read_site(folder).approvals.of("run-1")
        assert (decision.statement, decision.person.name) == (digest, KARI.name)
        assert decision.expires == decision.time + timedelta(days=90)
        shown = output_of(fedsynth("site", "ledger", "show", "--site", folder))
        assert "run approved by Kari Nordmann, data protection officer, until" in shown
        assert "(ethics vote 12)" in shown

    def test_a_script_needs_the_whole_digest_of_this_statement(self, folder: Path, study: Path) -> None:
        digest = self.digest(folder, study)
        prefix = self.asked(folder, study, "--agree", digest[:32])
        assert prefix.exit_code == 2
        assert "--agree: a digest has 64 hexadecimal digits" in output_of(prefix)
        other = self.asked(folder, study, "--agree", "0" * 64)
        assert other.exit_code == 3
        assert "the digest is of another statement than the one above" in output_of(other)
        change(folder, "max_epsilon = 5.0", "max_epsilon = 6.0")  # the statement names the budget
        assert self.asked(folder, study, "--agree", digest).exit_code == 3
        assert not list((folder / "approvals").iterdir())

    def test_an_approval_names_a_person_and_a_role(self, folder: Path, study: Path) -> None:
        nobody = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder)
        assert nobody.exit_code == 2
        assert "--approver" in output_of(nobody)
        unnamed = ("--approver", " ", "--position", "x")
        empty = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *unnamed)
        assert empty.exit_code == 2
        assert "--approver: string should have at least 1 character" in output_of(empty)

    def test_four_eyes_need_another_person_with_the_same_command(self, folder: Path, study: Path) -> None:
        change(folder, "approvers = 1", "approvers = 2")
        first = approve_by_command(folder, study, "run-1")
        assert "another person must approve the run with the same command" in output_of(first)
        again = self.asked(folder, study)
        assert again.exit_code == 2
        assert "has approved run 'run-1' already; another person must be the second" in output_of(again)
        with open_hospital(read_site(folder)) as north:
            assert north.handle(enroll()).reason == Reason.APPROVAL_INCOMPLETE  # type: ignore[union-attr]
        second = approve_by_command(folder, study, "run-1", OLA)
        assert second.exit_code == 0
        assert "the run was approved by Kari Nordmann" in output_of(second)
        assert "another person" not in output_of(second)
        with open_hospital(read_site(folder)) as north:
            assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]
        statements = {decision.statement for decision in read_site(folder).approvals.of("run-1")}
        assert len(statements) == 1  # both read the same

    def test_withdrawal_is_for_good_and_in_the_ledger(self, folder: Path, study: Path) -> None:
        def withdraw() -> Result:
            return fedsynth("site", "withdraw", "run-1", "--site", folder, *BY_OLA, "--reason", "schema")

        early = withdraw()
        assert early.exit_code == 2
        assert "was not approved, so there is nothing to withdraw" in output_of(early)
        approve(folder, study, "run-1")
        assert withdraw().exit_code == 0
        again = withdraw()
        assert again.exit_code == 2
        assert "every run needs its own id" in output_of(again)
        assert self.asked(folder, study).exit_code == 2
        with open_hospital(read_site(folder)) as north:
            assert north.handle(enroll()).reason == Reason.APPROVAL_WITHDRAWN  # type: ignore[union-attr]
        shown = output_of(fedsynth("site", "ledger", "show", "--site", folder))
        assert "run withdrawn by Ola Nordmann, head of registry (schema)" in shown
        exported = json.loads(fedsynth("site", "ledger", "export", "--site", folder).output)
        kinds = [(entry["kind"], entry["content"].get("kind")) for entry in exported["entries"][1:]]
        assert kinds == [("decide", "approve"), ("decide", "withdraw")]
        assert fedsynth("site", "ledger", "verify", "--site", folder).exit_code == 0

    def test_a_decision_filed_under_a_running_agent_is_entered_later(self, folder: Path, study: Path) -> None:
        site = read_site(folder)
        with open_hospital(site) as north:
            approve(folder, study, "run-1")
            assert north.ledger.decisions("run-1") == ()
        with open_hospital(site) as north:  # entered by the next agent, whether anybody asks about the run or not
            assert len(north.ledger.decisions("run-1")) == 1

    def test_a_decision_after_a_lost_one_ends_with_a_sentence(self, folder: Path, study: Path) -> None:
        approve(folder, study, "run-1")
        (folder / "approvals" / "run-1.json").unlink()
        refused = approve_by_command(folder, study, "run-1", OLA)
        assert refused.exit_code == 3
        assert "lacks a decision that the ledger has; restore it, or propose a new run" in output_of(refused)

    @pytest.mark.parametrize("command", ["deny", "withdraw", "add", "remove"])
    def test_commands_refuse_a_state_of_others(
        self, command: str, folder: Path, study: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        approve(folder, study, "run-1")
        fedsynth("site", "partner", "add", "west", "cd" * 16, "--site", folder)
        before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        proposal = write_proposal(folder.parent)
        arguments = {
            "deny": ("deny", proposal, *BY_OLA),
            "withdraw": ("withdraw", "run-1", *BY_OLA),
            "add": ("partner", "add", "south", "ab" * 16),
            "remove": ("partner", "remove", "west"),
        }[command]
        (folder / HOLDOUT_KEY).chmod(0o640)
        assert "chmod go-rwx" in output_of(fedsynth("site", *arguments, "--site", folder))
        (folder / HOLDOUT_KEY).chmod(0o600)
        monkeypatch.setattr("client.site.state.os.geteuid", lambda: 20001)
        refused = fedsynth("site", *arguments, "--site", folder)
        assert refused.exit_code == 2
        assert "run this as that account" in output_of(refused)
        assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


class TestPartnerCommands:
    """What a person at north does with south and west, under shared noise."""

    KEYS: ClassVar = {name: Identity.simulated(1, name).public for name in ("south", "west")}

    def partner(self, folder: Path, *arguments: object) -> Result:
        return fedsynth("site", "partner", *arguments, "--site", folder)

    def shared(self, folder: Path) -> Path:
        keys = {"north": (folder / "identity.key.pub").read_text().strip(), **self.KEYS}
        facts = tuple(HospitalFacts(name=name, declared_rows=100, identity=key) for name, key in keys.items())
        path = folder.parent / "shared.toml"
        study = clinic_study(privacy={"noise": "distributed"}, training={"rounds": 0}).with_hospitals(facts)
        path.write_text(study.to_toml())
        return path

    def test_shared_noise_is_approved_after_every_partner_is_pinned(self, folder: Path) -> None:
        study = self.shared(folder)

        def asked() -> Result:
            return fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, answer="n\n")

        south, west = (fingerprint(self.KEYS[name]) for name in ("south", "west"))
        refused = asked()
        assert refused.exit_code == 3
        assert f"south: {south} (new) west: {west} (new)" in output_of(refused)
        assert "noise is shared and south, west may be anyone" in output_of(refused)
        assert "Digest of this statement" not in output_of(refused)
        assert self.partner(folder, "add", "south", *south.split()).exit_code == 0
        assert self.partner(folder, "add", "west", "ab" * 16).exit_code == 0  # what west itself read aloud
        forged = asked()
        assert forged.exit_code == 3
        assert "(known since 2" in output_of(forged)
        assert f"west: {west} (CHANGED: you pinned abab" in output_of(forged)
        assert "the study lists another key than the one that this hospital pinned for west" in output_of(forged)
        assert self.partner(folder, "remove", "west").exit_code == 0
        assert self.partner(folder, "add", "west", west).exit_code == 0
        asks = asked()
        assert asks.exit_code == 3
        assert "this one and others whose keys you compared yourself" in output_of(asks)
        assert "Digest of this statement" in output_of(asks)

    def test_list_shows_pins_and_the_own_fingerprint(self, folder: Path) -> None:
        nobody = output_of(self.partner(folder, "list"))
        assert "No partner is pinned, so this hospital takes part in studies with local noise only" in nobody
        own = fingerprint((folder / "identity.key.pub").read_text())
        assert f"Read this to partners who call you: north: {own}" in nobody
        self.partner(folder, "add", "south", "ab" * 16)
        assert "south │ abab abab" in output_of(self.partner(folder, "list"))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("add", "south", "abab"), "and 4 characters were typed; ask the partner to read it again"),
            (("add", "north", "ab" * 16), "'north' is this hospital"),
            (("add", "South", "ab" * 16), "'South' is no name of a hospital"),
            (("add", "south"), "FINGERPRINT"),
            (("remove", "south"), "no partner 'south' is pinned"),
        ],
    )
    def test_a_bad_pin_ends_with_a_sentence(self, arguments: tuple[str, ...], words: str, folder: Path) -> None:
        refused = self.partner(folder, *arguments)
        assert refused.exit_code == 2
        assert words in output_of(refused)
        assert not (folder / "partners.toml").exists()

    def test_own_key_is_no_partners(self, folder: Path) -> None:
        own = fingerprint((folder / "identity.key.pub").read_text())
        refused = self.partner(folder, "add", "south", own)
        assert refused.exit_code == 2
        assert "this hospital's own identity" in output_of(refused)


def test_check_tells_the_hospital_about_its_table(folder: Path, study: Path, data: Path) -> None:
    fits = fedsynth("site", "check", study, "--site", folder)
    assert fits.exit_code == 0
    assert "the table fits study clinic" in output_of(fits)
    assert "written by people" not in output_of(fits)
    drafted = study.with_name("drafted.toml")
    drafted.write_text(study.read_text().replace('origin = "written"', 'origin = "drafted"'))
    assert "accepts only studies written by people" in output_of(fedsynth("site", "check", drafted, "--site", folder))
    change(folder, "declared_rows = 100", "declared_rows = 200")
    told = fedsynth("site", "check", study, "--site", folder)
    assert told.exit_code == 0
    assert "the table has 100 patients and site.toml declares 200" in output_of(told)
    assert "the study declares 100 rows and site.toml 200" in output_of(told)


def test_check_turns_what_single_records_hold_into_notices(folder: Path, study: Path, data: Path) -> None:
    # No record may decide the public schema: nobody is asked to change a study because of one patient.
    table = pd.read_csv(data, dtype=str, keep_default_na=False)
    table.loc[7, "age"], table.loc[9, "outcome"] = "104", "withdrawn"
    table.loc[[3, 4], "age"] = "x"
    table.loc[[5, 6, 8], "sex"] = ""
    table.to_csv(data, index=False)
    import_again(folder)
    checked = fedsynth("site", "check", study, "--site", folder)
    assert checked.exit_code == 0
    for words in (
        "'age' is outside [18, 100] in 1 row, clamped to the bounds",
        "'age' holds text that is not a number in 2 rows, counted as the lower bound, 18",
        "'sex' is missing in 3 rows where missing = false, counted as the last category, 'male'",
        "'outcome' holds unlisted labels in 1 row, counted as the last category, 'yes'",
    ):
        assert f"note north: column {words}; this number is a fact about your patients" in output_of(checked)
    assert "the table fits study clinic" in output_of(checked)
    assert "withdrawn" not in output_of(checked)


def test_check_says_that_the_study_lists_another_identity(folder: Path, study: Path) -> None:
    # The coordinator would take this hospital's replies for somebody else's.
    def told(identity: str) -> str:
        facts = tuple(
            one.model_copy(update={"identity": identity}) if one.name == "north" else one for one in STUDY.hospitals
        )
        study.write_text(STUDY.with_hospitals(facts).to_toml())
        return output_of(fedsynth("site", "check", study, "--site", folder))

    assert "lists another identity" in told(Identity.simulated(1, "north").public)
    assert "lists another identity" not in told((folder / "identity.key.pub").read_text().strip())


@pytest.mark.parametrize("command", ["check", "approve"])
def test_site_shows_every_partners_fingerprint(command: str, folder: Path, study: Path) -> None:
    key = Identity.simulated(1, "south").public
    south = FACTS[1].model_copy(update={"identity": key})
    west = HospitalFacts(name="west", declared_rows=90)
    study.write_text(STUDY.with_hospitals((FACTS[0], south, west)).to_toml())
    more = ("--run", "run-1", *BY_KARI) if command == "approve" else ()
    told = fedsynth("site", command, study, "--site", folder, *more, answer="n\n")
    assert told.exit_code == (3 if command == "approve" else 0), output_of(told)
    assert f"south: {fingerprint(key)}" in output_of(told)
    assert "west: no key is listed" in output_of(told)
    assert "by telephone with the partner itself" in output_of(told)
    assert "north: no key" not in output_of(told)


def test_check_refuses_few_patients_and_missing_columns(folder: Path, study: Path, data: Path) -> None:
    rows = data.read_text().splitlines()
    data.write_text("\n".join(rows[:21]) + "\n")
    import_again(folder)
    few = fedsynth("site", "check", study, "--site", folder)
    assert few.exit_code == 5
    assert "20 patients, below min_rows = 30" in output_of(few)
    data.write_text("\n".join([rows[0].replace("sex", "gender"), *rows[1:]]) + "\n")
    import_again(folder)
    other = fedsynth("site", "check", study, "--site", folder)
    assert other.exit_code == 5
    assert "column 'sex' is not in the table" in output_of(other)


def test_the_held_out_patients_follow_from_the_sites_own_key(folder: Path) -> None:
    site = read_site(folder)
    replies = []
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        (folder / HOLDOUT_KEY).write_bytes(key)
        with open_hospital(site) as north:
            replies.append(north._open_shard(STUDY).histograms(PLAN.cells).tolist())
    assert replies[0] == replies[1] != replies[2]


def test_a_hospital_opens_without_torch_and_the_raw_file(folder: Path, data: Path) -> None:
    data.unlink()
    code = (
        "import sys; from pathlib import Path\n"
        "from client.site.config import read_site; from client.site.opening import open_hospital\n"
        f"with open_hospital(read_site(Path({str(folder)!r}))) as north: print(north.policy.hospital)\n"
        "assert not {'torch', 'flwr', 'typer'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "north\n"), done.stderr
    file_approval(read_site(folder), STUDY)
    with open_hospital(read_site(folder)) as north:
        north.handle(enroll())
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)


def test_a_policy_of_a_site_needs_approval() -> None:
    fields = {"name": "north", "cohort": "a", "data": "t.csv", "declared_rows": 100, "max_epsilon": 5.0, "delta": 1e-4}
    policy = Site.model_validate(fields).policy
    assert not policy.is_simulation
    with pytest.raises(PolicyRefusal) as refusal:
        policy.check("run-1", STUDY, PLAN, ())
    assert refusal.value.reason == Reason.STUDY_NOT_APPROVED
    assert replace(policy, is_simulation=True) != policy


class TestProposedRun:
    def test_a_study_file_needs_a_run_id(self, study: Path) -> None:
        with pytest.raises(SiteError, match="does not name a run; give --run"):
            read_proposed_run(study, None)
        assert read_proposed_run(study, "run-1").run_id == "run-1"

    def test_a_proposal_keeps_its_own_run_id(self, tmp_path: Path) -> None:
        path = write_proposal(tmp_path)
        assert read_proposed_run(path, None).run_id == read_proposed_run(path, "run-1").run_id == "run-1"
        with pytest.raises(SiteError, match="the proposal is for run 'run-1'; leave --run out"):
            read_proposed_run(path, "run-2")


class TestLimitsAtInit:
    def init(self, tmp_path: Path, data: Path, *more: str, rows: int = 100, epsilon: float = 5) -> Result:
        limits = ("--declared-rows", rows, "--max-epsilon", epsilon, "--delta", "1e-4")
        return fedsynth("site", "init", tmp_path / "site", "--name", "north", "--data", data, *limits, *more)

    def test_a_count_of_rows_is_refused_with_the_nearest_numbers(self, tmp_path: Path, data: Path) -> None:
        refused = self.init(tmp_path, data, rows=103)
        assert refused.exit_code == 2
        assert "declared_rows = 103 has more than 2 significant digits" in output_of(refused)
        assert "write 100 or 110" in output_of(refused)
        assert not (tmp_path / "site").exists()

    def test_an_epsilon_above_20_needs_the_flag(self, tmp_path: Path, data: Path) -> None:
        refused = self.init(tmp_path, data, epsilon=1000)
        assert refused.exit_code == 2
        assert "max_epsilon = 1000 is above 20" in output_of(refused)
        made = self.init(tmp_path, data, "--allow-large-epsilon", epsilon=1000)
        assert made.exit_code == 0
        assert read_site(tmp_path / "site").allow_large_epsilon
        assert "warning max_epsilon = 1000 is above 10" in output_of(made)

    def test_an_epsilon_above_10_is_a_warning(self, tmp_path: Path, data: Path) -> None:
        assert "warning" not in output_of(self.init(tmp_path / "a", data, epsilon=10))
        assert "warning max_epsilon = 11 is above 10" in output_of(self.init(tmp_path / "b", data, epsilon=11))

    @pytest.mark.parametrize(
        ("option", "unit"),
        [((), "record"), (("--patient-column", "patient"), "patient"), (("--one-row-per-patient",), "patient")],
    )
    def test_patients_are_promised_only_where_they_are_known(
        self, tmp_path: Path, data: Path, option: tuple[str, ...], unit: str
    ) -> None:
        made = self.init(tmp_path, data, *option)
        site = read_site(tmp_path / "site")
        assert site.unit == site.policy.unit == unit
        assert ("guarantees are about records, not patients" in output_of(made)) == (unit == "record")


def test_check_says_that_guarantees_are_about_records(folder: Path, study: Path) -> None:
    assert "guarantees are about records" not in output_of(fedsynth("site", "check", study, "--site", folder))
    change(folder, 'patient_column = "patient"', "")
    import_again(folder)
    told = fedsynth("site", "check", study, "--site", folder)
    assert "guarantees are about records; name patient_column, or one_row_per_patient" in output_of(told)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI)
    assert refused.exit_code == 3
    assert "the hospital knows records only" in output_of(refused)


class TestInitOfATable:
    def init(self, folder: Path, data: Path, *more: str) -> Result:
        limits = ("--declared-rows", 100, "--max-epsilon", 5, "--delta", 1e-4)
        return fedsynth("site", "init", folder / "site", "--name", "north", "--data", data, *limits, *more)

    def test_of_an_unknown_format_makes_nothing(self, tmp_path: Path) -> None:
        result = self.init(tmp_path, tmp_path / "table.docx")
        assert result.exit_code == 2
        assert "does not end in .csv" in output_of(result)
        assert not (tmp_path / "site").exists()

    def test_that_is_not_there_yet_warns(self, tmp_path: Path) -> None:
        result = self.init(tmp_path, tmp_path / "table.csv")
        assert result.exit_code == 0
        assert "warning there is no file" in output_of(result)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("age,age\n1,2\n", "have the same name in the header"),
            ("", "cannot use table"),
            ("age;sex\n1;f\n2;m\n", "--patient-column 'Patent' is not in"),
            ("patient,sex\n1,f\n", "did you mean 'patient'?"),
        ],
    )
    def test_that_cannot_be_used_makes_nothing(self, content: str, words: str, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text(content)
        result = self.init(tmp_path, tmp_path / "table.csv", "--patient-column", "Patent")
        assert result.exit_code in (SiteError.exit_code, DataError.exit_code)
        assert words in output_of(result)
        assert not (tmp_path / "site").exists()

    def test_writes_what_is_declared_about_its_file(self, tmp_path: Path) -> None:
        assert self.init(tmp_path, tmp_path / "t.csv", "--read", "separator=;", "--read", "footer=1").exit_code == 0
        assert read_site(tmp_path / "site").read == Reading(separator=";", footer=1)
