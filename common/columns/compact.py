"""Columns in few bytes: each value as its grid point or label number. Millions of patients fit in memory this way.

Histograms and codes take a compact column as they take a conformed one, with the same outcome.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Integers

ABSENT = -1
"""The number that stands for missing; a number below stands for a missing code, -2 for the first."""

Compact = npt.NDArray[np.signedinteger[Any]]


def is_compact(values: pd.Series) -> bool:
    """Return whether a column is compact; a conformed one holds floats or objects."""
    return bool(values.dtype.kind == "i")


def is_present(values: pd.Series) -> npt.NDArray[np.bool_]:
    """Return which values of a conformed or compact column are not missing."""
    return np.asarray(values.to_numpy() >= 0 if is_compact(values) else values.notna().to_numpy(), dtype=np.bool_)


def pack(numbers: Integers, present: npt.NDArray[np.bool_], size: int) -> Compact:
    """Return the numbers in the smallest integer type that holds `-size` to `size`, `ABSENT` where not present.

    Args:
        numbers: integers, shape (rows,).
        present: whether each row has a value, shape (rows,).
        size: largest absolute value that the type must hold.
    """
    return np.where(present, numbers, ABSENT).astype(np.min_scalar_type(-size))
