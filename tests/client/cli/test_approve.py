"""`fedsynth site approve`, `deny` and `withdraw`."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from client.site.approval import ProposedRun, consider_run, read_proposed_run
from client.site.config import HOLDOUT_KEY, read_site
from client.site.imported import FrozenTable
from client.site.opening import open_hospital
from common.errors import Reason, SiteError
from common.tables.conforming import conform
from common.tables.parts import join
from tests.testbeds.approving import BY_KARI, BY_OLA, KARI, OLA, approve, approve_by_command
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_commands import PLAN, STUDY, change, enroll, import_again, write_proposal


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
        "raises the suspicion to at most 17 in 100",
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
    assert "Everything together: Suppose somebody suspects" in output_of(second)
    (stored,) = json.loads((folder / "approvals" / "run-2.json").read_text())
    assert (stored["fingerprint"], stored["plan_sha256"]) == (STUDY.fingerprint, PLAN.digest)
    known = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_OLA)
    assert known.exit_code == 2
    assert "is already in the ledger" in output_of(known)
    (folder / "approvals" / "run-1.json").unlink()
    known = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_OLA)
    assert known.exit_code == 2
    assert "already in the ledger" in output_of(known)


def test_approve_checks_the_table_and_shows_what_it_found(folder: Path, study: Path, data: Path) -> None:
    table = pd.read_csv(data, dtype=str, keep_default_na=False)
    table.loc[:2, "age"] = "> 100"
    table.to_csv(data, index=False)
    import_again(folder)
    asked = output_of(fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, answer="n\n"))
    found = asked.index(
        "column 'age' holds numbers with a sign such as < or >, not declared as below or above, in 3 rows"
    )
    assert found < asked.index("north would send to the coordinator")
    frame = conform(join(list(FrozenTable(read_site(folder)).parts())), STUDY.table)
    assert frame["age"].head(3).tolist() == [100, 100, 100]  # not the lower bound
    table.drop(columns="age").to_csv(data, index=False)
    import_again(folder)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, answer="n\n")
    assert (refused.exit_code, "column 'age' is not in the table" in output_of(refused)) == (5, True)
    assert not list((folder / "approvals").iterdir())


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

    @pytest.mark.parametrize("command", ["deny", "withdraw", "add", "remove", "console"])
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
            "console": ("console", "--port", 0),
        }[command]
        monkeypatch.setattr("common.web.serve.Console", None)  # which must not be reached
        (folder / HOLDOUT_KEY).chmod(0o640)
        assert "chmod go-rwx" in output_of(fedsynth("site", *arguments, "--site", folder))
        (folder / HOLDOUT_KEY).chmod(0o600)
        monkeypatch.setattr("client.site.state.os.geteuid", lambda: 20001)
        refused = fedsynth("site", *arguments, "--site", folder)
        assert refused.exit_code == 2
        assert "run this as that account" in output_of(refused)
        assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


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
