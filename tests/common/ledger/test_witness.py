"""An old copy of the state folder is restored, and a second copy of the head outside it says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Ledger, Slot
from common.ledger.receipts import Receipt
from common.ledger.witness import Witness
from common.privacy.events import DiscreteGaussianVector

SLOTS = tuple(Slot("ab" * 32, "run-1", "rounds", number) for number in range(1, 9))


@dataclass
class Site:
    """A state folder and a witness outside it."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "share").mkdir()
        with closing(Ledger(self.path, cohort="north", delta=1e-5)) as ledger:
            self.witness.create(ledger.head)
            ledger.enroll("run-1", Enrollment("ab" * 32, "study", "plan"))

    @property
    def path(self) -> Path:
        return self.folder / "state" / "ledger.sqlite"

    @property
    def witness(self) -> Witness:
        return Witness(self.folder / "share" / "north.json")

    def open(self) -> Ledger:
        return Ledger(self.path, cohort="north", delta=1e-5, witness=self.witness.path)

    def release(self, slot: Slot) -> None:
        with closing(self.open()) as ledger:
            ledger.charge(slot, "digest", DiscreteGaussianVector(8.0, 2))
            ledger.store_reply(slot, b"reply")

    def copy(self) -> Path:
        return Path(shutil.copytree(self.folder / "state", self.folder / "backup"))

    def restore(self) -> None:
        shutil.rmtree(self.folder / "state")
        shutil.copytree(self.folder / "backup", self.folder / "state")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_restored_state_folder_draws_no_second_time(site: Site) -> None:
    site.copy()
    answered = 0
    for _ in range(8):  # the attack restores the same copy eight times, and nobody shows a receipt
        with suppress(LedgerError):
            site.release(SLOTS[0])
            answered += 1
        site.restore()
    assert answered == 1
    with pytest.raises(LedgerError, match=r"ends at entry 1 and its witness names entry 3: .*accept-restore"):
        site.open()


def test_a_restored_and_continued_ledger_is_noticed(site: Site) -> None:
    site.copy()
    site.release(SLOTS[0])
    site.restore()
    with closing(Ledger(site.path, cohort="north", delta=1e-5)) as ledger:  # by somebody without the witness
        for slot in SLOTS[1:4]:
            ledger.charge(slot, "digest", DiscreteGaussianVector(8.0, 2))
    with pytest.raises(LedgerError, match="the ledger and its witness have another entry 3"):
        site.open()


def test_the_witness_is_written_before_a_charge_counts(site: Site) -> None:
    with closing(site.open()) as ledger:
        for slot in SLOTS[:3]:
            receipt = ledger.charge(slot, "digest", DiscreteGaussianVector(8.0, 2))
            assert site.witness.read() == receipt
            answer = ledger.store_reply(slot, b"reply")
            assert site.witness.read() == answer.receipt


def test_a_witness_that_is_ahead_stops_a_charge_before_it(site: Site) -> None:
    with closing(site.open()) as ledger:
        before, entries = ledger.head, len(ledger.lines())
        site.witness.create(Receipt(9, "ab" * 32))  # another process continued a copy of the ledger
        with pytest.raises(LedgerError, match="names entry 9"):
            ledger.charge(SLOTS[0], "digest", DiscreteGaussianVector(8.0, 2))
        assert (ledger.head, len(ledger.lines())) == (before, entries)


def gone(path: Path) -> None:
    path.unlink()


def unmounted(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def garbled(path: Path) -> None:
    path.write_text("{}")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


LOST = pytest.mark.parametrize("lose", [gone, unmounted, garbled, a_folder], ids=lambda lose: lose.__name__)


@LOST
def test_without_its_witness_a_ledger_does_not_open(site: Site, lose: Callable[[Path], None]) -> None:
    lose(site.witness.path)
    with pytest.raises(LedgerError, match="nothing is released"):
        site.open()


@LOST
def test_a_witness_lost_meanwhile_stops_charges(site: Site, lose: Callable[[Path], None]) -> None:
    with closing(site.open()) as ledger:
        lose(site.witness.path)
        with pytest.raises(LedgerError, match="nothing is released"):
            ledger.charge(SLOTS[0], "digest", DiscreteGaussianVector(8.0, 2))
        assert ledger.lines() == ()


def test_a_stored_reply_is_not_sent_before_the_witness_has_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Witness, head: Receipt) -> None:
        raise LedgerError("the share is gone")

    with closing(site.open()) as ledger:
        ledger.charge(SLOTS[0], "digest", DiscreteGaussianVector(8.0, 2))
        with monkeypatch.context() as away:
            away.setattr(Witness, "write", fails)  # between the database and the witness
            with pytest.raises(LedgerError, match="the share is gone"):
                ledger.store_reply(SLOTS[0], b"reply")
            with pytest.raises(LedgerError, match="the share is gone"):
                ledger.stored_reply(SLOTS[0], "digest")
            with pytest.raises(LedgerError, match="the share is gone"):
                ledger.charge(SLOTS[0], "digest", DiscreteGaussianVector(8.0, 2))
        answer = ledger.stored_reply(SLOTS[0], "digest")
        assert answer is not None
        assert site.witness.read() == answer.receipt == ledger.head


def test_a_witness_that_lags_after_a_kill_catches_up(site: Site) -> None:
    before = site.witness.path.read_bytes()
    site.release(SLOTS[0])
    site.witness.path.write_bytes(before)
    with closing(site.open()) as ledger:
        assert site.witness.read() == ledger.head


def test_a_witness_is_a_head_in_json(site: Site) -> None:
    head = site.witness.read()
    assert json.loads(site.witness.path.read_bytes()) == {"counter": head.counter, "head": head.head}
    assert site.witness.path.stat().st_mode & 0o077 == 0
