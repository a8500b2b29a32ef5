"""Two tables as small integers: numeric columns in bins of the training rows, other columns by label.

Bins are cut by the training rows alone. The schema declares which columns are numeric. The core measures decide it from
the training rows instead (`numeric_by_value`), since they must equal a yardstick without a schema.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import AnyIntegers, Floats
from common.errors import DataError
from common.evaluation.statistics.values import labels, numbers

MOST_CATEGORIES = 12
"""Numeric columns of at most this many distinct values get a bin per value; without a schema they are categorical."""

QUANTILE_BINS = 16
"""Most bins of a numeric column, at quantiles of the training rows."""


_CodedColumn = tuple[AnyIntegers, AnyIntegers, int]
"""Codes of the real rows and of the synthetic rows, and a number above every code."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedTables:
    """Two tables with every column binned or labeled alike, missing included.

    Attributes:
        names: the columns.
        real, synthetic: codes of shape (rows, columns), in 32 bits: a report holds six codings of both tables.
        sizes: per column, a number above every code of it.
    """

    names: tuple[str, ...]
    real: AnyIntegers
    synthetic: AnyIntegers
    sizes: tuple[int, ...]


def is_numeric_by_value(column: pd.Series[Any]) -> bool:
    """Return True if the column holds numbers with more than `MOST_CATEGORIES` distinct values."""
    return bool(pd.api.types.is_numeric_dtype(column)) and int(column.nunique()) > MOST_CATEGORIES


def numeric_by_value(real: pd.DataFrame) -> frozenset[str]:
    """Return the columns that count as numeric without a schema; ask the training rows only."""
    return frozenset(str(name) for name in real.columns if is_numeric_by_value(real[name]))


def encode(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    bins: int = QUANTILE_BINS,
    *,
    numeric: Collection[str] | None = None,
) -> CodedTables:
    """Code both tables.

    Args:
        real: the training rows, which decide where bins are cut.
        synthetic: the table under test; columns that `real` lacks are ignored.
        bins: most bins of a numeric column; equal quantiles are merged.
        numeric: the numeric columns; None for those of `numeric_by_value`.

    Returns:
        Both tables as codes, one column per column of `real`.

    Raises:
        DataError: a column is absent from the synthetic table, or a table has no rows.
    """
    return encode_on_grids(real, synthetic, (bins,), numeric=numeric)[0]


def encode_on_grids(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    grids: Sequence[int],
    *,
    numeric: Collection[str] | None = None,
) -> tuple[CodedTables, ...]:
    """Code both tables as `encode` does, once for each number of bins in `grids`; labels are read once.

    Args:
        real, synthetic: tables with the same columns.
        grids: numbers of bins for numeric columns.
        numeric: names of the numeric columns; None to tell them by their values.

    Returns:
        One pair of coded tables for each number of bins, in the order of `grids`.
    """
    check_comparable(real, synthetic, "synthetic")
    cut = numeric_by_value(real) if numeric is None else numeric
    columns = list[Sequence[_CodedColumn]]()
    for name in real.columns:
        if name in cut:
            values = numbers(real[name]), numbers(synthetic[name])
            columns.append([_bin_both(*values, bins) for bins in grids])
        else:
            columns.append([_label_both(real[name], synthetic[name])] * len(grids))
    names = tuple(str(name) for name in real.columns)
    return tuple(_stack(names, coded) for coded in zip(*columns, strict=True))


def _stack(names: tuple[str, ...], columns: Sequence[_CodedColumn]) -> CodedTables:
    """Return the columns as tables whose columns are contiguous in memory, since measures read them one by one."""
    real, synthetic = (np.array([column[side] for column in columns]).T for side in (0, 1))
    return CodedTables(names, real, synthetic, tuple(size for _, _, size in columns))


def _label_both(real: pd.Series[Any], synthetic: pd.Series[Any]) -> _CodedColumn:
    both, distinct = pd.factorize(np.concatenate([labels(real), labels(synthetic)]))
    both = both.astype(np.int32)
    return both[: len(real)], both[len(real) :], len(distinct)


def _bin_both(real: Floats, synthetic: Floats, bins: int) -> _CodedColumn:
    distinct = np.unique(real[~np.isnan(real)])
    if len(distinct) > MOST_CATEGORIES:
        edges = np.unique(np.nanquantile(real, np.linspace(0, 1, bins + 1)))[1:-1]
    else:
        edges = distinct[1:]
    return _bin(real, edges), _bin(synthetic, edges), len(edges) + 2


def _bin(values: Floats, edges: Floats) -> AnyIntegers:
    """Return 0 for missing, then 1, 2, ... from the lowest bin up; a bin includes its lower edge."""
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right")).astype(np.int32)


def features(table: pd.DataFrame, numeric: Collection[str], *, without: Sequence[str] = ()) -> pd.DataFrame:
    """Return a learner's features of a table: float64 for the numeric columns, labels for the others.

    Args:
        table: table whose columns are the features.
        numeric: names of the numeric columns.
        without: columns to leave out, such as the target.
    """
    kept = [name for name in table.columns if name not in without]
    return pd.DataFrame({name: numbers(table[name]) if name in numeric else labels(table[name]) for name in kept})


def check_columns(real: pd.DataFrame, other: pd.DataFrame, role: str) -> None:
    """Raise `DataError` unless a table has every column of the real one.

    Args:
        real: training rows.
        other: the table to check.
        role: name of that table in the message.
    """
    absent = [str(name) for name in real.columns if name not in other.columns]
    if absent:
        raise DataError(f"the {role} table lacks column '{absent[0]}'; evaluate tables of one study")


def check_comparable(real: pd.DataFrame, other: pd.DataFrame, role: str) -> None:
    """Raise `DataError` unless both tables have rows and the other one has every column of the real one.

    Args:
        real: training rows.
        other: the table to check.
        role: name of that table in the message.
    """
    check_columns(real, other, role)
    if real.empty or other.empty:
        raise DataError(f"the {'training' if real.empty else role} table has no rows; there is nothing to compare")
