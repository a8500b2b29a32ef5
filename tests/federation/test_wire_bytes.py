"""Every byte that hospitals send in a run, mapped to the gate's table.

If this fails, something leaves a hospital that nobody declared: in a message, in Flower's metadata, in an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.app import Message as FlowerMessage
from flwr.common import serde
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as ProtoMessage

from client.agent.transport import Transport
from client.flower_app import RELAY_FAILED
from client.gate import GATE, Declared
from client.hospital import Hospital
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.ledger.receipts import Receipt
from common.planning.planner import make_plan
from common.protocol import wire
from common.protocol.byte_form import take_apart, to_bytes
from common.protocol.messages import CountsReply, KeysReply, MaskedReply, Reply, Request, RoundReply, RoundRequest
from common.study.study import Study
from simulations.federation import local_grid
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.classes import VAE
from tests.testbeds.clinic import HOSPITALS, clinic_study, clinic_tables
from tests.testbeds.images import images_study, images_table

CANARY = "canary-4711"

METADATA = {
    "run_id": "Flower's number of the run",
    "message_id": "Flower's number of the reply",
    "reply_to_message_id": "Flower's number of the request",
    "src_node_id": "Flower's number of the site",
    "dst_node_id": "Flower's number of the coordinator",
    "src_task_id": "Flower's number of the task at the site",
    "dst_task_id": "Flower's number of the task at the coordinator",
    "group_id": "the coordinator's own text, sent back",
    "message_type": "the kind of the request, sent back",
    "created_at": "the time of the reply: timing is not protected",
    "ttl": "how long the reply is of use, from the request's",
}
"""What Flower itself says with every reply, and why it may: it knows no record."""


class Recorder:
    """Every reply as the bytes that leave the process of a hospital's relay."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[bytes] = []
        original = serde.message_to_proto

        def recording(message: Any) -> ProtoMessage:
            proto = original(message)
            if proto.metadata.reply_to_message_id:
                self.sent.append(proto.SerializeToString(deterministic=True))
            return proto

        monkeypatch.setattr(local_grid, "message_to_proto", recording)

    def replies(self) -> Iterator[ProtoMessage]:
        for data in self.sent:
            proto = ProtoMessage()
            proto.ParseFromString(data)
            assert proto.SerializeToString(deterministic=True) == data, "bytes outside every field"
            yield proto


def leaves(proto: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every set field that holds a value of its own, by its path."""
    for descriptor, value in proto.ListFields():
        name = f"{path}.{descriptor.name}" if path else descriptor.name
        for one in value if descriptor.is_repeated else [value]:
            if descriptor.message_type is not None:
                yield from leaves(one, name)
            else:
                yield name, one


def check_leaves(proto: ProtoMessage) -> None:
    """Every field of the protobuf form is Flower's metadata or part of the one record."""
    for path, value in leaves(proto):
        section, _, rest = path.partition(".")
        if section == "metadata":
            assert rest in METADATA, path
            continue
        if section == "error":
            assert (rest, value) in {("code", RELAY_FAILED), ("reason", str(Reason.UNAVAILABLE))}, path
            continue
        assert path in {
            "content.items.key",
            "content.items.config_record.items.key",
            "content.items.config_record.items.value.bytes",
        }, path


def fields_of(message: FlowerMessage) -> tuple[str, dict[str, Any], set[str]]:
    """A reply's kind, its scalars, and which fields hold arrays; its bytes are their one form, nothing beside."""
    record = dict(message.content.config_records[wire.MESSAGE])
    assert set(message.content) == {wire.MESSAGE}
    assert record.keys() == {wire.DATA}
    reply = wire.decode_reply(message.content)
    assert record[wire.DATA] == to_bytes(reply)
    scalars, arrays = take_apart(reply)
    return reply.kind, dict(scalars), {name.partition(".")[0] for name in arrays}


def raising(hospital: Hospital) -> Transport:
    """A hospital whose process fails in training, with a cell in the exception's text."""

    class Raising:
        def handle(self, request: Request) -> Reply:
            if isinstance(request, RoundRequest):
                raise ValueError(f"could not convert string to float: '{CANARY}'")
            return hospital.handle(request)

    return Raising() if hospital.policy.hospital == "west" else hospital


def check_replies(recorder: Recorder, sites: Path, names: Sequence[str]) -> tuple[set[str], int, int]:
    """Every reply holds what the gate declares, and every accounted one is an answer of its hospital's ledger.

    Returns:
        The kinds of replies, how many were accounted, and how many were errors.
    """
    answers: dict[Receipt, str] = {}
    heads: set[Receipt] = set()
    for name in names:
        history = Ledger.view(sites / name / "ledger.sqlite")
        answers |= {entry.receipt: entry.content for entry in history.entries if entry.kind == "answer"}
        heads |= {entry.receipt for entry in history.entries}
    kinds, errors, found = set(), 0, 0
    for proto in recorder.replies():
        check_leaves(proto)
        message = message_from_proto(proto)
        if message.has_error():
            errors += 1
            continue
        kind, scalars, arrays = fields_of(message)
        kinds.add(kind)
        assert scalars.keys() | arrays == GATE[kind].keys()
        declared = {GATE[kind][name].declared for name in arrays}
        if kind == KeysReply.kind:  # the one public field that is an array: the head of the ledger
            keys = wire.decode_reply(message.content)
            assert isinstance(keys, KeysReply)
            assert Receipt.from_bytes(keys.ledger.tobytes()) in heads
            declared.remove(Declared.PUBLIC)
        assert declared <= {Declared.ACCOUNTED, Declared.KEYED}
        assert scalars["hospital"] in names
        assert "reason" not in scalars or scalars["reason"] in set(Reason)
        if Declared.ACCOUNTED in declared:
            reply = wire.decode_reply(message.content)
            assert isinstance(reply, CountsReply | MaskedReply | RoundReply)
            stored = to_bytes(replace(reply, counter=0, head=""))
            assert answers[Receipt(reply.counter, reply.head)] == hashlib.sha256(stored).hexdigest()
            found += 1
    return kinds, found, errors


PLAIN = {"query.counts.reply"}
MASKED = {f"query.{step}.reply" for step in ("keys", "shares", "masked", "survivors", "open")}


@pytest.mark.parametrize(
    ("noise", "unused", "paid"),
    [
        # Three hospitals answer four vectors, two of them two rounds; west's relay says twice that it failed.
        pytest.param("local", MASKED, 3 * 4 + 2 * 2, marks=pytest.mark.slow),
        ("distributed", PLAIN, 3 * 4 + 2 * 2),
    ],
)
def test_every_byte_that_leaves_is_declared_and_paid_for(
    noise: str, unused: set[str], paid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    study = clinic_study(synthesizer={"triples": 1}, privacy={"noise": noise})
    simulate(prepare(study, clinic_tables()), tmp_path / "out", Options(wrap=raising, workers=1, with_report=False))

    kinds, found, errors = check_replies(recorder, tmp_path / "out" / "sites", HOSPITALS)
    assert kinds == GATE.keys() - unused - {"unavailable"}
    assert (found, errors) == (paid, 2)
    assert not any(CANARY.encode() in data for data in recorder.sent)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["local", "distributed"])
@pytest.mark.parametrize(
    ("study", "tables"),
    [
        pytest.param(
            images_study(), {name: images_table(60, seed) for seed, name in enumerate(HOSPITALS)}, id="images"
        ),
        pytest.param(clinic_study(synthesizer=VAE, training={"rounds": 2}), clinic_tables(), id="classes"),
    ],
)
def test_images_and_classes_leave_as_paid_counts(
    study: Study, tables: dict[str, pd.DataFrame], noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    prepared = prepare(study.amended(privacy={"noise": noise}), tables)
    simulate(prepared, tmp_path / "out", Options(workers=1, with_report=False))
    kinds, found, errors = check_replies(recorder, tmp_path / "out" / "sites", HOSPITALS)
    answers = sum(planned.rounds for planned in make_plan(prepared.study).vectors)
    assert (found, errors) == (answers * len(HOSPITALS), 0)
    assert kinds <= GATE.keys() - (MASKED if noise == "local" else PLAIN) - {"unavailable", RoundReply.kind}


def test_the_constant_says_nothing_but_the_hospitals_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(hospital: Hospital) -> Transport:
        class Refusing:
            def handle(self, request: Request) -> Reply:
                if isinstance(request, RoundRequest) and hospital.policy.hospital == "west":
                    return hospital.handle(replace(request, round=99))
                return hospital.handle(request)

        return Refusing()

    recorder = Recorder(monkeypatch)
    simulate(
        prepare(clinic_study(), clinic_tables()), tmp_path / "out", Options(wrap=refusing, workers=1, with_report=False)
    )
    constants = set()
    for proto in recorder.replies():
        check_leaves(proto)
        kind, scalars, arrays = fields_of(message_from_proto(proto))
        if kind == "unavailable":
            constants.add(proto.content.SerializeToString(deterministic=True))
            assert scalars == {"hospital": "west"}
            assert not arrays
    assert len(constants) == 1
