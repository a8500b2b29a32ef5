"""The one byte form of messages, which is digested, signed, stored and replayed: equal messages give equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from common.arrays import Array
from common.errors import WireError
from common.protocol.messages import DICTIONARIES, MESSAGES, VECTORS, Message, Scalar


def take_apart(message: Message) -> tuple[dict[str, Scalar], dict[str, Array]]:
    """Return scalars and arrays by field name; a dictionary becomes arrays named `<field>.<key>`."""
    scalars: dict[str, Scalar] = {}
    arrays: dict[str, Array] = {}
    for entry in fields(message):
        value = getattr(message, entry.name)
        if isinstance(value, dict):
            arrays |= {f"{entry.name}.{name}": array for name, array in value.items()}
        elif isinstance(value, np.ndarray):
            arrays[entry.name] = value
        else:
            scalars[entry.name] = value
    return scalars, arrays


def put_together(kind: str, scalars: Mapping[str, Scalar], arrays: Mapping[str, Array]) -> Message:
    """Return the message of these scalars and arrays: the inverse of `take_apart`.

    Args:
        kind: kind of the message.
        scalars: scalar fields by name.
        arrays: arrays by field name; those of a dictionary are named `<field>.<key>`.

    Raises:
        WireError: the kind is unknown, or a field is missing, unexpected or of the wrong type.
    """
    if kind not in MESSAGES:
        raise WireError(f"message kind '{kind}' is not part of the protocol")
    message = MESSAGES[kind]
    values: dict[str, Any] = {}
    remaining = dict(arrays)
    for name, hint in get_type_hints(message).items():
        if name == "kind":
            continue
        if hint in DICTIONARIES:
            values[name] = _dictionary(kind, name, remaining, DICTIONARIES[hint])
        elif hint in VECTORS:
            if name not in remaining:
                raise WireError(f"'{kind}' lacks the array '{name}'")
            values[name] = remaining.pop(name)
            if values[name].dtype != VECTORS[hint] or values[name].ndim != 1:
                raise WireError(f"'{kind}' holds '{name}' that is not a vector of {VECTORS[hint].__name__}")
        else:
            if type(scalars.get(name)) is not hint:
                raise WireError(f"'{kind}' lacks '{name}', or it is not of type {hint.__name__}")
            values[name] = scalars[name]
    unknown = sorted(set(remaining) | (set(scalars) - set(values)))
    if unknown:
        raise WireError(f"'{kind}' holds {len(unknown)} fields that are not part of the protocol")
    return message(**values)


def _dictionary(kind: str, name: str, remaining: dict[str, Array], element: type[np.generic]) -> dict[str, Array]:
    """Take the arrays named `<name>.<key>` out of `remaining` and return them by key."""
    prefix = f"{name}."
    named = {key.removeprefix(prefix): remaining.pop(key) for key in list(remaining) if key.startswith(prefix)}
    if any(array.dtype != element for array in named.values()):
        raise WireError(f"'{kind}' holds '{name}' that are not {element.__name__}")
    if element == np.int64 and any(array.ndim != 1 for array in named.values()):
        raise WireError(f"'{kind}' holds '{name}' that are not vectors")
    return named


def to_bytes(message: Message) -> bytes:
    """Return the message in safetensors form, with its scalars as JSON in the metadata."""
    scalars, arrays = take_apart(message)
    header = json.dumps({"kind": message.kind, **scalars}, sort_keys=True)
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return bytes(save(ordered, metadata={"message": header}))


MOST_HEADER, MOST_ARRAYS = 2 * 2**20, 256
"""Upper bounds on a message: bytes before its arrays, texts included, and arrays. They hold before its signature is
checked."""


def from_bytes(data: bytes) -> Message:
    """Return the message that `to_bytes` wrote. Raises `WireError` for anything else."""
    try:
        length = int.from_bytes(data[:8], "little")
        if length > MOST_HEADER:
            raise ValueError("the header is too long")
        header = dict(json.loads(data[8 : 8 + length]))
        if len(header) > MOST_ARRAYS:
            raise ValueError("there are too many arrays")
        scalars = dict(json.loads(header["__metadata__"]["message"]))
        arrays = load(data)
        kind = str(scalars.pop("kind"))
    except (SafetensorError, ValueError, TypeError, LookupError, RecursionError) as problem:
        raise WireError("these bytes are not a message") from problem
    return put_together(kind, scalars, arrays)


def digest(message: Message) -> str:
    """Return the SHA-256 (hex) of the message, which tells a repeated request from another one."""
    return hashlib.sha256(to_bytes(message)).hexdigest()
