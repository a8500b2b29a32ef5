"""Messages as Flower records and back: one record that holds the message's bytes, and a signature beside it.

Flower moves every record, array and piece of an array as an object of its own, by a call for each at each of its four
hops. One record keeps that to three calls, whatever the message holds. The bytes are those of
`common.protocol.messages`.
"""

from __future__ import annotations

from typing import cast

from flwr.app import ConfigRecord, RecordDict

from common.errors import WireError
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import REQUESTS, Message, Reply, Request

MESSAGE, DATA, ED25519 = "message", "data", "ed25519"
"""The record's name and its two fields: the message, and its sender's signature where there is one.

Requests are signed by the coordinator, replies by the hospital.
"""


def encode(message: Message, signature: bytes = b"") -> RecordDict:
    """One ConfigRecord with the message's bytes, and its signature if it is signed."""
    signed = {ED25519: signature} if signature else {}
    return RecordDict({MESSAGE: ConfigRecord({DATA: to_bytes(message), **signed})})


def decode(records: RecordDict) -> Message:
    """The message in a Flower record.

    Raises:
        WireError: it is not a message of the protocol, whatever Flower or safetensors say about it.
    """
    record = records.config_records.get(MESSAGE)
    if record is None or len(records) != 1 or not {DATA} <= set(record) <= {DATA, ED25519}:
        raise WireError("a message is one record with bytes and at most a signature")
    data = record[DATA]
    if not isinstance(data, bytes):
        raise WireError("a message consists of bytes")
    return from_bytes(data)


def bytes_of(records: RecordDict) -> bytes:
    """The bytes of a message that `decode` took: what its signature is about."""
    data = records.config_records[MESSAGE][DATA]
    assert isinstance(data, bytes), "`decode` refused"
    return data


def signature_of(records: RecordDict) -> bytes:
    """The signature that came with a message; empty where there is none. Whoever reads it has to check it."""
    signature = records.config_records.get(MESSAGE, ConfigRecord()).get(ED25519, b"")
    return signature if isinstance(signature, bytes) else b""


def decode_request(records: RecordDict) -> Request:
    """A request, or `WireError`."""
    message = decode(records)
    if not isinstance(message, REQUESTS):
        raise WireError(f"'{message.kind}' is not a request")
    return cast("Request", message)


def decode_reply(records: RecordDict) -> Reply:
    """A reply, or `WireError`."""
    message = decode(records)
    if isinstance(message, REQUESTS):
        raise WireError(f"'{message.kind}' is not a reply")
    return cast("Reply", message)


def size(records: RecordDict) -> int:
    """Bytes of the fields in a record: what a message weighs before Flower's own framing."""
    return sum(
        len(value)
        for record in records.config_records.values()
        for value in record.values()
        if isinstance(value, bytes)
    )
