from __future__ import annotations

import gc
import io
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.supercore.task_identity import TaskIdentity

from common import wire
from common.errors import WireError
from common.messages import REQUESTS, AnchorsRequest, Message, Unavailable, to_bytes
from tests.common.test_messages import EXAMPLES


@pytest.fixture(autouse=True)
def _task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower stamps every message with the run and node that its process works for."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def through_protobuf(content: RecordDict, kind: str = "train.round") -> RecordDict:
    """What arrives at the other side of Flower's serialisation."""
    message = FlowerMessage(content, dst_node_id=100, message_type=kind)
    message.metadata.__dict__["_message_id"], message.metadata.__dict__["_src_node_id"] = "m1", 1
    return message_from_proto(message_to_proto(message)).content


def fields_of(**fields: str | int | float | bool | bytes | list[int]) -> RecordDict:
    return RecordDict({wire.FIELDS: ConfigRecord(dict(fields)), wire.ARRAYS: ArrayRecord({})})


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_survives_flowers_records_and_protobuf(message: Message) -> None:
    assert to_bytes(wire.decode(wire.encode(message))) == to_bytes(message)
    assert to_bytes(wire.decode(through_protobuf(wire.encode(message)))) == to_bytes(message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_message_travels_as_its_fields_and_nothing_else(message: Message) -> None:
    records = wire.encode(message)
    assert set(records) == {wire.FIELDS, wire.ARRAYS}
    texts = set(records.config_records[wire.FIELDS]) | {
        name.split(".")[0] for name in records.array_records[wire.ARRAYS]
    }
    assert texts - {wire.KIND} <= set(type(message).__dataclass_fields__)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.kind)
def test_a_request_is_not_a_reply_and_a_reply_no_request(message: Message) -> None:
    right, wrong = wire.decode_reply, wire.decode_request
    if isinstance(message, REQUESTS):
        right, wrong = wire.decode_request, wire.decode_reply  # type: ignore[assignment]
    assert to_bytes(right(wire.encode(message))) == to_bytes(message)
    with pytest.raises(WireError, match="is not a re"):
        wrong(wire.encode(message))


class Detonator:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickled_array_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    objects = np.empty(1, dtype=object)
    objects[0] = Detonator(trace)
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    for data in (buffer.getvalue(), pickle.dumps(Detonator(trace))):
        for kind in ("numpy.ndarray", "pickle"):
            array = Array(dtype="object", shape=(1,), stype=kind, data=data)
            records = fields_of(kind="query.histograms.reply", hospital="north")
            records[wire.ARRAYS] = ArrayRecord({"counts": array})
            with pytest.raises(WireError, match="unreadable message"):
                wire.decode(through_protobuf(records))
    assert not trace.exists()
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)
    assert trace.exists()  # it would have run


@pytest.mark.parametrize(
    "records",
    [
        RecordDict({}),
        RecordDict({wire.FIELDS: ConfigRecord({wire.KIND: "unavailable", "hospital": "north"})}),
        RecordDict({wire.FIELDS: ConfigRecord({}), wire.ARRAYS: ArrayRecord({})}),
        RecordDict({wire.FIELDS: MetricRecord({}), wire.ARRAYS: ArrayRecord({})}),
        fields_of(kind="query.rows"),
        fields_of(kind=3),
        fields_of(kind=b"unavailable", hospital="north"),
        fields_of(kind="unavailable"),
        fields_of(kind="unavailable", hospital=3),
        fields_of(kind="unavailable", hospital=[1, 2]),
        fields_of(kind="unavailable", hospital="north", rows=212),
    ],
    ids=range(11),
)
def test_records_that_are_no_message_are_refused(records: RecordDict) -> None:
    with pytest.raises(WireError):
        wire.decode(records)


def test_a_message_with_another_record_beside_it_is_refused() -> None:
    records = wire.encode(Unavailable("north"))
    records["metrics"] = MetricRecord({"rows": 212})
    with pytest.raises(WireError, match="records"):
        wire.decode(records)


def test_a_damaged_array_is_refused() -> None:
    array = Array(np.arange(3))
    array.data = array.data[:-1]
    records = fields_of(kind="query.histograms.reply", hospital="north")
    records[wire.ARRAYS] = ArrayRecord({"counts": array})
    with pytest.raises(WireError, match="unreadable message"):
        wire.decode(records)


def test_a_message_weighs_its_arrays_and_texts() -> None:
    assert wire.size(wire.encode(Unavailable("north"))) == len("unavailable") + len("north")


@pytest.mark.slow
def test_messages_that_several_threads_read_at_once_are_all_read() -> None:
    # Finalisers that run while a header is parsed let another thread in; without a lock a few of these fail.
    class Finalised:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            sum(range(50))

    records = wire.encode(AnchorsRequest("run-1", "pairs", np.arange(200), np.array([0, 1])))
    problems: list[BaseException] = []

    def read() -> None:
        for _ in range(3000):
            Finalised()
            try:
                wire.decode_request(records)
            except BaseException as problem:  # whatever it is, it counts
                problems.append(problem)

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    try:
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert not problems
