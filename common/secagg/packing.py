"""Bytes of several hospitals as one vector, in the order of their names, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from common.arrays import Bytes
from common.errors import MaskingError

SEPARATOR = ","
"""Between names. Names are slugs, which contain no comma."""


def to_vector(data: bytes) -> Bytes:
    """Return bytes as the field of a message, uint8."""
    return np.frombuffer(data, dtype=np.uint8)


def pack_names(hospitals: Collection[str]) -> str:
    """Join the names, in order, to one text."""
    return SEPARATOR.join(sorted(hospitals))


def unpack_names(text: str) -> tuple[str, ...]:
    """Return the names that `pack_names` joined.

    Raises:
        MaskingError: a name repeats, or they are not in order.
    """
    names = tuple(text.split(SEPARATOR)) if text else ()
    if list(names) != sorted(set(names)):
        raise MaskingError("names of hospitals repeat or are out of order")
    return names


def pack(parts: Mapping[str, bytes]) -> Bytes:
    """Join all parts, one after the other, in the order of the hospitals' names."""
    return to_vector(b"".join(parts[name] for name in sorted(parts)))


def unpack(vector: Bytes, hospitals: Collection[str], size: int) -> dict[str, bytes]:
    """Split a vector into the parts that `pack` joined.

    Args:
        vector: bytes, (hospitals x size,).
        hospitals: names of the hospitals, in any order.
        size: bytes of each hospital's part.

    Returns:
        The part of each hospital, by name.

    Raises:
        MaskingError: the vector has another length or type.
    """
    if vector.dtype != np.uint8 or vector.shape != (size * len(hospitals),):
        raise MaskingError(f"a field for {len(hospitals)} hospitals does not have {size} bytes for each")
    data = vector.tobytes()
    return {name: data[size * index : size * (index + 1)] for index, name in enumerate(sorted(hospitals))}
