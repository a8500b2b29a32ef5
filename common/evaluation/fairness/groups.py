"""Groups of a sensitive column: its categories, or quarters of its declared bounds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.value_grid import ValueGrid
from common.evaluation.statistics.values import MISSING, Labels, labels, numbers
from common.study.schema import Schema

BINS = 4
"""Number of equal parts of a numeric sensitive column's declared bounds; independent of the patients."""


def groups_of(table: pd.DataFrame, schema: Schema, name: str) -> tuple[list[str], Integers]:
    """Return the names of all groups of a column, missing last, and each row's group as an index into them.

    Args:
        table: rows with the column.
        schema: declares the column.
        name: name of the column.
    """
    column = schema[name]
    if column.grid is not None:
        return _quarters(numbers(table[name]), column.grid)
    return _categories(labels(table[name]), column.labels)


def _quarters(values: Floats, grid: ValueGrid) -> tuple[list[str], Integers]:
    step = grid.step
    edges = [grid.lower + (grid.upper - grid.lower) * index / BINS for index in range(BINS + 1)]
    edges = [edges[0], *(round(edge / step) * step for edge in edges[1:-1]), edges[-1]]
    unit = f" {grid.shown_unit}" if grid.shown_unit else ""
    texts = [grid.text(edge) for edge in edges]
    before = "below" if grid.calendar is None else "before"
    names = [f"{low} to {before} {high}{unit}" for low, high in itertools.pairwise(texts)]
    names[-1] = f"{texts[-2]} to {texts[-1]}{unit}"
    codes = np.searchsorted(np.array(edges[1:-1]) - step / 2, values, side="right")
    return [*names, "missing"], np.where(np.isnan(values), BINS, codes).astype(np.int64)


def _categories(cells: Labels, declared: Sequence[str]) -> tuple[list[str], Integers]:
    listed = pd.Index([*labels(pd.Series(list(declared), dtype=object)), MISSING])
    return [*declared, "missing"], listed.get_indexer(pd.Index(cells)).astype(np.int64)
