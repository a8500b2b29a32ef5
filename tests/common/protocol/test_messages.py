from __future__ import annotations

import contextlib
import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from common.arrays import Array
from common.errors import WireError
from common.protocol.byte_form import digest, from_bytes, put_together, take_apart, to_bytes
from common.protocol.messages import (
    MESSAGES,
    CountsReply,
    CountsRequest,
    EnrollReply,
    EnrollRequest,
    GradientRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    MaskedRequest,
    Message,
    OpenReply,
    OpenRequest,
    RoundReply,
    RoundRequest,
    SharesReply,
    SharesRequest,
    SurvivorsReply,
    SurvivorsRequest,
    Unavailable,
)

COUNTS = np.array([3, -1, 2**62], dtype=np.int64)
WEIGHTS = {"gen.table": np.array([[0.5, -1.0]], dtype=np.float32), "disc.bias": np.zeros(0, dtype=np.float32)}

PAIRS, TRIPLES = np.array([0, 1, 0, 2]), np.array([0, 1, 2])
NONE = np.empty(0, dtype=np.int64)
HEAD = "cd" * 32
KEYS = np.arange(96, dtype=np.uint8)
RELEASED = {"histograms": COUNTS, "pairs": COUNTS, "pairs.columns": PAIRS, "triples.columns": TRIPLES}
ROUND = RoundRequest("run-1", 2, RELEASED, WEIGHTS)

EXAMPLES: tuple[Message, ...] = (
    EnrollRequest("run-1", "[study]\nname = 'é'", "ab" * 32, "{}", "{}"),
    EnrollReply("north", "accepted", 1, HEAD),
    CountsRequest("run-1", "histograms"),
    CountsReply("north", COUNTS, 3, HEAD),
    CountsReply("north", np.empty(0, dtype=np.int64), 3, HEAD),
    CountsRequest("run-1", "pairs", {"histograms": COUNTS}, PAIRS),
    CountsRequest("run-1", "coarse", {"histograms": COUNTS}, NONE),
    CountsRequest("run-1", "pairs", {"histograms": COUNTS}, PAIRS, np.array([72, 96])),
    CountsReply("north", COUNTS, 5, HEAD),
    ROUND,
    RoundRequest("run-1", 2, {}, {}),
    RoundReply("north", WEIGHTS, 7, HEAD),
    KeysRequest("run-1", "coarse", 0, 1, "ab" * 32),
    KeysReply("north", KEYS, KEYS[:40], KEYS[:64]),
    SharesRequest("run-1", "coarse", 0, 1, "north,south", KEYS, KEYS[:80], KEYS),
    SharesReply("north", KEYS),
    MaskedRequest("run-1", "coarse", 0, 2, "south", KEYS, KEYS),
    MaskedReply("north", np.array([0, 2**32 - 1], dtype=np.uint32), 9, HEAD),
    SurvivorsRequest("run-1", "rounds", 7, 1, "north,south"),
    SurvivorsReply("north", KEYS),
    OpenRequest("run-1", "rounds", 7, 1, "north,south", KEYS),
    OpenReply("north", KEYS[:0]),
    GradientRequest("run-1", 2, {"histograms": COUNTS}, WEIGHTS),
    Unavailable("north"),
)


def are_equal(one: Message, other: Message) -> bool:
    (scalars, arrays), (scalars_too, arrays_too) = take_apart(one), take_apart(other)
    return (
        type(one) is type(other)
        and scalars == scalars_too
        and arrays.keys() == arrays_too.keys()
        and all(arrays[name].dtype == arrays_too[name].dtype for name in arrays)
        and all(np.array_equal(arrays[name], arrays_too[name], equal_nan=False) for name in arrays)
    )


def test_every_kind_of_message_has_an_example_here() -> None:
    assert {type(message) for message in EXAMPLES} == set(MESSAGES.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_survives_its_bytes(message: Message) -> None:
    again = from_bytes(to_bytes(message))
    assert are_equal(again, message)
    assert to_bytes(again) == to_bytes(message)
    assert digest(again) == digest(message)


def test_equal_messages_give_equal_bytes() -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = RoundReply("north", {"a": table, "b": table[0]}, 7, HEAD)
    other = RoundReply("north", {"b": table[0].copy(), "a": np.asfortranarray(table)}, 7, HEAD)
    assert to_bytes(one) == to_bytes(other)


def test_messages_that_differ_anywhere_have_other_digests() -> None:
    request = ROUND
    others = [
        replace(request, run_id="run-2"),
        replace(request, round=3),
        replace(request, released=RELEASED | {"histograms": COUNTS + 1}),
        replace(request, released=RELEASED | {"pairs.columns": PAIRS + 1}),
        replace(request, released=RELEASED | {"triples.columns": NONE}),
        replace(request, released=RELEASED | {"pairs.columns": TRIPLES, "triples.columns": PAIRS}),
        replace(request, released=RELEASED | {"pairs": -COUNTS}),
        replace(request, released={name: RELEASED[name] for name in RELEASED if name != "pairs"}),
        replace(request, weights=WEIGHTS | {"gen.table": -WEIGHTS["gen.table"]}),
        replace(request, weights=WEIGHTS | {"gen.table": WEIGHTS["gen.table"].T}),
        replace(request, weights=WEIGHTS | {"more": WEIGHTS["gen.table"]}),
        CountsRequest("run-1", "histograms"),
        CountsRequest("run-1", "pairs", {}, PAIRS),
        CountsRequest("run-1", "pairs", {}, PAIRS, np.array([72, 96])),
        CountsRequest("run-1", "pairs", {}, PAIRS, np.array([96, 72])),
        CountsRequest("run-1", "pairs", {}, NONE, PAIRS),
    ]
    assert len({digest(message) for message in [request, *others]}) == len(others) + 1


def test_replies_have_the_declared_fields_alone() -> None:
    outgoing = {kind: [field.name for field in fields(MESSAGES[kind])] for kind in MESSAGES if "reply" in kind}
    assert outgoing == {
        "query.enroll.reply": ["hospital", "reason", "counter", "head"],
        "query.counts.reply": ["hospital", "counts", "counter", "head"],
        "train.round.reply": ["hospital", "weights", "counter", "head"],
        # Under masks: the vector, and what no record is near.
        "query.masked.reply": ["hospital", "masked", "counter", "head"],
        "query.keys.reply": ["hospital", "keys", "ledger", "signature"],
        "query.shares.reply": ["hospital", "encrypted"],
        "query.survivors.reply": ["hospital", "signature"],
        "query.open.reply": ["hospital", "shares"],
    }
    assert [field.name for field in fields(Unavailable)] == ["hospital"]


def test_requests_carry_no_privacy_parameter() -> None:
    assert [field.name for field in fields(EnrollRequest)] == ["run_id", "study", "fingerprint", "plan", "receipts"]
    assert [field.name for field in fields(CountsRequest)] == [
        "run_id",
        "phase",
        "released",
        "columns",
        "weights",
        "candidates",
        "decoder",
        "round",
    ]
    assert [field.name for field in fields(RoundRequest)] == ["run_id", "round", "released", "weights"]
    # Above all not the quantization: a coarser one at one hospital would be less noise for another.
    assert [field.name for field in fields(GradientRequest)] == ["run_id", "round", "released", "weights"]


def test_a_message_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(WireError, match=r"'query\.rows' is not part of the protocol"):
        put_together("query.rows", {}, {})


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_with_a_field_missing_or_too_many_is_refused(message: Message) -> None:
    scalars, arrays = take_apart(message)
    for name in scalars:
        with pytest.raises(WireError, match=f"lacks '{name}'"):
            put_together(message.kind, {key: value for key, value in scalars.items() if key != name}, arrays)
    for name in ("counts", "columns"):
        if name in arrays:
            with pytest.raises(WireError, match=f"lacks the array '{name}'"):
                put_together(message.kind, scalars, {key: value for key, value in arrays.items() if key != name})
    with pytest.raises(WireError, match="1 fields that are not part"):
        put_together(message.kind, {**scalars, "rows": 212}, arrays)
    with pytest.raises(WireError, match="1 fields that are not part"):
        put_together(message.kind, scalars, {**arrays, "rows": COUNTS})


@pytest.mark.parametrize("number", ["2", 2.0, True, None, [2]])
def test_a_field_of_another_type_is_refused(number: Any) -> None:
    with pytest.raises(WireError, match="'round', or it is not of type int"):
        put_together("train.round", {"run_id": "run-1", "round": number}, take_apart(ROUND)[1])


@pytest.mark.parametrize(
    "counts",
    [COUNTS.astype(np.float64), COUNTS.astype(np.int32), COUNTS[None], np.int64(3) + np.zeros((), np.int64)],
)
def test_counts_that_are_no_vector_of_integers_are_refused(counts: Array) -> None:
    with pytest.raises(WireError, match="not a vector of int64"):
        put_together("query.counts.reply", {"hospital": "north"}, {"counts": counts})


@pytest.mark.parametrize("kind", [np.float64, np.int8, np.complex64, object])
def test_weights_of_another_type_are_refused(kind: type) -> None:
    with pytest.raises(WireError, match="not float32"):
        put_together("train.round.reply", {"hospital": "north"}, {"weights.gen.table": np.zeros(2, dtype=kind)})


@pytest.mark.parametrize(
    "sums", [COUNTS.astype(np.float64), COUNTS.astype(np.int32), COUNTS[None], np.int64(3) + np.zeros((), np.int64)]
)
def test_released_sums_of_another_type_are_refused(sums: Array) -> None:
    with pytest.raises(WireError, match=r"'released' that are not (int64|vectors)"):
        put_together("train.round", {"run_id": "run-1", "round": 1}, {"released.histograms": sums})


def test_every_truncated_message_is_refused() -> None:
    data = to_bytes(ROUND)
    for length in range(len(data)):
        with pytest.raises(WireError):
            from_bytes(data[:length])


HEADERS = [
    "",
    "null",
    "[]",
    "3",
    '"text"',
    "{}",
    '{"kind": null}',
    '{"kind": []}',
    '{"kind": "unavailable"}',
    '{"kind": "unavailable", "hospital": 3}',
    '{"kind": "unavailable", "hospital": "north", "rows": 212}',
    "[" * 100_000,
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_bytes_with_another_header_are_refused(header: str) -> None:
    with pytest.raises(WireError):
        from_bytes(save({}, metadata={"message": header}))


def test_bytes_without_our_header_are_refused() -> None:
    with pytest.raises(WireError):
        from_bytes(save({"counts": COUNTS}))
    with pytest.raises(WireError):
        from_bytes(save({"counts": COUNTS}, metadata={"kind": json.dumps("unavailable")}))


def test_oversized_message_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> None:
        raise AssertionError("its arrays were read")

    monkeypatch.setattr("common.protocol.byte_form.load", read)
    header = {"message": json.dumps({"kind": "unavailable", "hospital": "north"})}
    empty = np.zeros(0, dtype=np.int64)
    with pytest.raises(WireError):
        from_bytes(save({f"a{place}": empty for place in range(300)}, metadata=header))
    with pytest.raises(WireError):
        from_bytes(save({"a" * 3 * 2**20: empty}, metadata=header))


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), junk=st.binary(max_size=20))
def test_spoilt_bytes_are_a_message_or_a_refusal(place: int, byte: int, junk: bytes) -> None:
    data = bytearray(to_bytes(ROUND))
    data[place % len(data)] = byte
    for spoilt in (bytes(data), junk, bytes(data) + junk):
        with contextlib.suppress(WireError):
            assert isinstance(from_bytes(spoilt), Message)
