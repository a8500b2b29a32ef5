"""Cells as measures read them: numbers as float64, categories as labels.

Tables are conformed frames (float64 with NaN; object labels with None) or frames as `pandas.read_csv` gives them:
1, 1.0 and "1" are one category, and so are True, "True" and 1. Texts that a column tells apart stay apart ("250" and
"250.0"), and text that is written as codes are ("02139") stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats

Labels = npt.NDArray[np.object_]
"""Category labels: str, shape (rows,)."""

MISSING = "<missing>"
"""The label of a missing cell: a category of its own."""

TRUTH_WORDS = {"True": "1", "TRUE": "1", "true": "1", "False": "0", "FALSE": "0", "false": "0"}
"""Texts that `pandas.read_csv` turns into truth values, and the labels that it thereby gives them."""


CODE = re.compile(r"0\d|\d{16}")
"""Beginning of a text that is a code, not a number: a zero in front, or more digits than floating point holds."""


def numbers(column: pd.Series[Any]) -> Floats:
    """Return the cells as float64; NaN where missing or not a number."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def labels(column: pd.Series[Any]) -> Labels:
    """Return the cells as category labels (object array of str): numbers in short form, other texts as they are."""
    codes, distinct = pd.factorize(np.asarray(column, dtype=object))
    as_numbers = numbers(pd.Series(distinct, dtype=object))
    names = [_label(cell, number) for cell, number in zip(distinct, as_numbers, strict=True)]
    repeated = Counter(name for name, cell in zip(names, distinct, strict=True) if isinstance(cell, str))
    names = [
        str(cell) if isinstance(cell, str) and repeated[name] > 1 else name
        for name, cell in zip(names, distinct, strict=True)
    ]
    return np.array([*names, MISSING], dtype=object)[codes]  # a missing cell has code -1: the last name


def _label(cell: object, number: float) -> str:
    word = str(cell)
    if word in TRUTH_WORDS:
        return TRUTH_WORDS[word]
    return word if np.isnan(number) or CODE.match(word) else f"{number:.15g}"
