"""Raw tables to conformed ones and back. A conformed table has the schema's columns in its order, every value allowed.

Columns on a value grid hold float64 with NaN for missing, the others labels with None for missing.
"""

from __future__ import annotations

import pandas as pd

from common.study.schema import Schema


def conform(raw: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the table that training sees. No cell makes it fail: each kind of column says what becomes of it.

    A column that is not there is missing throughout.
    """
    cells = {name: raw[name].tolist() if name in raw.columns else [""] * len(raw) for name in schema.names}
    return pd.DataFrame({column.name: column.conform(cells[column.name]) for column in schema.each()}, raw.index)


def format_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the raw form of a conformed table, with the declared decimals; `conform` turns it back."""
    return pd.DataFrame({column.name: column.format(frame[column.name]) for column in schema.each()}, dtype=object)
