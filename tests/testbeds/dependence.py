"""Rows of codes that depend on each other in known ways."""

from __future__ import annotations

import numpy as np

from common.columns.base import Codes


def dependent_rows(patients: int, seed: int = 0) -> Codes:
    """Return rows over (3, 4, 2) codes in which the second column follows the first, and the third is rarely 1."""
    rng = np.random.default_rng(seed)
    first = rng.choice(3, patients, p=[0.5, 0.3, 0.2])
    second = (first + rng.choice(4, patients, p=[0.7, 0.1, 0.1, 0.1])) % 4
    third = (rng.random(patients) < np.array([0.05, 0.2, 0.6])[first]).astype(np.int64)
    return np.stack([first, second, third], axis=1).astype(np.int16)


def chained_rows(patients: int, columns: int, codes: int, seed: int = 0) -> Codes:
    """Return rows in which each column is the one before, or uniform with probability 0.3."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, codes, (patients, columns))
    for column in range(1, columns):
        is_same = rng.random(patients) < 0.7
        rows[is_same, column] = rows[is_same, column - 1]
    return rows.astype(np.int16)


def parity_rows(patients: int, seed: int = 0) -> Codes:
    """Return three coins whose sum is even: no pair shows it."""
    coins = np.random.default_rng(seed).integers(0, 2, (patients, 2))
    return np.column_stack([coins, coins.sum(1) % 2]).astype(np.int16)
