"""Raw tables to conformed ones and back. A conformed table has the schema's columns in its order, every value allowed.

Columns on a value grid hold float64 with NaN for missing, the others labels with None for missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.columns.base import TableColumn, Texts
from common.study.schema import Schema

Values = dict[str, npt.NDArray[Any]]

DistinctCells = tuple[list[str], npt.NDArray[np.intp]]
"""The distinct cells of a column, and for every row the index of its cell among them."""


def distinct_cells(cells: Iterable[str]) -> DistinctCells:
    """Return the distinct cells of a column in order of appearance, and the index of every row's cell."""
    # pandas would factorize text as C strings, to which a cell "" and one of a NUL character are the same.
    listed = list(cells)
    numbers = {cell: number for number, cell in enumerate(dict.fromkeys(listed))}
    return list(numbers), np.fromiter(map(numbers.__getitem__, listed), dtype=np.intp, count=len(listed))


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the table that training sees. No cell makes it fail: each kind of column says what becomes of it.

    A column that is not there is missing throughout.
    """

    def cells_of(name: str) -> DistinctCells:
        return distinct_cells(raw[name].tolist() if name in raw.columns else [""] * len(raw))

    return pd.DataFrame(conformed_values(schema, cells_of), raw.index)


def conformed_values(schema: Schema, cells_of: Callable[[str], DistinctCells]) -> Values:
    """Return the conformed values of every modeled column; each distinct cell is read once.

    Args:
        schema: the agreed columns.
        cells_of: returns the cells of a column of the table, by its name.
    """
    values: Values = {}
    for column in schema.columns:
        if column.modeled:
            distinct, indices = cells_of(column.name)
            values |= {name: read[indices] for name, read in column.read(distinct).items()}
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
