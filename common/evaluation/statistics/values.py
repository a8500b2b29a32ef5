"""How the measures see a table: which columns are numbers, what a cell is called, which bin it falls into.

Every measure compares a table with the real training rows, so the training rows alone decide what a
column is and where its bins lie. Tables are conformed frames (float64 with NaN; object labels with None)
or frames as `pandas.read_csv` gives them: 1, 1.0 and "1" are one category, and so are True, "True" and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.object_]

MISSING = "<missing>"
"""The label of a missing cell: a category of its own."""

NUMERIC_ABOVE = 12
"""A column of numbers with more distinct values than this is measured as numeric, any other as categorical."""

QUANTILE_BINS = 16
"""Most bins of a numeric column, at quantiles of the training rows."""

TRUTH_WORDS = {"True": "1", "TRUE": "1", "true": "1", "False": "0", "FALSE": "0", "false": "0"}
"""Texts that `pandas.read_csv` turns into truth values, and the labels that it thereby gives them."""


def is_numeric(column: pd.Series[Any]) -> bool:
    """True if the column holds numbers with more than `NUMERIC_ABOVE` distinct values. Ask the training rows only."""
    return bool(pd.api.types.is_numeric_dtype(column)) and int(column.nunique()) > NUMERIC_ABOVE


def numbers(column: pd.Series[Any]) -> Floats:
    """The cells as float64; what is missing or not a number is NaN."""
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def labels(column: pd.Series[Any]) -> Labels:
    """The cells as category labels (object array of str) that survive a round trip through CSV."""
    codes, distinct = pd.factorize(np.asarray(column, dtype=object))
    as_numbers = numbers(pd.Series(distinct, dtype=object))
    names = [_label(cell, number) for cell, number in zip(distinct, as_numbers, strict=True)]
    return np.array([*names, MISSING], dtype=object)[codes]  # a missing cell has code -1: the last name


def _label(cell: object, number: float) -> str:
    word = str(cell)
    if word in TRUTH_WORDS:
        return TRUTH_WORDS[word]
    return word if np.isnan(number) else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Codes:
    """Two tables as small integers: every column binned or labelled alike, missing included.

    `real` and `synthetic` have shape (rows, columns); `sizes[j]` is above every code of column j.
    """

    names: tuple[str, ...]
    real: Ints
    synthetic: Ints
    sizes: tuple[int, ...]


def encode(real: pd.DataFrame, synthetic: pd.DataFrame, bins: int = QUANTILE_BINS) -> Codes:
    """Code both tables: numeric columns in quantile bins of the real rows, other columns by label.

    Args:
        real: the training rows, which decide which columns are numeric and where the bins are cut.
        synthetic: the table under test; columns that `real` lacks are ignored.
        bins: most bins of a numeric column; equal quantiles are merged.

    Returns:
        Codes of shape (rows, columns) of both tables.

    Raises:
        DataError: a column is absent from the synthetic table, or a table has no rows.
    """
    check_comparable(real, synthetic, "synthetic")
    columns = [_encode_column(real[name], synthetic[name], bins) for name in real.columns]
    return Codes(
        names=tuple(str(name) for name in real.columns),
        real=np.column_stack([ours for ours, _, _ in columns]),
        synthetic=np.column_stack([theirs for _, theirs, _ in columns]),
        sizes=tuple(size for _, _, size in columns),
    )


def _encode_column(real: pd.Series[Any], synthetic: pd.Series[Any], bins: int) -> tuple[Ints, Ints, int]:
    if is_numeric(real):
        edges = np.unique(np.nanquantile(numbers(real), np.linspace(0, 1, bins + 1)))[1:-1]
        return _bin(numbers(real), edges), _bin(numbers(synthetic), edges), len(edges) + 2
    together, distinct = pd.factorize(np.concatenate([labels(real), labels(synthetic)]))
    together = together.astype(np.int64)
    return together[: len(real)], together[len(real) :], len(distinct)


def _bin(values: Floats, edges: Floats) -> Ints:
    """0 for missing, then 1, 2, ... from the lowest bin up; a bin includes its lower edge."""
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right")).astype(np.int64)


def features(real: pd.DataFrame, table: pd.DataFrame, *, without: Sequence[str] = ()) -> pd.DataFrame:
    """What a learner is given of `table`: float64 where the real column is numeric, labels elsewhere."""
    kept = [name for name in real.columns if name not in without]
    return pd.DataFrame(
        {name: numbers(table[name]) if is_numeric(real[name]) else labels(table[name]) for name in kept}
    )


def check_comparable(real: pd.DataFrame, other: pd.DataFrame, role: str) -> None:
    """Raise `DataError` unless both tables have rows and `other` (the `role` table) has every real column."""
    absent = [str(name) for name in real.columns if name not in other.columns]
    if absent:
        raise DataError(f"the {role} table lacks column '{absent[0]}'; evaluate tables of one study")
    if real.empty or other.empty:
        raise DataError(f"the {'training' if real.empty else role} table has no rows; there is nothing to compare")
