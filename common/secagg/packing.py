"""Bytes of several hospitals as one vector, in the order of their names, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from common.arrays import Bytes
from common.errors import MaskingError

SEPARATOR = ","
"""No hospital's name holds one."""


def to_vector(data: bytes) -> Bytes:
    """Bytes as the field of a message."""
    return np.frombuffer(data, dtype=np.uint8)


def pack_names(hospitals: Collection[str]) -> str:
    """The names in one text."""
    return SEPARATOR.join(sorted(hospitals))


def unpack_names(text: str) -> tuple[str, ...]:
    """The names that `pack_names` packed.

    Raises:
        MaskingError: they repeat, or are not in order.
    """
    names = tuple(text.split(SEPARATOR)) if text else ()
    if list(names) != sorted(set(names)):
        raise MaskingError("hospitals are named twice or out of order")
    return names


def pack(parts: Mapping[str, bytes]) -> Bytes:
    """All parts, one after the other."""
    return to_vector(b"".join(parts[name] for name in sorted(parts)))


def unpack(vector: Bytes, hospitals: Collection[str], size: int) -> dict[str, bytes]:
    """The parts that `pack` packed, `size` bytes each.

    Raises:
        MaskingError: the vector is longer or shorter.
    """
    if vector.dtype != np.uint8 or vector.shape != (size * len(hospitals),):
        raise MaskingError(f"bytes of {len(hospitals)} hospitals are not {size} for each")
    data = vector.tobytes()
    return {name: data[size * place : size * (place + 1)] for place, name in enumerate(sorted(hospitals))}
