from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import FederationError, WireError
from common.ledger.receipts import Receipt, receipts_from_json, receipts_to_json
from common.run_events.exclusions import Exclusion
from server.receipts import Receipts

ONE, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sites" / "receipts.json"


def test_the_latest_receipt_is_kept_across_runs(path: Path) -> None:
    receipts = Receipts(path)
    assert receipts.to_json() == "{}"
    receipts.keep_head("north", 1, ONE)
    receipts.keep_answer("north", 3, OTHER)
    receipts.save()
    assert json.loads(path.read_text()) == {"north": {"counter": 3, "head": OTHER}}
    assert Receipts(path).to_json() == receipts.to_json()


def test_repeated_reply_does_not_replace_a_later_receipt(path: Path) -> None:
    receipts = Receipts(path)
    receipts.keep_head("north", 9, ONE)
    receipts.keep_answer("north", 3, OTHER)  # after a restart the first phase is asked for again
    assert receipts_from_json(receipts.to_json()) == {"north": Receipt(9, ONE)}


def test_coordinator_notices_a_ledger_that_was_set_back(path: Path) -> None:
    receipts = Receipts(path)
    receipts.keep_head("north", 5, ONE)
    for counter, head in ((4, OTHER), (4, ONE), (5, OTHER)):
        assert receipts.fault_of_head("north", counter, head) == Exclusion.LEDGER_SET_BACK
    for counter, head in ((5, ONE), (6, OTHER)):
        assert receipts.fault_of_head("north", counter, head) is None
    assert receipts.fault_of_head("south", 0, ONE) is None


def test_receipts_of_one_run_only_grow(path: Path) -> None:
    receipts = Receipts(path)
    assert receipts.fault_of_answer("north", 3, ONE) is None
    receipts.keep_answer("north", 3, ONE)
    for counter in (3, 2):  # a site that was set back and charges the next round as if the last had not been
        assert receipts.fault_of_answer("north", counter, OTHER) == Exclusion.RECEIPT_NOT_LATER
    assert receipts.fault_of_answer("north", 5, OTHER) is None


@pytest.mark.parametrize("head", ["", "AB" * 32, "ab" * 31, "ab" * 32 + "\n"])
def test_malformed_head_is_a_fault(path: Path, head: str) -> None:
    receipts = Receipts(path)
    assert receipts.fault_of_head("north", 3, head) == Exclusion.RECEIPT_MALFORMED
    assert receipts.fault_of_answer("north", 3, head) == Exclusion.RECEIPT_MALFORMED


TEXTS = ["", "[]", "3", '{"north": 3}', '{"north": {}}', '{"north": {"counter": "3", "head": "ab"}}', "[" * 100_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_that_holds_no_receipts_is_refused(path: Path, text: str) -> None:
    with pytest.raises(WireError, match="not receipts"):
        receipts_from_json(text)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(FederationError, match=r"does not hold receipts; restore it"):
        Receipts(path)


def test_receipts_survive_their_text() -> None:
    receipts = {"north": Receipt(3, ONE), "south": Receipt(2**53, OTHER)}
    assert receipts_from_json(receipts_to_json(receipts)) == receipts
