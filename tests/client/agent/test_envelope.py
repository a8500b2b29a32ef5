from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from client.agent.envelope import SERVICE, AgentReply, AgentRequest, Envelope, HealthReply, HealthRequest, pack, unpack
from common.errors import WireError

PROTO = Path(__file__).parents[3] / "client" / "agent" / "agent.proto"
KINDS: tuple[type[Envelope], ...] = (AgentRequest, AgentReply, HealthRequest, HealthReply)


def declared() -> dict[str, list[tuple[str, str, int]]]:
    """Messages of the proto file: type, name and number of each field."""
    text = re.sub(r"//.*", "", PROTO.read_text(encoding="utf-8"))
    return {
        name: [(kind, field, int(number)) for kind, field, number in re.findall(r"(\w+) (\w+) = (\d+);", body)]
        for name, body in re.findall(r"message (\w+) \{(.*?)\}", text, re.DOTALL)
    }


@cache
def protobuf(name: str) -> Any:
    """The class that protobuf's own library makes of a message of the proto file."""
    file = descriptor_pb2.FileDescriptorProto(name="agent.proto", package="fedsynth.agent", syntax="proto3")
    for message, content in declared().items():
        added = file.message_type.add(name=message)
        for kind, field, number in content:
            code = {"string": 9, "bytes": 12}[kind]
            added.field.add(name=field, number=number, label=1, type=code)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fedsynth.agent.{name}"))


TEXTS = {"string": st.text(max_size=300), "bytes": st.binary(max_size=300)}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_bytes_are_those_of_protobuf_for_the_proto_file(kind: type[Envelope], data: st.DataObject) -> None:
    # Whoever writes a relay from agent.proto must be understood.
    values = {name: data.draw(TEXTS[text]) for text, name, _ in declared()[kind.__name__]}
    ours, theirs = kind(**values), protobuf(kind.__name__)(**values)  # type: ignore[arg-type]
    assert pack(ours) == theirs.SerializeToString(deterministic=True)
    assert unpack(kind, theirs.SerializeToString()) == ours  # type: ignore[type-var]


def test_the_proto_file_declares_these_messages_and_this_service() -> None:
    assert {kind.__name__: [field.name for field in fields(kind)] for kind in KINDS} == {
        name: [field for _, field, _ in content] for name, content in declared().items()
    }
    text = PROTO.read_text(encoding="utf-8")
    assert f"package {SERVICE.rpartition('.')[0]};" in text
    assert re.findall(r"rpc (\w+)\((\w+)\) returns \((\w+)\)", text) == [
        ("Handle", "AgentRequest", "AgentReply"),
        ("Health", "HealthRequest", "HealthReply"),
    ]


def test_protobufs_compiler_accepts_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="unproven: grpcio-tools is not installed")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--python_out={tmp_path}", PROTO.name]
    assert subprocess.run(command, capture_output=True).returncode == 0


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused_with_one_error(data: bytes) -> None:
    # They come from whatever app was submitted: nothing but WireError may come out.
    try:
        envelope = unpack(AgentRequest, data)
    except WireError:
        return
    assert unpack(AgentRequest, pack(envelope)) == envelope


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",  # a field without a length
        b"\x0a\x05abc",  # five bytes promised, three there
        b"\x0a\xff\xff\xff\xff\xff\xff",  # a length that does not end
        b"\x22\x01a",  # field 4, which an AgentRequest does not have
        b"\x08\x01",  # field 1 as a number
        b"\x0a\x01\xff",  # a version that is not UTF-8
    ],
)
def test_damaged_envelopes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="envelope"):
        unpack(AgentRequest, data)
