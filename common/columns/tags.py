"""Missing numbers that say why they are missing: NaN with a tag in the bits that floating point leaves free.

A column of numbers may declare missing codes, such as "ND" or 999. Each is counted and comes back as it came, and for
everything else a cell with such a code is missing. So a conformed column holds NaN there, whose payload is the number
of the code from 1 on; 0 is missing without a code. R marks its NA in this way, and haven its tagged missing values.
"""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Integers

QUIET_NAN = 0x7FF8_0000_0000_0000
"""Bits of a NaN without a payload (IEEE 754 binary64)."""

PAYLOAD = 0xFFFF
"""Bits of the payload that hold the tag."""


def tagged(tags: Integers) -> Floats:
    """Return NaN values with these tags, each from 0 to `PAYLOAD`."""
    return (np.asarray(tags, dtype=np.uint64) | np.uint64(QUIET_NAN)).view(np.float64)


def tags_of(values: Floats) -> Integers:
    """Return the tag of every value that is NaN; 0 for numbers and for NaN without a tag."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64) & np.uint64(PAYLOAD)
    return np.where(np.isnan(values), bits, 0).astype(np.int64)
