"""Raw tables to conformed ones and back. A conformed table has the schema's columns in its order, every value allowed.

Columns on a value grid hold float64 with NaN for missing, the others labels with None for missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.columns.base import TableColumn, Texts
from common.study.schema import Schema

Values = dict[str, npt.NDArray[Any]]


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the table that training sees. No cell makes it fail: each kind of column says what becomes of it.

    A column that is not there is missing throughout.
    """

    def read(column: TableColumn) -> Values:
        cells = raw[column.name].tolist() if column.name in raw.columns else [""] * len(raw)
        return column.read(cells)

    return pd.DataFrame(conformed_values(schema, read), raw.index)


def conformed_values(schema: Schema, read: Callable[[TableColumn], Values]) -> Values:
    """Return the conformed values of every modeled column.

    Args:
        schema: the agreed columns.
        read: returns the values of the columns as which one column of the table is modeled.
    """
    values: Values = {}
    for column in schema.columns:
        if column.modeled:
            values |= read(column)
    for column in schema.columns:
        column.relate(values)
    return values


def format_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the raw form of a conformed table, as the columns declare it; `conform` turns it back."""
    return _written(frame, schema.columns)


def format_read(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the raw form of the columns that are read from records. It fails for no conformed table."""
    return _written(frame, [column for column in schema.columns if column.modeled])


def _written(frame: pd.DataFrame, columns: Sequence[TableColumn]) -> pd.DataFrame:
    texts: dict[str, Texts] = {}
    for column in sorted(columns, key=lambda column: bool(column.needs)):
        texts[column.name] = column.write(frame, texts)
    return pd.DataFrame({column.name: texts[column.name] for column in columns}, dtype=object)


def invented(schema: Schema, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a raw table whose values are uniform over what each column allows.

    Args:
        schema: the agreed columns.
        rows: number of rows.
        rng: source of randomness.
    """
    values: Values = {}
    for column in schema.columns:
        values |= column.invent(rows, rng)
    return format_table(pd.DataFrame(values), schema)
