from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.task_identity import TaskIdentity

from common.errors import WireError
from common.protocol import wire
from common.protocol.byte_form import to_bytes
from common.protocol.messages import REQUESTS, Message, Unavailable
from tests.common.protocol.test_messages import EXAMPLES


@pytest.fixture(autouse=True)
def _task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower stamps every message with the run and node that its process works for."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def through_protobuf(content: RecordDict, kind: str = "train.round") -> RecordDict:
    """What arrives at the other side of Flower's serialization."""
    message = FlowerMessage(content, dst_node_id=100, message_type=kind)
    message.metadata.__dict__["_message_id"], message.metadata.__dict__["_src_node_id"] = "m1", 1
    return message_from_proto(message_to_proto(message)).content


def record_of(**fields: str | int | float | bool | bytes | list[int]) -> RecordDict:
    return RecordDict({wire.MESSAGE: ConfigRecord(dict(fields))})


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_survives_flowers_records_and_protobuf(message: Message) -> None:
    assert to_bytes(wire.decode(wire.encode(message))) == to_bytes(message)
    assert to_bytes(wire.decode(through_protobuf(wire.encode(message)))) == to_bytes(message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_message_travels_in_three_of_flowers_objects(message: Message) -> None:
    records = wire.encode(message, b"signed")
    assert dict(records.config_records[wire.MESSAGE]) == {"data": to_bytes(message), "ed25519": b"signed"}
    assert wire.bytes_of(records) == to_bytes(message)
    flowers = FlowerMessage(records, dst_node_id=100, message_type="train.round")
    assert len(get_all_nested_objects(flowers)) == 3  # each one more is a call more at each of four hops


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_request_is_not_a_reply_and_a_reply_no_request(message: Message) -> None:
    right, wrong = wire.decode_reply, wire.decode_request
    if isinstance(message, REQUESTS):
        right, wrong = wire.decode_request, wire.decode_reply  # type: ignore[assignment]
    assert to_bytes(right(wire.encode(message))) == to_bytes(message)
    with pytest.raises(WireError, match="is not a re"):
        wrong(wire.encode(message))


@pytest.mark.parametrize("data", ["text", [1, 2], 3.0])
def test_a_message_that_is_not_bytes_is_refused(data: str | list[int] | float) -> None:
    with pytest.raises(WireError, match="consists of bytes"):
        wire.decode(record_of(data=data))


class Detonator:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_pickled_bytes_are_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    objects = np.empty(1, dtype=object)
    objects[0] = Detonator(trace)
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps(Detonator(trace))):
        with pytest.raises(WireError, match="not a message"):
            wire.decode(through_protobuf(record_of(data=data)))
    assert not trace.exists()
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)
    assert trace.exists()  # it would have run


NORTH = to_bytes(Unavailable("north"))


@pytest.mark.parametrize(
    "records",
    [
        RecordDict({}),
        RecordDict({"another": ConfigRecord({wire.DATA: NORTH})}),
        RecordDict({wire.MESSAGE: MetricRecord({})}),
        RecordDict({wire.MESSAGE: ArrayRecord({wire.DATA: Array(np.frombuffer(NORTH, dtype=np.uint8))})}),
        record_of(),
        record_of(ed25519=b"signed"),
        record_of(data="unavailable"),
        record_of(data=3),
        record_of(data=[1, 2]),
        record_of(data=b""),
        record_of(data=NORTH[:-1]),
        record_of(data=NORTH + b" "),
        record_of(data=NORTH, rows=212),
    ],
    ids=range(13),
)
def test_records_that_are_no_message_are_refused(records: RecordDict) -> None:
    with pytest.raises(WireError):
        wire.decode(records)


def test_a_message_with_another_record_beside_it_is_refused() -> None:
    records = wire.encode(Unavailable("north"))
    records["metrics"] = MetricRecord({"rows": 212})
    with pytest.raises(WireError, match="one record"):
        wire.decode(records)


def test_a_signature_that_is_no_bytes_is_none() -> None:
    assert wire.signature_of(record_of(data=NORTH, ed25519="signed")) == b""
    assert wire.signature_of(RecordDict({})) == b""


def test_a_message_weighs_its_bytes_and_its_signature() -> None:
    assert wire.size(wire.encode(Unavailable("north"))) == len(NORTH)
    assert wire.size(wire.encode(Unavailable("north"), b"signed")) == len(NORTH) + 6
