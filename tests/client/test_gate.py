"""The gate refuses whatever is not declared. If one of these fails, something unaccounted for can leave a hospital."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from client.gate import GATE, Declared, Field, Permit, checked_reply, fault, stamped
from common.errors import Reason
from common.ledger.ledger import Answer, Ledger, Slot
from common.ledger.receipts import Receipt
from common.privacy.events import DiscreteGaussianVector
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollReply,
    KeysReply,
    MaskedReply,
    Message,
    OpenReply,
    Reply,
    RoundReply,
    SharesReply,
    SurvivorsReply,
    Unavailable,
)

HEAD = Receipt(1, "ab" * 32)
WEIGHTS = {"gen.table": np.ones((2, 3), dtype=np.float32), "disc.bias": np.zeros(1, dtype=np.float32)}
SHAPES = {name: array.shape for name, array in WEIGHTS.items()}
COUNTS = np.array([3, -1, 4], dtype=np.int64)
CANARY = "canary-4711"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="clinic", delta=1e-4)
    yield opened
    opened.close()


def paid(ledger: Ledger, reply: Message) -> Answer:
    """The ledger's answer after the reply was paid for and stored."""
    slot = Slot("ab" * 32, "run-1", reply.kind)
    ledger.charge(slot, "digest", DiscreteGaussianVector(5.0, 2))
    return ledger.store_reply(slot, to_bytes(reply))


def counts_permit(answer: Answer) -> Permit:
    return Permit("north", answer.receipt, answer, counts=3)


def test_every_reply_of_the_protocol_is_declared_field_by_field() -> None:
    assert GATE.keys() == {kind.kind for kind in get_args(Reply)}
    for kind in get_args(Reply):
        assert GATE[kind.kind].keys() == {field.name for field in fields(kind)}
    expected: dict[str, set[type[Message]]] = {
        "accounted": {CountsReply, MaskedReply, RoundReply},
        "keyed": {KeysReply, SharesReply, SurvivorsReply, OpenReply},
    }
    for declared, kinds in expected.items():
        carrying = {kind for kind, table in GATE.items() for field in table.values() if field.declared == declared}
        assert carrying == {kind.kind for kind in kinds}


def test_what_is_as_declared_leaves_unchanged(ledger: Ledger) -> None:
    answer = paid(ledger, CountsReply("north", COUNTS, 0, ""))
    reply = stamped(answer)
    assert checked_reply(reply, counts_permit(answer)) is reply
    answer = paid(ledger, RoundReply("north", WEIGHTS, 0, ""))
    reply = stamped(answer)
    assert checked_reply(reply, Permit("north", answer.receipt, answer, weights=SHAPES)) is reply
    for reason in Reason:
        enrolled = EnrollReply("north", str(reason), HEAD.counter, HEAD.head)
        assert checked_reply(enrolled, Permit("north", HEAD)) is enrolled
    constant = Unavailable("north")
    assert checked_reply(constant, Permit("north")) is constant


ENROLLED = EnrollReply("north", "accepted", HEAD.counter, HEAD.head)


class Text(str):
    """A text that carries more than it shows."""


@pytest.mark.parametrize(
    "reply",
    [
        replace(ENROLLED, reason=CANARY),
        replace(ENROLLED, reason="Accepted"),
        replace(ENROLLED, reason=Text("accepted")),
        replace(ENROLLED, reason=None),  # type: ignore[arg-type]
        replace(ENROLLED, hospital=CANARY),
        replace(ENROLLED, counter=2),
        replace(ENROLLED, counter=True),
        replace(ENROLLED, counter=1.0),  # type: ignore[arg-type]
        replace(ENROLLED, head="cd" * 32),
        Unavailable(CANARY),
        CountsRequest("run-1", "histograms"),
        CountsReply("north", COUNTS, HEAD.counter, HEAD.head),
        RoundReply("north", WEIGHTS, HEAD.counter, HEAD.head),
    ],
    ids=range(13),
)
def test_a_word_outside_its_list_or_an_unpaid_reply_is_held_back(
    reply: Message, caplog: pytest.LogCaptureFixture
) -> None:
    permit = Permit("north", HEAD, counts=3, weights=SHAPES)
    assert to_bytes(checked_reply(reply, permit)) == to_bytes(Unavailable("north"))
    assert CANARY not in caplog.text
    assert "held back" in caplog.text


@dataclass(frozen=True, slots=True, eq=False)
class Talkative(Message):
    """A message that nobody declared."""

    kind = "query.talk.reply"
    hospital: str


@dataclass(frozen=True, slots=True, eq=False)
class Longer(EnrollReply):
    """A declared kind with a field more."""

    rows: int


def test_an_undeclared_message_or_field_is_held_back() -> None:
    for reply in (Talkative("north"), Longer("north", "accepted", HEAD.counter, HEAD.head, 303)):
        assert to_bytes(checked_reply(reply, Permit("north", HEAD))) == to_bytes(Unavailable("north"))
    assert fault(Talkative("north"), Permit("north", HEAD)) == "its kind is not declared"


def test_an_unpaid_reply_is_held_back_for_want_of_an_entry() -> None:
    reply = CountsReply("north", COUNTS, HEAD.counter, HEAD.head)
    assert fault(reply, Permit("north", HEAD, counts=3)) == "no ledger entry pays for 'query.counts.reply'"


def spoilt(array: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    copy = array.copy()
    copy.flat[0] = value
    return copy


WRONG_WEIGHTS: dict[str, Any] = {
    "not a number": WEIGHTS | {"gen.table": spoilt(WEIGHTS["gen.table"], np.nan)},
    "infinite": WEIGHTS | {"gen.table": spoilt(WEIGHTS["gen.table"], -np.inf)},
    "another name": {"gen.table": WEIGHTS["gen.table"], "disc.rows": WEIGHTS["disc.bias"]},
    "one more": WEIGHTS | {"disc.rows": WEIGHTS["disc.bias"]},
    "one less": {"gen.table": WEIGHTS["gen.table"]},
    "another shape": WEIGHTS | {"gen.table": WEIGHTS["gen.table"].T},
    "another type": WEIGHTS | {"gen.table": WEIGHTS["gen.table"].astype(np.float64)},
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_of_other_shapes_are_held_back_though_paid_for(case: str, ledger: Ledger) -> None:
    answer = paid(ledger, RoundReply("north", WRONG_WEIGHTS[case], 0, ""))
    permit = Permit("north", answer.receipt, answer, weights=SHAPES)
    reply = RoundReply("north", WRONG_WEIGHTS[case], answer.receipt.counter, answer.receipt.head)
    assert to_bytes(checked_reply(reply, permit)) == to_bytes(Unavailable("north"))


WRONG_COUNTS: dict[str, Callable[[], Any]] = {
    "too many": lambda: np.append(COUNTS, 5),
    "too few": lambda: COUNTS[:2],
    "another shape": lambda: COUNTS.reshape(3, 1),
    "another type": lambda: COUNTS.astype(np.int32),
    "numbers with a fraction": lambda: COUNTS.astype(np.float64),
    "a list": lambda: [3, -1, 4],
}


@pytest.mark.parametrize("case", WRONG_COUNTS)
def test_counts_of_another_shape_or_type_are_held_back(case: str, ledger: Ledger) -> None:
    answer = paid(ledger, CountsReply("north", COUNTS, 0, ""))
    reply = CountsReply("north", WRONG_COUNTS[case](), answer.receipt.counter, answer.receipt.head)
    assert to_bytes(checked_reply(reply, counts_permit(answer))) == to_bytes(Unavailable("north"))


PERMIT = Permit(
    "north",
    HEAD,
    counts=3,
    masked=2,
    weights=SHAPES,
    sizes=dict.fromkeys(("keys", "signature", "encrypted", "shares"), 4),
    ledger=HEAD.to_bytes(),
)
WORDS = np.array([7, 8], dtype=np.uint32)
KEYS = np.zeros(4, dtype=np.uint8)

FITTING: dict[tuple[str, str], Any] = {
    (EnrollReply.kind, "hospital"): "north",
    (EnrollReply.kind, "reason"): "accepted",
    (EnrollReply.kind, "counter"): HEAD.counter,
    (EnrollReply.kind, "head"): HEAD.head,
    (CountsReply.kind, "counts"): COUNTS,
    (MaskedReply.kind, "masked"): WORDS,
    (RoundReply.kind, "weights"): WEIGHTS,
    (KeysReply.kind, "keys"): KEYS,
    (KeysReply.kind, "ledger"): np.frombuffer(HEAD.to_bytes(), dtype=np.uint8),
    (KeysReply.kind, "signature"): KEYS,
    (SharesReply.kind, "encrypted"): KEYS,
    (SurvivorsReply.kind, "signature"): KEYS,
    (OpenReply.kind, "shares"): KEYS,
}


class Marked(np.ndarray[Any, Any]):
    """An array that carries more than it shows."""


class Annotated(dict[str, Any]):
    """Weights that carry more than they show."""


MISFITS: list[tuple[str, str, Any]] = [
    (EnrollReply.kind, "hospital", Text("north")),
    (EnrollReply.kind, "hospital", "south"),
    (EnrollReply.kind, "reason", Text("accepted")),
    (EnrollReply.kind, "reason", CANARY),
    (EnrollReply.kind, "counter", True),
    (EnrollReply.kind, "counter", 2),
    (EnrollReply.kind, "head", Text(HEAD.head)),
    (EnrollReply.kind, "head", "cd" * 32),
    (CountsReply.kind, "counts", COUNTS.view(Marked)),
    (CountsReply.kind, "counts", COUNTS.astype(np.int32)),
    (CountsReply.kind, "counts", COUNTS[:2]),
    (MaskedReply.kind, "masked", WORDS.view(Marked)),
    (MaskedReply.kind, "masked", WORDS.astype(np.int64)),
    (MaskedReply.kind, "masked", WORDS[:1]),
    (RoundReply.kind, "weights", Annotated(WEIGHTS)),
    (RoundReply.kind, "weights", WEIGHTS | {"gen.table": WEIGHTS["gen.table"].view(Marked)}),
    (RoundReply.kind, "weights", WEIGHTS | {"gen.table": WEIGHTS["gen.table"].astype(np.float64)}),
    (KeysReply.kind, "ledger", HEAD.to_bytes()),
    (KeysReply.kind, "ledger", np.frombuffer(HEAD.to_bytes(), dtype=np.int8)),
    (KeysReply.kind, "ledger", np.frombuffer(HEAD.to_bytes()[:-1] + b"\0", dtype=np.uint8)),
    *((kind, name, KEYS.view(Marked)) for (kind, name), value in FITTING.items() if value is KEYS),
    *((kind, name, KEYS.view(np.int8)) for (kind, name), value in FITTING.items() if value is KEYS),
    *((kind, name, KEYS[:3]) for (kind, name), value in FITTING.items() if value is KEYS),
]


class TestField:
    """Every field by itself: in a reply, the comparison with the ledger's answer holds most of these back as well."""

    @pytest.mark.parametrize(("kind", "name"), FITTING)
    def test_field_fits_what_the_site_expects(self, kind: str, name: str) -> None:
        assert GATE[kind][name].fits(FITTING[kind, name], PERMIT) is True

    @pytest.mark.parametrize(("kind", "name", "value"), MISFITS, ids=range(len(MISFITS)))
    def test_field_fits_no_other_type_size_or_value(self, kind: str, name: str, value: Any) -> None:
        assert GATE[kind][name].fits(value, PERMIT) is False

    @pytest.mark.parametrize(("kind", "name"), list(FITTING)[2:])
    def test_field_fits_nothing_if_nothing_is_expected(self, kind: str, name: str) -> None:
        assert GATE[kind][name].fits(FITTING[kind, name], Permit("north")) is False


def test_other_counts_than_those_paid_for_are_held_back(ledger: Ledger) -> None:
    answer = paid(ledger, CountsReply("north", COUNTS, 0, ""))
    fresh = CountsReply("north", COUNTS + 1, answer.receipt.counter, answer.receipt.head)
    assert fault(fresh, counts_permit(answer)) == "'query.counts.reply' is not the answer that the ledger stored"
    assert to_bytes(checked_reply(fresh, counts_permit(answer))) == to_bytes(Unavailable("north"))


def test_a_check_that_fails_lets_nothing_out_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(value: Any, permit: Permit) -> bool:
        raise ValueError(CANARY)

    caplog.set_level(logging.DEBUG)
    monkeypatch.setitem(GATE, Unavailable.kind, {"hospital": Field(Declared.PUBLIC, failing)})
    assert to_bytes(checked_reply(Unavailable("north"), Permit("north"))) == to_bytes(Unavailable("north"))
    assert CANARY not in caplog.text
