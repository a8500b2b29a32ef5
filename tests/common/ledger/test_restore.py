"""What an old copy may have forgotten is charged, and the ledger goes on above every number that was ever shown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Kind, Ledger, Slot
from common.ledger.receipts import Receipt, Shown
from common.ledger.restore import reserved, unaccepted
from common.ledger.witness import Witness
from common.planning.planner import make_plan
from common.privacy import renyi
from common.privacy.events import DiscreteGaussianVector
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study

STUDY = clinic_study(training={"rounds": 2}, synthesizer={"pairs": 2}).with_hospitals(
    (HospitalFacts(name="north", declared_rows=100),), cap_minimum=True
)
PLAN = make_plan(STUDY)
EVENTS = PLAN.events(PLAN.hospitals[0])
SLOTS = tuple(Slot(STUDY.fingerprint, "run-1", name) for name in ("histograms", "coarse", "pairs"))


def old_copy(folder: Path) -> Path:
    """An old copy of a ledger in which two of five releases were charged; the witness has seen the third."""
    path = folder / "state" / "ledger.sqlite"
    with closing(Ledger(path, cohort="north", delta=1e-4)) as ledger:
        Witness(folder / "witness").create(ledger.head)
    with closing(Ledger(path, cohort="north", delta=1e-4, witness=folder / "witness")) as ledger:
        ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
        for slot, event in zip(SLOTS, EVENTS, strict=False):
            if slot == SLOTS[2]:
                shutil.copytree(path.parent, folder / "copy")
            ledger.charge(slot, "digest", event)
            ledger.store_reply(slot, b"reply")
    return folder / "copy" / "ledger.sqlite"


def opened(copy: Path) -> Ledger:
    """The old copy, opened in spite of the witness."""
    return Ledger(copy, cohort="north", delta=1e-4, witness=copy.parents[1] / "witness", is_restored=True)


def shown_ledger(folder: Path) -> Ledger:
    """A ledger to which a coordinator has shown a receipt."""
    ledger = Ledger(folder / "ledger.sqlite", cohort="north", delta=1e-4)
    ledger.enroll(
        "run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()), shown=Shown("ours", ledger.head)
    )
    ledger.enroll(
        "run-2", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()), shown=Shown("ours", ledger.head)
    )
    return ledger


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return old_copy(tmp_path)


@pytest.fixture
def restored(copy: Path) -> Iterator[Ledger]:
    with closing(opened(copy)) as ledger:
        yield ledger


def test_everything_reserved_counts_as_spent(restored: Ledger) -> None:
    events = reserved(restored, "north", {})
    assert events == {"run-1": EVENTS[2:]}
    entry = restored.accept_restore(events)
    assert sorted(map(repr, restored.events())) == sorted(map(repr, EVENTS))
    assert sorted(map(repr, restored.committed("north"))) == sorted(map(repr, EVENTS))
    assert restored.epsilon == entry.epsilon == pytest.approx(renyi.epsilon_rdp(EVENTS, 1e-4))


def test_runs_of_the_old_copy_are_closed(restored: Ledger) -> None:
    restored.accept_restore(reserved(restored, "north", {}))
    assert restored.open_runs() == ()
    for slot in SLOTS:
        with pytest.raises(PolicyRefusal) as refusal:
            restored.charge(slot, "digest", EVENTS[0])
        assert refusal.value.reason == Reason.RUN_CLOSED


def test_lost_runs_are_charged_and_never_begin_again(restored: Ledger) -> None:
    events = reserved(restored, "north", {"run-2": PLAN})
    assert events["run-2"] == EVENTS
    restored.accept_restore(events)
    assert len(restored.committed("north")) == 2 * len(EVENTS)
    with pytest.raises(PolicyRefusal):
        restored.enroll("run-2", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))


@pytest.mark.parametrize(
    ("run_id", "hospital", "said"),
    [("run-1", "north", "is in this"), ("run-2", "south", "run 'run-1' was accepted under another name than 'south'")],
)
def test_a_run_that_was_not_lost_is_refused(restored: Ledger, run_id: str, hospital: str, said: str) -> None:
    with pytest.raises(LedgerError, match=said):
        reserved(restored, hospital, {run_id: PLAN})


def test_a_lost_run_of_other_hospitals_is_refused(restored: Ledger) -> None:
    others = replace(PLAN, hospitals=(replace(PLAN.hospitals[0], hospital="south"),))
    with pytest.raises(LedgerError, match="run 'run-2' is not for 'north'"):
        reserved(restored, "north", {"run-2": others})


def test_the_witness_starts_again_and_an_older_copy_is_noticed(copy: Path, restored: Ledger) -> None:
    older = shutil.copytree(copy.parent, copy.parents[1] / "older")
    witness = copy.parents[1] / "witness"
    seen = Witness(witness).read()
    entry = restored.accept_restore(reserved(restored, "north", {}))
    assert (entry.kind, entry.counter) == (Kind.RESTORE, seen.counter + 1)
    assert Witness(witness).read() == restored.head == entry.receipt
    restored.close()
    with closing(Ledger(copy, cohort="north", delta=1e-4, witness=witness)) as again:
        assert again.entries == restored.entries
    with pytest.raises(LedgerError, match="an old copy of the state folder was restored"):
        Ledger(older / "ledger.sqlite", cohort="north", delta=1e-4, witness=witness)


def test_a_lost_witness_is_written_again(copy: Path, restored: Ledger) -> None:
    witness = copy.parents[1] / "witness"
    witness.unlink()
    entry = restored.accept_restore(reserved(restored, "north", {}), beyond=40)
    assert entry.counter == 41
    assert Witness(witness).read() == entry.receipt


def test_receipts_for_lost_entries_are_taken_and_no_others(restored: Ledger) -> None:
    lost = restored.head.counter + 1
    restored.accept_restore(reserved(restored, "north", {}), beyond=lost + 5)
    restored.check_receipt(Receipt(lost, "ab" * 32))
    restored.check_receipt(Receipt(lost + 5, "cd" * 32))
    for counter in (lost - 1, restored.head.counter, restored.head.counter + 1):
        with pytest.raises(PolicyRefusal):
            restored.check_receipt(Receipt(counter, "ab" * 32))


@pytest.mark.parametrize("counter", [-1, 2**53 + 1, 2**63, 2**64 - 1, 10**19, 1.0, True])
def test_a_receipt_names_a_number_that_ledgers_reach(counter: int) -> None:
    with pytest.raises(ValueError, match="not a number of entries"):
        Receipt(counter, "ab" * 32)


@pytest.mark.parametrize("head", ["", "ab" * 31, "ab" * 33, "AB" * 32, "xy" * 32])
def test_a_receipt_names_a_hash(head: str) -> None:
    with pytest.raises(ValueError, match="head is not 64 hex digits"):
        Receipt(1, head)


def test_numbers_that_no_ledger_reaches_are_refused(restored: Ledger, copy: Path) -> None:
    before = restored.head
    for beyond in (2**52 + 1, 2**63 - 2, 10**19):
        with pytest.raises(LedgerError, match=f"no ledger has {beyond} entries"):
            restored.accept_restore({}, beyond=beyond)
    assert restored.head == before
    assert restored.accept_restore({}, beyond=2**52).counter == 2**52 + 1
    restored.charge(Slot("0" * 64, "after", "histograms"), "q", DiscreteGaussianVector(10.0, 1))
    restored.close()
    with closing(opened(copy)) as again:
        assert again.head.counter == 2**52 + 2


def test_two_restores_are_two_entries(restored: Ledger) -> None:
    restored.accept_restore(reserved(restored, "north", {}))
    restored.accept_restore(reserved(restored, "north", {}))
    path, delta = restored.path, restored.delta
    restored.close()
    assert [entry.kind for entry in Ledger.view(path).entries[-2:]] == [Kind.RESTORE, Kind.RESTORE]
    assert Ledger.view(path).delta == delta


def test_a_run_closed_by_mistake_is_charged_when_it_is_named(copy: Path) -> None:
    with closing(Ledger(copy, cohort="north", delta=1e-4)) as without_witness:
        without_witness.close_run("run-1")
    with closing(opened(copy)) as restored:
        assert reserved(restored, "north", {}) == {}
        events = reserved(restored, "north", {"run-1": PLAN})
        assert events == {"run-1": EVENTS[2:]}
        restored.accept_restore(events)
        assert sorted(map(repr, restored.committed("north"))) == sorted(map(repr, EVENTS))


def test_a_run_of_another_plan_than_accepted_is_refused(copy: Path) -> None:
    with closing(Ledger(copy, cohort="north", delta=1e-4)) as without_witness:
        without_witness.close_run("run-1")
    smaller = make_plan(STUDY.amended(training={"rounds": 1}))
    with closing(opened(copy)) as restored, pytest.raises(LedgerError, match="accepted under another plan"):
        reserved(restored, "north", {"run-1": smaller})


def test_a_run_written_off_twice_is_charged_once(restored: Ledger) -> None:
    restored.accept_restore({"run-1": EVENTS[2:3]})
    again = reserved(restored, "north", {"run-1": PLAN})
    assert again == {"run-1": EVENTS[3:]}
    entry = restored.accept_restore(again)
    assert reserved(restored, "north", {"run-1": PLAN}) == {"run-1": ()}
    restored.accept_restore({"run-1": ()})
    for history in (restored, Ledger.view(restored.path)):
        assert sorted(map(repr, history.committed("north"))) == sorted(map(repr, EVENTS))
        assert history.epsilon == entry.epsilon == pytest.approx(renyi.epsilon_rdp(EVENTS, 1e-4))


def test_a_lost_run_written_off_twice_is_charged_once(restored: Ledger) -> None:
    restored.accept_restore(reserved(restored, "north", {"run-2": PLAN}))
    assert reserved(restored, "north", {"run-2": PLAN}) == {"run-2": ()}


@pytest.mark.parametrize("is_filed_only", [False, True])
def test_an_approved_run_never_begins(copy: Path, is_filed_only: bool) -> None:
    if not is_filed_only:
        with closing(Ledger(copy, cohort="north", delta=1e-4)) as before:
            before.decide(STUDY.fingerprint, "run-3", "{}")
    with closing(opened(copy)) as restored:
        events = reserved(restored, "north", {}, ["run-1", "run-3"] if is_filed_only else [])
        assert events == {"run-1": EVENTS[2:], "run-3": ()}
        restored.accept_restore(events)
        with pytest.raises(PolicyRefusal) as refusal:
            restored.enroll("run-3", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
        assert refusal.value.reason == Reason.RUN_CLOSED
        assert unaccepted(restored, ["run-3"]) == ()


def test_an_approved_run_that_was_lost_is_charged(restored: Ledger) -> None:
    events = reserved(restored, "north", {"run-3": PLAN}, ["run-3"])
    assert events == {"run-1": EVENTS[2:], "run-3": EVENTS}


@pytest.mark.parametrize(
    ("first", "second", "is_taken"),
    [
        ("patient", "record", True),
        ("record", "record", True),
        ("patient", "patient", True),
        ("record", "patient", False),
    ],
)
def test_a_ledger_about_records_takes_no_patients(tmp_path: Path, first: str, second: str, is_taken: bool) -> None:
    with closing(Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)) as ledger:
        study = STUDY.amended(privacy={"unit": first})
        ledger.enroll("run-1", Enrollment(study.fingerprint, study.to_toml(), make_plan(study).to_json()))
        if is_taken:
            ledger.check_unit(second)
        else:
            with pytest.raises(PolicyRefusal, match="holds run 'run-1', which is about records"):
                ledger.check_unit(second)


class TestShown:
    """What a coordinator shows of a ledger does not go back."""

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        with closing(shown_ledger(tmp_path)) as ledger:
            yield ledger

    def test_none_after_one_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(PolicyRefusal, match="showed a receipt for entry 1 before and shows none now") as refusal:
            ledger.check_shown(Shown("ours", None))
        assert refusal.value.reason == Reason.RECEIPT_MISSING

    def test_an_older_one_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(PolicyRefusal, match="shows one for entry 0 now"):
            ledger.check_shown(Shown("ours", ledger.entries[0].receipt))
        ledger.check_shown(Shown("ours", ledger.entries[1].receipt))

    def test_another_coordinator_may_show_none(self, ledger: Ledger) -> None:
        ledger.check_shown(Shown("theirs", None))

    def test_it_is_remembered_by_the_next_process(self, ledger: Ledger) -> None:
        with pytest.raises(PolicyRefusal):
            Ledger.view(ledger.path).check_shown(Shown("ours", None))

    def test_after_an_accepted_restore_it_starts_again(self, ledger: Ledger) -> None:
        ledger.accept_restore(reserved(ledger, "north", {}))
        ledger.check_shown(Shown("ours", None))
