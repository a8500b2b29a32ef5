"""What a hospital says to a run that asks it to enroll, before any record is read."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import Reason
from common.ledger.ledger import Ledger
from common.ledger.receipts import Receipt, receipts_to_json
from common.planning.planner import make_plan
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    EnrollReply,
    EnrollRequest,
    Request,
    Unavailable,
)
from common.protocol.signing import Identity
from tests.testbeds.clinic import clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.hospital_runs import (
    ASK,
    CANARY,
    ENROLL,
    NORTH,
    PLAN,
    STUDY,
    Broken,
    coarse_request,
    enrolled,
    hospital,
    never_opened,
    open_ledger,
    opener,
    reason_of,
    training_request,
)


def test_enrolling_reads_no_record(tmp_path: Path) -> None:
    replies = set()
    shards = [never_opened, opener(clinic_table(100, seed=0)), opener(clinic_table(3, seed=9)), lambda study: Broken()]
    for number, open_shard in enumerate(shards):
        ledger = open_ledger(tmp_path / f"{number}.sqlite")
        reply = hospital(ledger, open_shard=open_shard).handle(ENROLL)
        assert isinstance(reply, EnrollReply)
        assert reply.head == ledger.head.head
        replies.add(to_bytes(replace(reply, head="")))  # its hash covers the time and the ledger's random name
        ledger.close()
    assert len(replies) == 1


def test_enrolling_again_is_accepted_and_charges_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(ENROLL)) == Reason.ACCEPTED
    assert ledger.lines() == ()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(ENROLL, fingerprint="ab" * 32), Reason.STUDY_ALTERED),
        (replace(ENROLL, study=ENROLL.study.replace("seed = 11", "seed = 12")), Reason.STUDY_ALTERED),
        (replace(ENROLL, plan=replace(PLAN, fingerprint="ab" * 32).to_json()), Reason.STUDY_ALTERED),
        (replace(ENROLL, plan=replace(PLAN, vectors=PLAN.vectors[:-1]).to_json()), Reason.PLAN_MISMATCH),
        (replace(ENROLL, plan=replace(PLAN, hospitals=PLAN.hospitals[1:]).to_json()), Reason.UNKNOWN_HOSPITAL),
    ],
    ids=["fingerprint", "text", "another study's plan", "tampered plan", "without this hospital"],
)
def test_an_altered_study_or_plan_is_refused_with_the_reason(
    ledger: Ledger, request_: EnrollRequest, reason: Reason
) -> None:
    north = hospital(ledger)
    assert reason_of(north.handle(request_)) == reason
    assert isinstance(north.handle(ASK), Unavailable)


def test_the_policys_reason_is_what_travels(ledger: Ledger) -> None:
    north = hospital(ledger, policy=replace(NORTH, declared_rows=99))
    assert reason_of(north.handle(ENROLL)) == Reason.DECLARED_ROWS_DIFFER
    assert ledger.enrollment("run-1") is None


REFUSING = {
    Reason.UNKNOWN_HOSPITAL: replace(NORTH, hospital="east"),
    Reason.STUDY_NOT_APPROVED: replace(NORTH, consent=None),
    Reason.DECLARED_ROWS_DIFFER: replace(NORTH, declared_rows=99),
    Reason.TOO_FEW_ROWS: replace(NORTH, min_rows=101),
    Reason.DELTA_TOO_LARGE: replace(NORTH, delta=9e-5),
    Reason.PHASE_NOT_ALLOWED: replace(NORTH, phases=frozenset({"histograms", "coarse"})),
    Reason.EPSILON_ABOVE_CAP: replace(NORTH, max_epsilon=2.9),
}


@pytest.mark.parametrize("reason", REFUSING)
def test_a_refusal_is_decided_before_any_record_is_read(reason: Reason, ledger: Ledger) -> None:
    north = hospital(ledger, policy=REFUSING[reason], open_shard=never_opened)
    assert reason_of(north.handle(ENROLL)) == reason
    for request in (ASK, coarse_request(), training_request()):
        assert isinstance(north.handle(request), Unavailable)
    assert ledger.runs() == ()


def test_run_beyond_the_lifetime_budget_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = open_ledger(path)
    assert reason_of(hospital(first, policy=replace(NORTH, max_epsilon=3.0)).handle(ENROLL)) == Reason.ACCEPTED
    first.close()
    second = open_ledger(path)
    north = hospital(second, policy=replace(NORTH, max_epsilon=3.0), open_shard=never_opened)
    assert reason_of(north.handle(replace(ENROLL, run_id="run-2"))) == Reason.BUDGET_EXHAUSTED
    assert second.runs() == ("run-1",)
    second.close()


INJECTED = "run-1\n2026-11-22 INFO north: accepted run 7"


@pytest.mark.parametrize(
    "request_",
    [
        replace(ENROLL, run_id=INJECTED),
        replace(ENROLL, run_id="../../run-1"),
        replace(ENROLL, run_id="x" * 65),
        replace(ENROLL, fingerprint=INJECTED),
        replace(ENROLL, study=ENROLL.study + "#" * 1_000_000),
        replace(ENROLL, plan=" " * 1_000_001),
        replace(ENROLL, receipts=" " * 1_000_001),
        replace(ENROLL, receipts=INJECTED),
        replace(ASK, run_id=INJECTED),
        replace(coarse_request(), phase=INJECTED),
    ],
    ids=range(10),
)
def test_malformed_texts_get_no_answer_and_reach_no_log(
    request_: Request, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    north = hospital(ledger)
    assert to_bytes(north.handle(request_)) == to_bytes(Unavailable("north"))
    assert "accepted run 7" not in caplog.text
    assert ledger.runs() == ()


def test_a_run_cannot_change_its_plan_after_enrollment(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(replace(ENROLL, plan=ENROLL.plan + " "))) == Reason.PLAN_MISMATCH


@pytest.mark.parametrize("text", ["", "not toml [", "[study]", CANARY])
def test_texts_that_are_no_study_or_plan_get_no_answer(ledger: Ledger, text: str) -> None:
    north = hospital(ledger)
    for request in (replace(ENROLL, study=text), replace(ENROLL, plan=text)):
        assert to_bytes(north.handle(request)) == to_bytes(Unavailable("north"))


def test_runs_without_charges_share_one_cap(ledger: Ledger) -> None:
    north = hospital(ledger, policy=replace(NORTH, max_epsilon=3.0))
    reasons = [reason_of(north.handle(replace(ENROLL, run_id=f"run-{number}"))) for number in range(3)]
    assert reasons == [Reason.ACCEPTED, Reason.BUDGET_EXHAUSTED, Reason.BUDGET_EXHAUSTED]


def test_a_receipt_that_the_ledger_lacks_is_refused(ledger: Ledger) -> None:
    shown = receipts_to_json({"north": Receipt(7, "0" * 64)})
    assert reason_of(hospital(ledger).handle(replace(ENROLL, receipts=shown))) == Reason.LEDGER_BEHIND


def test_a_coordinator_that_shows_its_receipt_no_more_is_refused(ledger: Ledger) -> None:
    study = STUDY.amended(federation={"coordinator": Identity.simulated(1, "coordinator").public})
    plan, shown = make_plan(study).to_json(), receipts_to_json({"north": ledger.head})
    north = hospital(ledger, policy=replace(NORTH, max_epsilon=100.0, consent=agreed_to(study)))
    first = EnrollRequest("run-1", study.to_toml(), study.fingerprint, plan, shown)
    assert reason_of(north.handle(first)) == Reason.ACCEPTED
    ledger.close_run("run-1")
    assert reason_of(north.handle(replace(first, run_id="run-2", receipts="{}"))) == Reason.RECEIPT_MISSING
