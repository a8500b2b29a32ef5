"""The messages of `agent.proto` between a relay and the site agent, in protobuf's wire format.

All fields are strings or bytes, so the format is short enough to write by hand; generated code would tie the project
to one protobuf release. Field numbers follow the order of the fields (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from common.errors import WireError

SERVICE = "fedsynth.agent.Agent"
HANDLE, HEALTH = "Handle", "Health"

SERVING, STOPPING = "serving", "stopping"

LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """A request on its way to the agent: the relay's version, the request's bytes, the coordinator's seal."""

    version: str = ""
    request: bytes = b""
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class AgentReply:
    """The agent's answer: a `Reason` as `refusal`, or the reply's bytes and the hospital's signature on them."""

    version: str = ""
    hospital: str = ""
    refusal: str = ""
    reply: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class HealthRequest:
    """Asks for the state of the agent."""

    version: str = ""


@dataclass(frozen=True, slots=True)
class HealthReply:
    """The hospital that the agent serves, the agent's version, and its state: `SERVING` or `STOPPING`."""

    version: str = ""
    hospital: str = ""
    state: str = ""


Envelope = AgentRequest | AgentReply | HealthRequest | HealthReply
E = TypeVar("E", AgentRequest, AgentReply, HealthRequest, HealthReply)


def pack(envelope: Envelope) -> bytes:
    """Return the envelope's bytes; empty fields are left out, as in proto3."""
    parts = []
    for number, field in enumerate(fields(envelope), start=1):
        value = getattr(envelope, field.name)
        data = value.encode() if isinstance(value, str) else value
        if data:
            parts += [bytes([number << 3 | LENGTH_DELIMITED]), _varint(len(data)), data]
    return b"".join(parts)


def unpack(kind: type[E], data: bytes) -> E:
    """Return the envelope that `pack` packed.

    Raises:
        WireError: the bytes are cut short, or hold a field that this kind does not have.
    """
    names = {number << 3 | LENGTH_DELIMITED: field for number, field in enumerate(fields(kind), start=1)}
    values: dict[str, str | bytes] = {}
    position = 0
    while position < len(data):
        field = names.get(data[position])
        if field is None:
            raise WireError("an envelope holds a field that is not part of the protocol")
        length, position = _read_varint(data, position + 1)
        value = data[position : position + length]
        if len(value) < length:
            raise WireError("an envelope is cut short")
        position += length
        try:
            values[field.name] = value.decode() if isinstance(field.default, str) else value
        except UnicodeDecodeError:
            raise WireError("an envelope holds a text that is not UTF-8") from None
    return kind(**values)  # type: ignore[arg-type]  # each value has the type of its field's default


def _varint(number: int) -> bytes:
    """Encode a number: seven bits a byte, lowest first, with the high bit set on all bytes but the last."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Return the number that starts there, and the position after it."""
    number = 0
    for count in range(5):  # 35 bits: far above the largest message
        if start + count >= len(data):
            break
        number |= (data[start + count] & 0x7F) << (7 * count)
        if data[start + count] < 0x80:
            return number, start + count + 1
    raise WireError("an envelope holds a length that cannot be read")
