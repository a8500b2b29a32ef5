"""Numbers as short floating point holds them: 7.45 comes back from a SAS column of three bytes as 7.44921875.

A column of that kind says so (`stored`). Values are then rounded to its decimals when read, and written as the short
number: none of what the storage adds is synthesized, and what goes in comes out.

Short SAS numbers are doubles whose last bytes are cut off (SAS, "Numeric Precision in SAS Software"); float16 and
float32 are rounded to nearest (IEEE 754).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from common.arrays import Floats

Storage = Literal["sas3", "sas4", "sas5", "float16", "float32"]

FRACTION_BITS: dict[Storage, int] = {"sas3": 12, "sas4": 20, "sas5": 28, "float16": 10, "float32": 23}
"""Bits that each storage keeps of a number's fraction. A short SAS number keeps all bits of a double but those."""

MATCHING = 0.99
"""Part of the values that a draft must find exactly as the storage would give them."""

CHANGED = 0.05
"""Part of the values that storage must have changed before a draft names it; whole numbers do not tell."""

SIGNIFICANT = 9
"""Digits of a short number that programs write at most; more do not tell float32 numbers apart."""

MOST_DECIMALS = 3
"""Decimals of values before they were stored, in a draft: more are as precise as the storage itself."""


FEWEST_WRITTEN = 5
"""Decimals of a file. Fewer are not odd enough to come from storage."""


def _cut(values: Floats, storage: Storage) -> Floats:
    """Return finite doubles of whose fraction only the first bits are kept."""
    fraction, exponent = np.frexp(values)
    bits = FRACTION_BITS[storage] + 1  # frexp's fraction begins with the bit that a double does not store
    return np.asarray(np.ldexp(np.trunc(np.ldexp(fraction, bits)), exponent - bits), dtype=np.float64)


STORED: dict[Storage, Callable[[Floats], Floats]] = {
    "sas3": partial(_cut, storage="sas3"),
    "sas4": partial(_cut, storage="sas4"),
    "sas5": partial(_cut, storage="sas5"),
    "float16": lambda values: values.astype(np.float16).astype(np.float64),
    "float32": lambda values: values.astype(np.float32).astype(np.float64),
}
"""How each storage changes finite numbers."""


def largest_error(storage: Storage, bound: float) -> float:
    """Return the largest change of a number by a storage.

    Args:
        storage: its name.
        bound: largest size of the number.
    """
    return float(2.0 ** (np.floor(np.log2(max(bound, 2.0**-1022))) - FRACTION_BITS[storage]))


def as_written(storage: Storage, numbers: Floats, decimals: int) -> Floats:
    """Return numbers as a file has them.

    Args:
        storage: what holds them.
        numbers: finite numbers.
        decimals: largest number of decimals that the file has.
    """
    distinct, indices = np.unique(numbers, return_inverse=True)
    written = [float(text_of(storage, number, decimals)) for number in distinct.tolist()]
    return np.array(written, dtype=np.float64)[indices]


def text_of(storage: Storage, number: float, decimals: int) -> str:
    """Return a number as programs write it: one decimal or more, no further zeros, at most `SIGNIFICANT` digits.

    Args:
        storage: what holds it.
        number: a finite number.
        decimals: largest number of decimals that the file has.
    """
    held = float(STORED[storage](np.array([number]))[0])
    digits = SIGNIFICANT - 1 - math.floor(math.log10(abs(held))) if held else 0
    text = f"{held + 0.0:.{max(0, min(decimals, digits))}f}"
    whole, _, decimal = text.partition(".")
    return f"{whole}.{decimal.rstrip('0') or '0'}"


def find_storage(numbers: Floats, written: int) -> tuple[Storage, int] | None:
    """Return the storage that explains a column's odd decimals, and the decimals before it; None for none.

    Args:
        numbers: the column's numbers, as often as they occur.
        written: decimals that the file has.
    """
    distinct, counts = np.unique(numbers, return_counts=True)
    if written < FEWEST_WRITTEN or not counts.size:
        return None
    last_digit = 10.0 ** (np.floor(np.log10(np.maximum(np.abs(distinct), 1e-9))) - SIGNIFICANT + 1)
    tolerance = 0.6 * np.maximum(10.0**-written, last_digit)
    for decimals in range(MOST_DECIMALS + 1):
        plain = np.round(distinct, decimals)
        is_changed = np.abs(plain - distinct) > tolerance
        if np.average(is_changed, weights=counts) < CHANGED:
            return None  # these decimals write the values as they are
        for storage, change in STORED.items():
            if 2 * largest_error(storage, float(np.abs(distinct).max())) >= 10.0**-decimals:
                continue
            is_match = np.abs(change(plain) - distinct) <= tolerance
            if np.average(is_match, weights=counts) >= MATCHING:
                return storage, decimals
    return None
