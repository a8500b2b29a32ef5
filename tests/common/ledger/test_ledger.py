from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Ledger, Slot
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy import lifetime, renyi
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Event, Unprotected
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study

SLOT = Slot("ab" * 32, "run-1", "rounds", 1)
EVENT = DpSgdRun(1.1, 0.1, 20)
DELTA = 1e-5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = opened_at(path)
    yield opened
    opened.close()


def opened_at(path: Path) -> Ledger:
    return Ledger(path, cohort="north", delta=DELTA)


def release(ledger: Ledger, slot: Slot, event: Event = EVENT) -> None:
    ledger.charge(slot, "digest", event)
    ledger.store_reply(slot, b"reply")


@pytest.mark.parametrize(
    ("phase", "number", "attempt", "words"),
    [
        ("histograms", 0, 0, "histograms"),
        ("coarse", 0, 0, "pairs of columns in groups"),
        ("histograms", 0, 1, "histograms"),
        ("pairs", 0, 2, "pairs of columns again (attempt 2)"),
        ("rounds", 3, 0, "training round 3"),
        ("rounds", 3, 1, "training round 3"),
        ("rounds", 3, 2, "training round 3 (attempt 2)"),
        ("older", 0, 0, "older"),
    ],
)
def test_a_slot_has_words_for_readers(phase: str, number: int, attempt: int, words: str) -> None:
    slot = Slot("ab" * 32, "run-1", phase, number, attempt)
    assert slot.words(None) == words
    assert slot.is_masked == (attempt > 0)


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
    ledger.store_reply(SLOT, b"\x00reply")
    answer = ledger.stored_reply(SLOT, "digest")
    assert answer is not None
    assert answer.reply == b"\x00reply"
    assert answer == ledger.stored_reply(SLOT, "digest")
    assert ledger.lines()[0].is_answered


def test_charging_the_same_request_twice_writes_one_line(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    ledger.charge(SLOT, "digest", EVENT)
    assert ledger.events() == (EVENT,)


def test_another_request_for_a_paid_slot_is_refused(ledger: Ledger) -> None:
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
        replace(SLOT, phase="histograms"),
        replace(SLOT, attempt=1),
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
        ledger.store_reply(SLOT, b"reply")
    assert ledger.lines() == ()


def test_the_first_reply_stands(ledger: Ledger) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    first = ledger.store_reply(SLOT, b"first noise")
    # Two replies with fresh noise each would be two releases at the price of one.
    with pytest.raises(PolicyRefusal):
        ledger.store_reply(SLOT, b"second noise")
    assert ledger.stored_reply(SLOT, "digest") == first
    assert ledger.events() == (EVENT,)


def test_everything_survives_the_process(ledger: Ledger, path: Path) -> None:
    ledger.enroll("run-1", Enrollment(SLOT.fingerprint, "study", "plan"))
    ledger.charge(SLOT, "digest", EVENT)
    answer = ledger.store_reply(SLOT, b"reply")
    ledger.charge(replace(SLOT, round=2), "digest-2", EVENT)
    before = ledger.entries
    ledger.close()
    again = opened_at(path)
    assert again.entries == before
    assert again.enrollment("run-1") == Enrollment(SLOT.fingerprint, "study", "plan")
    assert again.stored_reply(SLOT, "digest") == answer
    assert [(line.slot.round, line.is_answered) for line in again.lines()] == [(1, True), (2, False)]
    assert again.events() == (EVENT, EVENT)
    again.close()


def test_view_shows_a_charge_and_needs_no_lock(ledger: Ledger, path: Path) -> None:
    ledger.charge(SLOT, "digest", EVENT)
    seen = Ledger.view(path)
    assert seen.events() == (EVENT,)
    assert (seen.cohort, seen.delta, seen.head) == ("north", DELTA, ledger.head)


def test_second_writer_is_locked_out_by_process_id(ledger: Ledger, path: Path) -> None:
    with pytest.raises(LedgerError, match=rf"held by process {os.getpid()}; .* stop that process or wait"):
        opened_at(path)
    ledger.charge(SLOT, "digest", EVENT)  # the one who holds it is not disturbed
    ledger.close()
    opened_at(path).close()


def test_another_process_is_locked_out_too(ledger: Ledger, path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from common.ledger.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1]), cohort='north', delta=1e-5)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"is held by process {os.getpid()}" in done.stderr


@pytest.mark.parametrize(("cohort", "delta"), [("south", DELTA), ("north", 1e-6)])
def test_cohort_and_delta_are_fixed_when_a_ledger_is_made(
    ledger: Ledger, path: Path, cohort: str, delta: float
) -> None:
    ledger.close()
    with pytest.raises(LedgerError, match=r"belongs to cohort 'north' at delta = 1e-05, not to"):
        Ledger(path, cohort=cohort, delta=delta)
    opened_at(path).close()  # the refused one let go of the lock


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    path.parent.mkdir()
    for version, table in ((0, "releases"), (1, "entries"), (3, "entries")):
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"CREATE TABLE {table} (line INTEGER)")
            database.execute(f"PRAGMA user_version = {version}")
        for look in (opened_at, Ledger.view):
            with pytest.raises(LedgerError, match=f"has format {version} and this version of fedsynth reads 2"):
                look(path)
        path.unlink()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    for look in (opened_at, Ledger.view):
        with pytest.raises(LedgerError, match="cannot be read"):
            look(path)


def test_a_view_of_nothing_says_so_and_makes_nothing(path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.view(path)
    assert not path.parent.exists()


def test_every_line_holds_the_epsilon_of_all_lines_up_to_it(ledger: Ledger) -> None:
    events: list[Event] = [DiscreteGaussianVector(8.0, 5), EVENT, EVENT]
    for number, event in enumerate(events):
        release(ledger, replace(SLOT, round=number), event)
    expected = [renyi.epsilon_rdp(events[:count], DELTA) for count in (1, 2, 3)]
    assert [line.epsilon for line in ledger.lines()] == pytest.approx(expected)
    assert ledger.epsilon == ledger.lines()[-1].epsilon
    release(ledger, replace(SLOT, round=3), Unprotected())
    assert ledger.epsilon == math.inf


def test_receipts_count_entries_and_every_entry_has_another_head(ledger: Ledger) -> None:
    heads = [ledger.head]
    heads.append(ledger.charge(SLOT, "digest", EVENT))
    assert ledger.charge(SLOT, "digest", EVENT) == heads[-1]
    heads.append(ledger.store_reply(SLOT, b"reply").receipt)
    assert [head.counter for head in heads] == [0, 1, 2]
    assert len({head.head for head in heads}) == 3
    assert ledger.head == heads[-1]
    for head in heads:
        ledger.check_receipt(head)  # every earlier receipt stays good


def test_ledgers_with_equal_content_have_different_heads(tmp_path: Path) -> None:
    # Otherwise a head would tell one coordinator what another one asked for.
    heads = set()
    for name in ("one", "other"):
        ledger = opened_at(tmp_path / f"{name}.sqlite")
        heads.add(ledger.head.head)
        ledger.close()
    assert len(heads) == 2


def test_the_database_itself_refuses_to_change_or_remove_a_row(ledger: Ledger, path: Path) -> None:
    release(ledger, SLOT)
    ledger.close()
    with closing(sqlite3.connect(path)) as database:
        for statement in (
            "UPDATE entries SET epsilon = 0",
            "DELETE FROM entries",
            "UPDATE replies SET reply = x'00'",
            "DELETE FROM replies",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="only appended to"):
                database.execute(statement)


def test_a_run_is_enrolled_under_one_study_and_plan_only(ledger: Ledger) -> None:
    assert ledger.enrollment("run-1") is None
    ledger.enroll("run-1", Enrollment("ab", "study", "plan"))
    ledger.enroll("run-1", Enrollment("ab", "study", "plan"))
    for study, plan in (("study", "other"), ("other", "plan")):
        with pytest.raises(PolicyRefusal) as refusal:
            ledger.enroll("run-1", Enrollment("ab", study, plan))
        assert refusal.value.reason == Reason.PLAN_MISMATCH
    assert ledger.enrollment("run-1") == Enrollment("ab", "study", "plan")


def test_a_run_is_answered_from_one_table_only(ledger: Ledger) -> None:
    ledger.enroll("run-1", Enrollment("ab", "study", "plan", "c0ffee"))
    ledger.enroll("run-1", Enrollment("ab", "study", "plan", "c0ffee"))
    with pytest.raises(PolicyRefusal, match="another table was imported since the run began"):
        ledger.enroll("run-1", Enrollment("ab", "study", "plan", "decade"))
    assert ledger.table("run-1") == "c0ffee"


def test_threads_that_charge_the_same_slot_write_one_line(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.charge(SLOT, "digest", EVENT), range(40)))
    assert ledger.events() == (EVENT,)


STUDY = clinic_study(training={"rounds": 2, "steps": 10}).with_hospitals(
    (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
)
PLAN = make_plan(STUDY)
PLANNED = PLAN.events(PLAN.hospitals[0])


def enroll(ledger: Ledger, run_id: str, plan: Plan = PLAN) -> None:
    ledger.enroll(run_id, Enrollment(plan.fingerprint, STUDY.to_toml(), plan.to_json()))


def test_open_run_reserves_its_plan_and_closed_run_its_charges(ledger: Ledger) -> None:
    for run_id in ("run-1", "run-2"):
        enroll(ledger, run_id)
    assert ledger.committed("north", 20.0) == PLANNED + PLANNED
    release(ledger, Slot(PLAN.fingerprint, "run-1", "histograms"), PLANNED[0])
    assert ledger.committed("north", 20.0) == PLANNED + PLANNED
    for run_id in ("run-1", "run-2"):
        ledger.close_run(run_id)
    assert ledger.committed("north", 20.0) == PLANNED[:1]


def test_first_run_at_the_cap_stays_reserved_when_closed(ledger: Ledger) -> None:
    # The plan costs 3.0 by PLD and more by RDP: the filter of a cap of 3.0 could not have taken it.
    assert not lifetime.fits_filter(PLANNED, 3.0, DELTA)
    enroll(ledger, "run-1")
    release(ledger, Slot(PLAN.fingerprint, "run-1", "histograms"), PLANNED[0])
    ledger.close_run("run-1")
    assert ledger.committed("north", 3.0) == PLANNED
    assert ledger.committed("north", 20.0) == PLANNED[:1]


def test_first_run_without_releases_is_freed_when_closed(ledger: Ledger) -> None:
    enroll(ledger, "run-1")
    ledger.close_run("run-1")
    assert ledger.committed("north", 3.0) == ()


def test_a_line_without_an_enrollment_is_committed_too(ledger: Ledger) -> None:
    release(ledger, SLOT)
    assert ledger.committed("north") == (EVENT,)


def test_a_closed_run_gets_nothing_more(ledger: Ledger, path: Path) -> None:
    enroll(ledger, "run-1")
    first, second = (Slot(PLAN.fingerprint, "run-1", "rounds", number) for number in (1, 2))
    release(ledger, first)
    ledger.charge(second, "digest", EVENT)
    ledger.close_run("run-1")
    entries = ledger.entries
    for refused in (
        lambda: ledger.stored_reply(first, "digest"),
        lambda: ledger.charge(replace(first, round=3), "digest", EVENT),
        lambda: ledger.store_reply(second, b"reply"),
        lambda: enroll(ledger, "run-1"),
    ):
        with pytest.raises(PolicyRefusal) as refusal:
            refused()
        assert refusal.value.reason == Reason.RUN_CLOSED
    assert ledger.entries == entries
    ledger.close()
    assert Ledger.view(path).is_closed("run-1")


def test_only_a_known_open_run_can_be_closed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"run 'run-1' was never accepted"):
        ledger.close_run("run-1")
    enroll(ledger, "run-1")
    ledger.close_run("run-1")
    with pytest.raises(LedgerError, match="closed already"):
        ledger.close_run("run-1")


def test_text_from_a_server_is_a_value_and_never_a_command(ledger: Ledger) -> None:
    name = "'); DROP TABLE releases; --"
    ledger.enroll(name, Enrollment(name, name, name))
    ledger.charge(replace(SLOT, run_id=name), name, EVENT)
    assert ledger.enrollment(name) == Enrollment(name, name, name)
    assert ledger.lines()[0].slot.run_id == name


def test_renamed_hospital_keeps_what_it_reserved(ledger: Ledger) -> None:
    ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
    with pytest.raises(LedgerError, match="under another name than 'north-clinic'"):
        ledger.committed("north-clinic", 20.0)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, float("nan")])
def test_a_delta_that_is_no_probability_is_refused(tmp_path: Path, delta: float) -> None:
    with pytest.raises(LedgerError, match="is not between 0 and 1"):
        Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=delta)
    assert not (tmp_path / "ledger.sqlite").exists()


def test_an_empty_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(LedgerError, match="is empty"):
        Ledger.view(tmp_path / "ledger.sqlite")
