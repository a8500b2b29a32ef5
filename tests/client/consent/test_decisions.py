from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from client.consent.decisions import Decision, Person, Quorum, Subject, standing
from common.errors import Reason, SiteError
from common.ledger.receipts import Receipt

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
STUDY, PLAN, OTHER = "a" * 64, "b" * 64, "c" * 64


def approved(name: str = "Kari Nordmann", *, days: int = 90, at: datetime = NOW, plan: str = PLAN) -> Decision:
    return Decision(
        kind="approve",
        run_id="run-1",
        study="clinic",
        fingerprint=STUDY,
        plan_sha256=plan,
        table_sha256=OTHER,
        statement=OTHER,
        person=Person(name=name, position="data protection officer", reason="ethics vote 12"),
        ledger=Receipt(3, OTHER),
        time=at,
        expires=at + timedelta(days=days),
    )


def withdrawn(name: str = "Ola Nordmann") -> Decision:
    person = Person(name=name, position="head of registry")
    return approved().model_copy(update={"kind": "withdraw", "person": person, "statement": None, "expires": None})


def reason(*decisions: Decision, approvers: int = 1, now: datetime = NOW) -> Reason:
    return standing(decisions, Subject(STUDY, PLAN, OTHER), Quorum(approvers), now)


class TestStanding:
    def test_one_person_suffices_where_one_is_needed(self) -> None:
        assert reason() == Reason.STUDY_NOT_APPROVED
        assert reason(approved()) == Reason.ACCEPTED

    def test_four_eyes_are_those_of_two_persons(self) -> None:
        assert reason(approved(), approvers=2) == Reason.APPROVAL_INCOMPLETE
        assert reason(approved(), approved("Ola Nordmann"), approvers=2) == Reason.ACCEPTED
        assert reason(approved(), approved("kari  NORDMANN"), approvers=2) == Reason.APPROVAL_INCOMPLETE

    def test_an_approval_ends_at_its_last_second(self) -> None:
        end = NOW + timedelta(days=90)
        assert reason(approved(), now=end - timedelta(seconds=1)) == Reason.ACCEPTED
        assert reason(approved(), now=end) == Reason.APPROVAL_EXPIRED
        assert reason(approved(), approved(at=end), now=end) == Reason.ACCEPTED

    def test_with_two_persons_the_first_approval_that_ends_counts(self) -> None:
        both = (approved(days=30), approved("Ola Nordmann"))
        assert reason(*both, approvers=2, now=NOW + timedelta(days=30)) == Reason.APPROVAL_EXPIRED

    def test_one_withdrawal_outweighs_all_approvals(self) -> None:
        assert reason(approved(), withdrawn()) == Reason.APPROVAL_WITHDRAWN
        assert reason(withdrawn(), approved(), approved("Ola Nordmann"), approvers=2) == Reason.APPROVAL_WITHDRAWN

    def test_an_approval_of_another_plan_is_none(self) -> None:
        assert reason(approved(plan=OTHER)) == Reason.STUDY_NOT_APPROVED
        assert standing((approved(),), Subject(OTHER, PLAN, OTHER), Quorum(), NOW) == Reason.STUDY_NOT_APPROVED


class TestEnd:
    @pytest.mark.parametrize(
        "decision", [approved().model_copy(update={"expires": None}), withdrawn().model_copy(update={"expires": NOW})]
    )
    def test_an_approval_has_one_and_a_refusal_none(self, decision: Decision) -> None:
        with pytest.raises(ValidationError, match="an approval has a date on which it ends, and a refusal has none"):
            Decision.model_validate_json(decision.model_dump_json())

    def test_a_withdrawal_is_no_valid_approval(self) -> None:
        assert approved().is_valid(NOW, 90)
        assert not withdrawn().is_valid(NOW, 90)


class TestPerson:
    def test_letter_forms_make_no_second_person(self) -> None:
        assert Person(name="\uff2bari Nordmann", position="x").key == Person(name="KARI NORDMANN", position="y").key

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ((" ", "officer", ""), "--approver: string should have at least 1 character"),
            (("Kari", "", ""), "--position: string should have at least 1 character"),
            (("Kari", "officer", "x" * 1001), "--reason: string should have at most 1000 characters"),
            (("Kari\u202e", "officer", ""), "--approver: the character U+202E cannot be printed"),
        ],
    )
    def test_an_unusable_text_is_named_by_its_option(self, fields: tuple[str, str, str], words: str) -> None:
        with pytest.raises(SiteError) as problem:
            Person.named(*fields)
        assert words in str(problem.value)


def test_decision_in_words_names_person_end_and_reason() -> None:
    assert approved().words == ("approved by Kari Nordmann, data protection officer, until 2027-02-27 (ethics vote 12)")
    assert withdrawn().words == "withdrawn by Ola Nordmann, head of registry"


def test_decision_survives_the_ledger_as_json() -> None:
    for decision in (approved(), withdrawn()):
        assert Decision.model_validate_json(decision.model_dump_json()) == decision
