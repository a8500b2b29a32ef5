"""Messages as Flower records and back: one record with the message's bytes and a signature.

Flower sends every record, array and chunk of an array as a separate object, with one call per object at each of its
four hops. A single record needs three calls, whatever the message holds. The bytes are those of
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

A request carries the coordinator's seal (`seals`), a reply the hospital's signature.
"""


def encode(message: Message, signature: bytes = b"") -> RecordDict:
    """Return one ConfigRecord with the message's bytes, and its signature if there is one."""
    signed = {ED25519: signature} if signature else {}
    return RecordDict({MESSAGE: ConfigRecord({DATA: to_bytes(message), **signed})})


def decode(records: RecordDict) -> Message:
    """Return the message in a Flower record.

    Raises:
        WireError: the record is not a message of the protocol.
    """
    record = records.config_records.get(MESSAGE)
    if record is None or len(records) != 1 or not {DATA} <= set(record) <= {DATA, ED25519}:
        raise WireError("a message is one record with bytes and at most a signature")
    data = record[DATA]
    if not isinstance(data, bytes):
        raise WireError("a message consists of bytes")
    return from_bytes(data)


def bytes_of(records: RecordDict) -> bytes:
    """Return the bytes of a message that `decode` accepted; its signature covers them."""
    data = records.config_records[MESSAGE][DATA]
    assert isinstance(data, bytes), "`decode` refused"
    return data


def signature_of(records: RecordDict) -> bytes:
    """Return the unverified signature of a message; empty if there is none."""
    signature = records.config_records.get(MESSAGE, ConfigRecord()).get(ED25519, b"")
    return signature if isinstance(signature, bytes) else b""


def decode_request(records: RecordDict) -> Request:
    """Return the request in a Flower record. Raises `WireError` for anything else."""
    message = decode(records)
    if not isinstance(message, REQUESTS):
        raise WireError(f"'{message.kind}' is not a request")
    return cast("Request", message)


def decode_reply(records: RecordDict) -> Reply:
    """Return the reply in a Flower record. Raises `WireError` for anything else."""
    message = decode(records)
    if isinstance(message, REQUESTS):
        raise WireError(f"'{message.kind}' is not a reply")
    return cast("Reply", message)


def size(records: RecordDict) -> int:
    """Return the size of a message in bytes, without Flower's framing."""
    return sum(
        len(value)
        for record in records.config_records.values()
        for value in record.values()
        if isinstance(value, bytes)
    )
