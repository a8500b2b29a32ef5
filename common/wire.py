"""Messages as Flower records and back. The words on the wire are defined here and in `common.messages`."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from common.errors import WireError
from common.messages import Message, Reply, Request, put_together, take_apart

FIELDS, ARRAYS, KIND = "fields", "arrays", "kind"

REQUESTS: tuple[type[Message], ...] = get_args(Request)


def encode(message: Message) -> RecordDict:
    """One ConfigRecord with the kind and the scalars, one ArrayRecord with the arrays."""
    scalars, arrays = take_apart(message)
    records = RecordDict({FIELDS: ConfigRecord({KIND: message.kind, **scalars})})
    records[ARRAYS] = ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})
    return records


def decode(records: RecordDict) -> Message:
    """The message in a Flower record.

    Raises:
        WireError: it is not a message of the protocol, whatever Flower or numpy say about it.
    """
    if set(records) != {FIELDS, ARRAYS}:
        raise WireError("a message consists of two records")
    try:
        scalars = dict(records.config_records[FIELDS])
        kind = scalars.pop(KIND)
        arrays = {name: array.numpy() for name, array in records.array_records[ARRAYS].items()}
    except Exception as problem:  # anything may be in a record that somebody else built
        raise WireError(f"unreadable message ({type(problem).__name__})") from None
    return put_together(str(kind), cast("dict[str, str | int | float | bool]", scalars), arrays)


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
