from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.consent.approvals import Approvals
from client.consent.decisions import Decision, Person, Quorum
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import LedgerError, PolicyRefusal, Reason, SiteError
from common.ledger.ledger import Kind, Ledger
from common.ledger.receipts import Receipt
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise
from common.protocol.messages import CountsReply, CountsRequest, EnrollReply, EnrollRequest, Unavailable
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.system.files import locked
from tests.testbeds.clinic import clinic_study, clinic_table

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 0}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)
TODAY = datetime.now(UTC).replace(microsecond=0)
KARI, OLA = "Kari Nordmann", "Ola Nordmann"
TABLE, ANOTHER = "d" * 64, "e" * 64
HEAD = Receipt(0, "0" * 64)
"""Of the ledger when people decide; the fixture puts its own ledger's head here."""


def approved(name: str = KARI, *, run_id: str = "run-1", days_ago: int = 0, study: Study = STUDY) -> Decision:
    time = TODAY - timedelta(days=days_ago)
    return Decision(
        kind="approve",
        run_id=run_id,
        study=study.name,
        fingerprint=study.fingerprint,
        plan_sha256=make_plan(study).digest,
        table_sha256=TABLE,
        statement="a" * 64,
        person=Person(name=name, position="officer"),
        ledger=HEAD,
        time=time,
        expires=time + timedelta(days=90),
    )


def over_another(name: str) -> Decision:
    return approved(name).model_copy(update={"table_sha256": ANOTHER})


def withdrawn(name: str = OLA) -> Decision:
    return approved(name).model_copy(update={"kind": "withdraw", "statement": None, "expires": None})


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    (tmp_path / "approvals").mkdir()
    return Approvals(tmp_path / "approvals")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)
    monkeypatch.setattr(sys.modules[__name__], "HEAD", opened.head)
    yield opened
    opened.close()


def reason_of(check: Callable[[], object]) -> Reason | None:
    try:
        check()
    except PolicyRefusal as refusal:
        return refusal.reason
    return None


class TestFile:
    def test_decisions_are_read_back_and_closed_to_other_accounts(self, approvals: Approvals) -> None:
        approvals.add(approved())
        assert approvals.of("run-1") == (approved(),)
        assert approvals.of("run-2") == ()
        for path in approvals.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0

    @pytest.mark.parametrize("content", ["", "{", "null", "[3]", '[{"run_id": "run-1"}]', "\x00", '{"a": 1}'])
    def test_a_damaged_file_approves_nothing_and_is_kept(self, content: str, approvals: Approvals) -> None:
        path = approvals.folder / "run-1.json"
        path.write_text(content)
        assert reason_of(lambda: approvals.check("run-1", STUDY, PLAN, TABLE)) == Reason.STUDY_NOT_APPROVED
        with pytest.raises(SiteError, match="it does not hold decisions; restore it, or propose a new run"):
            approvals.add(approved())
        assert path.read_text() == content

    def test_a_file_moved_to_another_runs_name_approves_nothing(self, approvals: Approvals) -> None:
        approvals.add(approved(run_id="run-2"))
        (approvals.folder / "run-2.json").rename(approvals.folder / "run-1.json")
        assert reason_of(lambda: approvals.check("run-1", STUDY, PLAN, TABLE)) == Reason.STUDY_NOT_APPROVED

    @pytest.mark.parametrize("run_id", ["", "../run-1", "a/b", ".hidden", "a b", "a\n", "x" * 65])
    def test_a_run_that_cannot_name_a_file_is_refused(self, run_id: str, approvals: Approvals) -> None:
        with pytest.raises(SiteError, match="1 to 64 letters"):
            approvals.of(run_id)


class TestCheckNew:
    def refused(self, approvals: Approvals, decision: Decision) -> str:
        with pytest.raises(SiteError) as problem:
            approvals.add(decision)
        return str(problem.value)

    def test_an_approval_of_another_plan_needs_another_run(self, approvals: Approvals) -> None:
        approvals.add(approved())
        cheaper = STUDY.amended(privacy={"epsilon": 1.0})
        assert "was approved with another plan" in self.refused(approvals, approved(OLA, study=cheaper))

    def test_a_second_approval_by_the_same_person_adds_nothing(self, approvals: Approvals) -> None:
        two = replace(approvals, quorum=Quorum(2))
        two.add(approved())
        assert "another person must be the second" in self.refused(two, approved(KARI.upper()))
        two.add(approved(OLA))
        assert "there is nothing to add" in self.refused(two, approved("Per Hansen"))

    def test_an_expired_approval_can_be_given_again(self, approvals: Approvals) -> None:
        approvals.add(approved(days_ago=90))
        assert reason_of(lambda: approvals.check("run-1", STUDY, PLAN, TABLE)) == Reason.APPROVAL_EXPIRED
        approvals.add(approved())
        approvals.check("run-1", STUDY, PLAN, TABLE)

    def test_a_withdrawn_run_stays_withdrawn(self, approvals: Approvals) -> None:
        assert "was not approved, so there is nothing to withdraw" in self.refused(approvals, withdrawn())
        approvals.add(approved())
        approvals.add(withdrawn())
        for decision in (approved("Per Hansen"), withdrawn()):
            assert "withdrawn by Ola Nordmann, officer" in self.refused(approvals, decision)

    def test_two_people_at_the_same_moment_lose_no_decision(self, approvals: Approvals) -> None:
        with locked(approvals.folder / ".lock"), pytest.raises(SiteError, match="is filing a decision at this moment"):
            approvals.add(approved())
        approvals.add(approved())


class TestRecord:
    def test_the_ledger_gets_every_decision_once_and_at_no_cost(self, approvals: Approvals, ledger: Ledger) -> None:
        approvals.add(approved())
        approvals.record("run-1", ledger)
        approvals.record("run-1", ledger)
        approvals.add(withdrawn())
        approvals.record_all(ledger)
        assert [Decision.model_validate_json(text) for text in ledger.decisions("run-1")] == [approved(), withdrawn()]
        assert [entry.kind for entry in ledger.entries] == [Kind.OPEN, Kind.DECIDE, Kind.DECIDE]
        assert ledger.epsilon == 0.0
        assert ledger.committed("north") == ()

    def test_a_file_that_lost_a_decision_approves_nothing(self, approvals: Approvals, ledger: Ledger) -> None:
        approvals.add(approved())
        before = (approvals.folder / "run-1.json").read_bytes()
        approvals.add(withdrawn())
        approvals.record("run-1", ledger)
        (approvals.folder / "run-1.json").write_bytes(before)  # the withdrawal is cut off
        assert reason_of(lambda: approvals.record("run-1", ledger)) == Reason.STUDY_NOT_APPROVED
        (approvals.folder / "run-1.json").unlink()
        assert reason_of(lambda: approvals.record("run-1", ledger)) == Reason.STUDY_NOT_APPROVED

    @pytest.mark.parametrize("seen", [Receipt(1, "0" * 64), Receipt(0, "0" * 64)])
    def test_a_ledger_that_lacks_what_a_person_saw_is_old(
        self, approvals: Approvals, ledger: Ledger, seen: Receipt
    ) -> None:
        """Files of the newer folder are left where an old copy is written over it, with its witness."""
        approvals.add(approved().model_copy(update={"ledger": seen}))
        with pytest.raises(
            LedgerError, match=rf"'run-1' was approved by .* at entry {seen.counter}, which the ledger lacks"
        ):
            approvals.record_all(ledger)
        assert ledger.decisions("run-1") == ()

    def test_an_entry_whose_loss_was_accepted_is_not_missed(self, approvals: Approvals, ledger: Ledger) -> None:
        approvals.add(approved().model_copy(update={"ledger": Receipt(7, "0" * 64)}))
        assert approvals.newest_entry() == 7
        ledger.accept_restore({}, beyond=approvals.newest_entry())
        approvals.record_all(ledger)
        assert len(ledger.decisions("run-1")) == 1

    def test_one_faulty_file_keeps_no_other_out(self, approvals: Approvals, ledger: Ledger) -> None:
        (approvals.folder / "a-run.json").write_text("{")
        (approvals.folder / "a b.json").write_text("[]")
        approvals.add(approved())
        approvals.record_all(ledger)
        assert len(ledger.decisions("run-1")) == 1
        assert approvals.newest_entry() == 0


class TestHospital:
    """The agent asks when a run enrolls and before every answer."""

    ENROLL = EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")

    def north(self, approvals: Approvals, ledger: Ledger) -> Hospital:
        policy = Policy("north", max_epsilon=5.0, delta=1e-4, consent=approvals)
        shard = Shard(clinic_table(100, 0), STUDY, key=b"key")
        return Hospital(policy, lambda study: shard, ledger, SecureNoise(), table=lambda: TABLE)

    def enrolled(self, north: Hospital) -> str:
        reply = north.handle(self.ENROLL)
        assert isinstance(reply, EnrollReply)
        return reply.reason

    def test_a_run_starts_with_the_second_approval(self, approvals: Approvals, ledger: Ledger) -> None:
        two = replace(approvals, quorum=Quorum(2))
        north = self.north(two, ledger)
        assert self.enrolled(north) == Reason.STUDY_NOT_APPROVED
        two.add(approved())
        assert self.enrolled(north) == Reason.APPROVAL_INCOMPLETE
        two.add(approved(OLA))
        assert self.enrolled(north) == Reason.ACCEPTED
        assert [entry.kind for entry in ledger.entries] == [Kind.OPEN, Kind.DECIDE, Kind.DECIDE, Kind.ENROLL]

    def test_withdrawal_ends_a_run_under_way(
        self, approvals: Approvals, ledger: Ledger, caplog: pytest.LogCaptureFixture
    ) -> None:
        north = self.north(approvals, ledger)
        approvals.add(approved())
        assert self.enrolled(north) == Reason.ACCEPTED
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)
        approvals.add(withdrawn())
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
        assert f"refused query.counts: {Reason.APPROVAL_WITHDRAWN}" in caplog.text
        assert ledger.entries[-1].kind == Kind.DECIDE
        assert self.enrolled(north) == Reason.APPROVAL_WITHDRAWN
        assert len(ledger.lines()) == 1

    def test_a_withdrawal_during_a_computation_holds_its_reply_back(
        self, approvals: Approvals, ledger: Ledger, caplog: pytest.LogCaptureFixture
    ) -> None:
        def opened(study: Study) -> Shard:
            approvals.add(withdrawn())
            return Shard(clinic_table(100, 0), study, key=b"key")

        north = Hospital(
            Policy("north", max_epsilon=5.0, delta=1e-4, consent=approvals),
            opened,
            ledger,
            SecureNoise(),
            table=lambda: TABLE,
        )
        approvals.add(approved())
        assert self.enrolled(north) == Reason.ACCEPTED
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
        assert f"refused query.counts: {Reason.APPROVAL_WITHDRAWN}" in caplog.text
        assert len(ledger.lines()) == 1  # what was computed stays charged

    def test_patients_after_records_are_refused(self, approvals: Approvals, ledger: Ledger) -> None:
        north, of_records = self.north(approvals, ledger), STUDY.amended(privacy={"unit": "record"})
        text, plan = of_records.to_toml(), make_plan(of_records).to_json()
        approvals.add(approved(run_id="run-0", study=of_records))
        approvals.add(approved())
        first = north.handle(EnrollRequest("run-0", text, of_records.fingerprint, plan, "{}"))
        assert isinstance(first, EnrollReply)
        assert first.reason == Reason.ACCEPTED
        assert self.enrolled(north) == Reason.UNIT_DIFFERS
        ledger.close_run("run-0")  # which released nothing
        assert self.enrolled(north) == Reason.ACCEPTED

    def test_expired_approvals_start_nothing_and_end_a_run(
        self, approvals: Approvals, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        north = self.north(approvals, ledger)
        approvals.add(approved())
        assert self.enrolled(north) == Reason.ACCEPTED

        class Later:
            @staticmethod
            def now(zone: object) -> datetime:
                return TODAY + timedelta(days=91)

        monkeypatch.setattr("client.consent.approvals.datetime", Later)
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
        assert f"refused query.counts: {Reason.APPROVAL_EXPIRED}" in caplog.text
        assert self.enrolled(north) == Reason.APPROVAL_EXPIRED
        approvals.add(approved(run_id="run-2"))
        reply = north.handle(replace(self.ENROLL, run_id="run-2"))
        assert isinstance(reply, EnrollReply)
        assert reply.reason == Reason.APPROVAL_EXPIRED


class TestTable:
    def test_an_approval_is_for_one_table(self, approvals: Approvals) -> None:
        approvals.add(approved())
        approvals.check("run-1", STUDY, PLAN, TABLE)
        with pytest.raises(PolicyRefusal, match="another table was imported since") as refusal:
            approvals.check("run-1", STUDY, PLAN, ANOTHER)
        assert refusal.value.reason == Reason.STUDY_NOT_APPROVED
        assert reason_of(lambda: approvals.check("run-2", STUDY, PLAN, TABLE)) == Reason.STUDY_NOT_APPROVED

    def test_four_eyes_must_look_at_the_same_table(self, approvals: Approvals) -> None:
        four = replace(approvals, quorum=Quorum(2))
        four.add(approved(KARI))
        four.add(over_another(OLA))
        for table in (TABLE, ANOTHER):
            with pytest.raises(PolicyRefusal):
                four.check("run-1", STUDY, PLAN, table)
        four.add(over_another(KARI))
        four.check("run-1", STUDY, PLAN, ANOTHER)

    def test_after_another_import_the_same_person_approves_again(self, approvals: Approvals) -> None:
        approvals.add(approved())
        with pytest.raises(SiteError, match="there is nothing to add"):
            approvals.add(approved())
        approvals.add(over_another(KARI))
        approvals.check("run-1", STUDY, PLAN, ANOTHER)

    def test_an_expired_approval_over_it_does_not_count(self, approvals: Approvals) -> None:
        """Two valid persons and two persons of this table are not two valid persons of this table."""
        four = replace(approvals, quorum=Quorum(2))
        expired = approved(KARI, days_ago=90).model_copy(update={"table_sha256": ANOTHER})
        for decision in (expired, approved(KARI), over_another(OLA)):
            four.add(decision)
        for table, reason in ((TABLE, Reason.STUDY_NOT_APPROVED), (ANOTHER, Reason.APPROVAL_EXPIRED)):
            assert reason_of(lambda table=table: four.check("run-1", STUDY, PLAN, table)) == reason  # type: ignore[misc]


class TestEnd:
    def test_a_forged_end_beyond_every_limit_is_refused(self, approvals: Approvals) -> None:
        approvals.add(approved())
        path = approvals.folder / "run-1.json"
        written = json.loads(path.read_text())
        written[0]["expires"] = (TODAY + timedelta(days=367)).isoformat()
        path.write_text(json.dumps(written))
        assert reason_of(lambda: approvals.check("run-1", STUDY, PLAN, TABLE)) == Reason.STUDY_NOT_APPROVED

    def test_an_end_beyond_the_sites_limit_counts_as_the_limit(self, approvals: Approvals) -> None:
        approvals.add(approved(days_ago=30))  # for 90 days
        approvals.check("run-1", STUDY, PLAN, TABLE)
        shorter = replace(approvals, quorum=Quorum(days=30))
        assert reason_of(lambda: shorter.check("run-1", STUDY, PLAN, TABLE)) == Reason.APPROVAL_EXPIRED
