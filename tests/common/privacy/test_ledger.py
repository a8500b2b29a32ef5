from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import PolicyRefusal, Reason
from common.privacy.events import DiscreteGaussianVector, DpSgdRun
from common.privacy.ledger import Ledger, Slot

SLOT = Slot("ab" * 32, "run-1", "train.round", 1)
EVENT = DpSgdRun(1.1, 0.1, 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(path)
    yield opened
    opened.close()


def reopened(path: Path) -> Ledger:
    return Ledger(path)


def test_a_new_ledger_is_empty_and_makes_its_folder(ledger: Ledger, path: Path) -> None:
    assert path.exists()
    assert ledger.lines() == ()
    assert ledger.events() == ()


def test_a_charge_is_a_line_before_there_is_a_reply(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    (line,) = ledger.lines()
    assert (line.slot, line.event, line.is_answered) == (SLOT, EVENT, False)
    assert ledger.stored_reply(SLOT, "digest") is None


def test_a_kept_reply_is_given_again_byte_for_byte(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    ledger.keep(SLOT, b"\x00reply")
    assert ledger.stored_reply(SLOT, "digest") == b"\x00reply"
    assert ledger.lines()[0].is_answered


def test_charging_the_same_request_twice_writes_one_line(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    ledger.charge(SLOT, "digest", EVENT)
    assert ledger.events() == (EVENT,)


def test_another_request_for_a_paid_slot_is_refused_and_charges_nothing(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    with pytest.raises(PolicyRefusal) as refusal:
        ledger.charge(SLOT, "another", EVENT)
    assert refusal.value.reason == Reason.PLAN_MISMATCH
    with pytest.raises(PolicyRefusal) as refusal:
        ledger.stored_reply(SLOT, "another")
    assert refusal.value.reason == Reason.PLAN_MISMATCH
    assert ledger.events() == (EVENT,)


@pytest.mark.parametrize(
    "other",
    [
        replace(SLOT, round=2),
        replace(SLOT, phase="query.histograms"),
        replace(SLOT, run_id="run-2"),
        replace(SLOT, fingerprint="cd" * 32),
    ],
)
def test_every_slot_is_charged_on_its_own(ledger: Ledger, other: Slot) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    assert ledger.stored_reply(other, "digest") is None
    ledger.charge(other, "digest", DiscreteGaussianVector(3.0, 2))
    assert ledger.events() == (EVENT, DiscreteGaussianVector(3.0, 2))


def test_a_reply_without_a_charge_is_refused(ledger: Ledger) -> None:
    with pytest.raises(PolicyRefusal):
        ledger.keep(SLOT, b"reply")
    assert ledger.lines() == ()


def test_the_first_reply_stands_where_two_processes_computed_one_for_the_same_charge(
    ledger: Ledger, path: Path
) -> None:
    other = reopened(path)
    ledger.charge(SLOT, "digest", EVENT)
    other.charge(SLOT, "digest", EVENT)
    other.keep(SLOT, b"first noise")
    # Two replies with fresh noise each would be two releases at the price of one.
    with pytest.raises(PolicyRefusal):
        ledger.keep(SLOT, b"second noise")
    assert ledger.stored_reply(SLOT, "digest") == b"first noise"
    assert ledger.events() == (EVENT,)
    other.close()


def test_everything_survives_the_process(ledger: Ledger, path: Path) -> None:
    ledger.enrol("run-1", SLOT.fingerprint, "study", "plan")
    ledger.charge(SLOT, "digest", EVENT)
    ledger.keep(SLOT, b"reply")
    ledger.charge(replace(SLOT, round=2), "digest-2", EVENT)
    ledger.close()
    again = reopened(path)
    assert again.enrolment("run-1") == ("study", "plan")
    assert again.stored_reply(SLOT, "digest") == b"reply"
    assert [(line.slot.round, line.is_answered) for line in again.lines()] == [(1, True), (2, False)]
    assert again.events() == (EVENT, EVENT)
    again.close()


def test_a_charge_is_seen_by_another_reader_before_anything_is_computed(ledger: Ledger, path: Path) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    other = reopened(path)
    assert other.events() == (EVENT,)
    other.close()


def test_a_run_is_enrolled_under_one_study_and_plan_only(ledger: Ledger) -> None:
    assert ledger.enrolment("run-1") is None
    ledger.enrol("run-1", "ab", "study", "plan")
    ledger.enrol("run-1", "ab", "study", "plan")
    for study, plan in (("study", "other"), ("other", "plan")):
        with pytest.raises(PolicyRefusal) as refusal:
            ledger.enrol("run-1", "ab", study, plan)
        assert refusal.value.reason == Reason.PLAN_MISMATCH
    assert ledger.enrolment("run-1") == ("study", "plan")


def test_threads_that_charge_the_same_slot_write_one_line(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.charge(SLOT, "digest", EVENT), range(40)))
    assert ledger.events() == (EVENT,)


def test_text_from_a_server_is_a_value_and_never_a_command(ledger: Ledger) -> None:
    name = "'); DROP TABLE releases; --"
    ledger.enrol(name, name, name, name)
    ledger.charge(replace(SLOT, run_id=name), name, EVENT)
    assert ledger.enrolment(name) == (name, name)
    assert ledger.lines()[0].slot.run_id == name
