"""Hashes of rows of whole numbers: what decides for a patient by the patient's own codes alone."""

from __future__ import annotations

import numpy as np

from common.arrays import Array, Integers


def row_hashes(rows: Integers, key: int) -> Array:
    """Return a hash of each row, uint64; its column's number is part of every term."""
    hashes = np.full(len(rows), key % 2**64, dtype=np.uint64)
    for column in range(rows.shape[1]):
        hashes = mixed(hashes ^ rows[:, column].astype(np.uint64))
    return hashes


def mixed(values: Array) -> Array:
    """Return uint64 numbers whose every bit depends on all bits of the argument (SplitMix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return np.asarray(values)
