from __future__ import annotations

from pathlib import Path

import pytest

from client.peers import VECTOR_ENTRIES, Peers
from common.errors import LedgerError, MaskingError
from common.ledger.receipts import Receipt

SOUTH, WEST = "ed25519:south", "ed25519:west"


def head(counter: int, name: str = "ab") -> Receipt:
    return Receipt(counter, name * 32)


def keep(peers: Peers, heads: dict[str, Receipt]) -> None:
    """Keep the heads of a vector that begins now."""
    peers.keep(heads, peers.known())


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    return Peers(tmp_path / "peers.json")


def test_ledgers_that_grow_or_stand_still_are_kept(peers: Peers) -> None:
    keep(peers, {SOUTH: head(4), WEST: head(9)})
    keep(peers, {SOUTH: head(4), WEST: head(12, "cd")})
    keep(peers, {SOUTH: head(5, "ef")})


def test_a_ledger_that_went_back_is_refused(peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    with pytest.raises(MaskingError, match=r"from entry 4 or later to entry 3\. .*accept-restore --beyond 4"):
        keep(peers, {SOUTH: head(3)})
    with pytest.raises(MaskingError):  # what it showed is not forgotten by showing less
        keep(peers, {SOUTH: head(3)})


def test_another_history_of_the_same_length_is_refused(peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    with pytest.raises(MaskingError):
        keep(peers, {SOUTH: head(4, "cd")})


def test_a_ledger_without_the_delivered_vector_is_refused(peers: Peers) -> None:
    # An old copy from between the keys and the charge ends at the entry that was advertised.
    keep(peers, {SOUTH: head(4), WEST: head(4)})
    peers.have_delivered({SOUTH: head(4)})
    for counter in (4, 5):
        with pytest.raises(MaskingError):
            keep(peers, {SOUTH: head(counter)})
    keep(peers, {SOUTH: head(4 + VECTOR_ENTRIES), WEST: head(4)})


def test_they_are_remembered_by_the_next_process(tmp_path: Path, peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    peers.have_delivered({SOUTH: head(4)})
    with pytest.raises(MaskingError):
        keep(Peers(tmp_path / "peers.json"), {SOUTH: head(5)})


def test_nothing_is_kept_of_a_refused_roster(tmp_path: Path, peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    with pytest.raises(MaskingError):
        keep(peers, {WEST: head(9), SOUTH: head(3)})
    keep(Peers(tmp_path / "peers.json"), {WEST: head(2)})


def test_an_old_head_is_no_evidence_against_a_vector_under_way(peers: Peers) -> None:
    # A coordinator holds a head of one run back until it has passed on a newer one of another.
    known = peers.known()
    keep(peers, {SOUTH: head(9, "cd")})
    peers.have_delivered({SOUTH: head(9, "cd")})
    peers.keep({SOUTH: head(4)}, known)
    with pytest.raises(MaskingError, match="from entry 11 or later to entry 9"):  # and nothing newer is forgotten
        keep(peers, {SOUTH: head(9, "cd")})


def test_two_entries_of_one_number_are_evidence_at_any_time(peers: Peers) -> None:
    known = peers.known()
    keep(peers, {SOUTH: head(9)})
    with pytest.raises(MaskingError):
        peers.keep({SOUTH: head(9, "cd")}, known)


def test_a_vector_adds_to_the_head_that_was_signed_for_it(peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    keep(peers, {SOUTH: head(9, "cd")})  # of another run
    peers.have_delivered({SOUTH: head(4)})
    keep(peers, {SOUTH: head(9, "cd")})


def test_a_refusal_asks_to_repeat_the_request_first(peers: Peers) -> None:
    keep(peers, {SOUTH: head(4)})
    with pytest.raises(MaskingError, match=r"Repeat the request first.* If it is refused again, an old copy"):
        keep(peers, {SOUTH: head(3)})


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"counter": 1}}'])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "peers.json").write_text(text)
    with pytest.raises(LedgerError, match="does not hold the heads"):
        Peers(tmp_path / "peers.json")


def test_a_simulation_remembers_in_memory_alone() -> None:
    peers = Peers(None)
    keep(peers, {SOUTH: head(4)})
    with pytest.raises(MaskingError):
        keep(peers, {SOUTH: head(3)})
