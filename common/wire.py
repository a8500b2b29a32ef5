"""Messages as Flower records and back. The words on the wire are defined here and in `common.messages`."""

from __future__ import annotations

import threading
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from common.errors import WireError
from common.messages import REQUESTS, Message, Reply, Request, put_together, take_apart

FIELDS, ARRAYS, KIND = "fields", "arrays", "kind"
SIGNATURE, ED25519 = "signature", "ed25519"


def encode(message: Message, signature: bytes = b"") -> RecordDict:
    """One ConfigRecord with the kind and the scalars, one ArrayRecord with the arrays, one more if it is signed."""
    scalars, arrays = take_apart(message)
    records = RecordDict({FIELDS: ConfigRecord({KIND: message.kind, **scalars})})
    records[ARRAYS] = ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})
    if signature:
        records[SIGNATURE] = ConfigRecord({ED25519: signature})
    return records


_one_at_a_time = threading.Lock()
"""numpy reads an array's header with `ast`, which in CPython 3.11 fails now and then where two threads do so at once
(SystemError: AST constructor recursion depth mismatch; python/cpython issue 106905)."""


def decode(records: RecordDict) -> Message:
    """The message in a Flower record.

    Raises:
        WireError: it is not a message of the protocol, whatever Flower or numpy say about it.
    """
    if set(records) - {SIGNATURE} != {FIELDS, ARRAYS}:
        raise WireError("a message consists of two records and at most a signature")
    try:
        scalars = dict(records.config_records[FIELDS])
        kind = scalars.pop(KIND)
        with _one_at_a_time:
            arrays = {name: array.numpy() for name, array in records.array_records[ARRAYS].items()}
    except Exception as problem:  # anything may be in a record that somebody else built
        raise WireError(f"unreadable message ({type(problem).__name__})") from None
    return put_together(str(kind), cast("dict[str, str | int | float | bool]", scalars), arrays)


def signature_of(records: RecordDict) -> bytes:
    """The signature that came with a message; empty where there is none. Whoever reads it has to check it."""
    record = records.config_records.get(SIGNATURE, ConfigRecord())
    signature = record.get(ED25519, b"")
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
    """Bytes of the arrays and texts in a record: what a message weighs before Flower's own framing."""
    arrays = sum(len(array.data) for record in records.array_records.values() for array in record.values())
    texts = sum(len(str(value).encode()) for record in records.config_records.values() for value in record.values())
    return arrays + texts
