"""Somebody alters a ledger behind the agent's back. Each way is noticed, and the text says which it was."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Entry, Ledger, Slot
from common.privacy.events import DiscreteGaussianVector

SLOTS = tuple(Slot("ab" * 32, "run-1", "rounds", number) for number in (1, 2, 3))
FREE = ("entries_UPDATE", "entries_DELETE", "replies_UPDATE", "replies_DELETE")

Look = Callable[[Path], object]


def opened_at(path: Path) -> Ledger:
    return Ledger(path, cohort="north", delta=1e-5)


def view(path: Path) -> object:
    return Ledger.view(path, with_replies=True)


LOOKS = pytest.mark.parametrize("look", [opened_at, view], ids=["agent", "verify"])


def release(ledger: Ledger, slot: Slot) -> None:
    ledger.charge(slot, "digest", DiscreteGaussianVector(8.0, 2))
    ledger.store_reply(slot, b"reply %d" % slot.round)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of eight entries: opening, enrollment, and three releases of two entries each."""
    ledger = opened_at(tmp_path / "ledger.sqlite")
    ledger.enroll("run-1", Enrollment("ab" * 32, "study", "plan"))
    for slot in SLOTS:
        release(ledger, slot)
    ledger.close()
    return tmp_path / "ledger.sqlite"


def head_of(path: Path) -> Path:
    return path.with_suffix(".head.json")


def tamper(path: Path, *statements: str) -> None:
    """As somebody with the file and the time to remove the triggers."""
    with closing(sqlite3.connect(path)) as database:
        for trigger in FREE:
            database.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            database.execute(statement)
        database.commit()


@LOOKS
@pytest.mark.parametrize(
    "change",
    [
        "content = replace(content, '8.0', '80.0')",
        "epsilon = 0.01",
        "time = '2020-01-01T00:00:00+00:00'",
        "cohort = 'south'",
        "run_id = 'run-2'",
        "phase = 'histograms'",
        "attempt = 2",
        "round = 7",
        "fingerprint = 'cd'",
        "request = 'another'",
        "kind = 'close'",
        "hash = previous",
    ],
)
def test_a_changed_row_is_noticed(path: Path, look: Look, change: str) -> None:
    tamper(path, f"UPDATE entries SET {change} WHERE counter = 4")
    with pytest.raises(LedgerError, match=r"entry 4 was changed after it was written"):
        look(path)


@LOOKS
def test_a_changed_enrollment_is_noticed(path: Path, look: Look) -> None:
    # An enrollment reserves budget, so it is part of the chain as much as a charge is.
    tamper(path, "UPDATE entries SET content = replace(content, 'plan', 'a cheaper plan') WHERE counter = 1")
    with pytest.raises(LedgerError, match=r"entry 1 was changed"):
        look(path)


@LOOKS
@pytest.mark.parametrize("counter", [0, 1, 4, 6])
def test_a_removed_row_is_noticed(path: Path, look: Look, counter: int) -> None:
    tamper(path, f"DELETE FROM entries WHERE counter = {counter}")
    with pytest.raises(LedgerError, match=rf"entry {counter} is missing: it was removed"):
        look(path)


@LOOKS
def test_reordered_rows_are_noticed(path: Path, look: Look) -> None:
    swap = "UPDATE entries SET counter = {} WHERE counter = {}"
    tamper(path, swap.format(99, 4), swap.format(4, 2), swap.format(2, 99))
    with pytest.raises(LedgerError, match=r"entry 2 does not follow the one before it: entries were reordered"):
        look(path)


@LOOKS
@pytest.mark.parametrize("left", [7, 6, 1])
def test_rows_cut_off_at_the_end_are_noticed(path: Path, look: Look, left: int) -> None:
    tamper(path, f"DELETE FROM entries WHERE counter >= {left}")
    with pytest.raises(LedgerError, match=rf"it ends at entry {left - 1} and its head file names entry 7: .* cut off"):
        look(path)


@LOOKS
def test_a_table_without_rows_is_noticed(path: Path, look: Look) -> None:
    tamper(path, "DELETE FROM entries")
    with pytest.raises(LedgerError, match="every entry was removed"):
        look(path)


@LOOKS
def test_entries_written_anew_with_fitting_hashes_are_noticed(path: Path, look: Look) -> None:
    entries = list(Ledger.view(path).entries)
    entries[4] = replace(entries[4], content=entries[4].content.replace("8.0", "80.0")).with_hash()
    for place in range(5, len(entries)):
        entries[place] = replace(entries[place], previous=entries[place - 1].hash).with_hash()
    rewrite(path, entries)
    with pytest.raises(LedgerError, match="its head file names another history"):
        look(path)


def rewrite(path: Path, entries: list[Entry]) -> None:
    tamper(path, "DELETE FROM entries")
    with closing(sqlite3.connect(path)) as database:
        marks = ", ".join("?" * len(entries[0].row()))
        database.executemany(f"INSERT INTO entries VALUES ({marks})", [entry.row() for entry in entries])
        database.commit()


@LOOKS
def test_a_deleted_head_file_is_noticed(path: Path, look: Look) -> None:
    head_of(path).unlink()
    with pytest.raises(LedgerError, match="its head file is missing: it was deleted"):
        look(path)


@LOOKS
def test_the_head_file_of_another_ledger_is_noticed(path: Path, look: Look) -> None:
    other = opened_at(path.parent / "other" / "ledger.sqlite")
    for slot in SLOTS:
        release(other, slot)
    other.close()
    shutil.copyfile(path.parent / "other" / "ledger.head.json", head_of(path))
    with pytest.raises(LedgerError, match="its head file names another history: it belongs to another ledger"):
        look(path)


@LOOKS
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"counter": 7}', '{"counter": -1, "head": "' + "0" * 64 + '"}'])
def test_a_malformed_head_file_is_noticed(path: Path, look: Look, text: str) -> None:
    head_of(path).write_text(text)
    with pytest.raises(LedgerError, match="is not a head file"):
        look(path)


@LOOKS
def test_an_old_head_file_is_noticed(path: Path, look: Look) -> None:
    old = Ledger.view(path).entries[3].receipt
    head_of(path).write_text(json.dumps({"counter": old.counter, "head": old.head}))
    with pytest.raises(LedgerError, match="an old copy of the head file was restored"):
        look(path)


@LOOKS
def test_an_old_database_under_the_present_head_file_is_noticed(path: Path, look: Look) -> None:
    old = path.read_bytes()
    ledger = opened_at(path)
    release(ledger, replace(SLOTS[0], round=4))
    ledger.close()
    path.write_bytes(old)
    with pytest.raises(LedgerError, match="an old copy of the database was restored"):
        look(path)


@LOOKS
@pytest.mark.parametrize("is_gone", [True, False], ids=["deleted", "empty"])
def test_a_database_that_is_gone_beside_its_head_file_is_noticed(path: Path, look: Look, is_gone: bool) -> None:
    path.unlink()
    if not is_gone:
        path.touch()
    with pytest.raises(LedgerError, match="is gone or empty beside its head file"):
        look(path)


def test_old_copy_of_both_files_is_noticed_by_a_receipt(path: Path) -> None:
    old = {file: file.read_bytes() for file in (path, head_of(path))}
    ledger = opened_at(path)
    release(ledger, replace(SLOTS[0], round=4))
    receipt = ledger.head
    ledger.check_receipt(receipt)
    ledger.close()
    for file, content in old.items():
        file.write_bytes(content)
    ledger = opened_at(path)  # the two files agree: here alone nothing can be noticed
    with pytest.raises(PolicyRefusal, match=r"ends at entry 7 and .* a receipt for entry 9: an old copy") as refusal:
        ledger.check_receipt(receipt)
    assert refusal.value.reason == Reason.LEDGER_BEHIND
    # Nor does it help to write on until the numbers fit.
    for number in (5, 6):
        release(ledger, replace(SLOTS[0], round=number))
    with pytest.raises(PolicyRefusal, match="a receipt for another entry 9: an old copy was restored and continued"):
        ledger.check_receipt(receipt)
    ledger.close()


def test_a_copy_made_between_charge_and_answer_is_noticed_too(tmp_path: Path) -> None:
    # Most of a round lies between the two, so that is when a backup is made. Put back, it would compute the same
    # request again, with fresh noise, for nothing.
    path = tmp_path / "ledger.sqlite"
    ledger = opened_at(path)
    ledger.charge(SLOTS[0], "digest", DiscreteGaussianVector(8.0, 2))
    ledger.close()
    old = {file: file.read_bytes() for file in (path, head_of(path))}
    ledger = opened_at(path)
    receipt = ledger.store_reply(SLOTS[0], b"reply").receipt
    ledger.close()
    for file, content in old.items():
        file.write_bytes(content)
    ledger = opened_at(path)
    with pytest.raises(PolicyRefusal):
        ledger.check_receipt(receipt)
    ledger.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE replies SET reply = x'00' WHERE counter = 5", "the stored reply of entry 5 was changed"),
        ("DELETE FROM replies WHERE counter = 5", "the stored reply of entry 5 was removed"),
    ],
)
def test_altered_reply_is_neither_sent_nor_recomputed(path: Path, statement: str, said: str) -> None:
    tamper(path, statement)
    with pytest.raises(LedgerError, match=said):
        view(path)
    ledger = opened_at(path)
    with pytest.raises(LedgerError, match=said):
        ledger.stored_reply(SLOTS[1], "digest")
    assert ledger.stored_reply(SLOTS[0], "digest") is not None
    ledger.close()


@LOOKS
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE entries ADD COLUMN note TEXT", "table 'entries' has other columns"),
        ("ALTER TABLE entries ADD COLUMN twice INTEGER AS (2 * counter)", "table 'entries' has other columns"),
        ("ALTER TABLE replies ADD COLUMN note TEXT", "table 'replies' has other columns"),
        ("DROP TABLE replies", "table 'replies' was removed"),
    ],
)
def test_altered_tables_are_refused_when_opened(path: Path, look: Look, statement: str, words: str) -> None:
    tamper(path, statement)
    with pytest.raises(LedgerError, match=f"the ledger was altered: its {words}"):
        look(path)


def test_head_file_that_lags_by_one_entry_is_updated(path: Path) -> None:
    # A process killed between the two writes leaves this.
    entries = Ledger.view(path).entries
    head_of(path).write_text(json.dumps({"counter": 6, "head": entries[6].hash}))
    assert Ledger.view(path).head == entries[7].receipt
    ledger = opened_at(path)
    ledger.close()
    assert json.loads(head_of(path).read_text()) == {"counter": 7, "head": entries[7].hash}


def test_interrupted_creation_is_repeated_or_finished(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()  # killed before the first transaction
    opened_at(path).close()
    head_of(path).unlink()  # killed before the head file
    ledger = opened_at(path)
    assert len(ledger.entries) == 1
    ledger.close()
