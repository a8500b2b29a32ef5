"""Tables as numbers, and rows as points whose distances count the columns in which two rows differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.evaluation.statistics.values import MISSING, labels, numbers
from common.study.schema import Schema

Flags = npt.NDArray[np.bool_]

HASHED_CATEGORIES = 32
"""Most categories of a column that distances tell apart, which bounds their cost."""

TILE = 256, 2048
"""Queries and points whose distances are held at once: 4 MiB, which fit into a processor's cache."""

TIE = 1e-12
"""Added to squared distances in the order of the points: among equally close ones the first is always the closest."""


@dataclass(frozen=True, slots=True, eq=False)
class NumericCells:
    """A table as numbers, columns in the order of the schema.

    Attributes:
        values: cells as numbers, shape (rows, columns). A numeric column holds its numbers, NaN where missing; a
            categorical one the index of the category, then one for missing and one for labels that the schema does not
            list.
    """

    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, indices: Integers | Flags) -> NumericCells:
        """Return the rows at these indices."""
        return NumericCells(self.values[indices])


def cells_of(table: pd.DataFrame, schema: Schema) -> NumericCells:
    """Return the table's schema columns as numbers."""
    return NumericCells(np.column_stack([_column(table[column.name], schema, column.name) for column in schema.each()]))


def _column(cells: pd.Series[Any], schema: Schema, name: str) -> Floats:
    column = schema[name]
    if column.grid is not None:
        return numbers(cells)
    listed = [*labels(pd.Series(column.labels, dtype=object)), MISSING]
    indices = pd.Index(listed).get_indexer(pd.Index(labels(cells)))
    return np.where(indices < 0, len(listed), indices).astype(np.float64)


def baseline_table(schema: Schema, rows: int, rng: np.random.Generator) -> NumericCells:
    """Return rows drawn from the schema alone: every declared value of a column equally likely, columns independent.

    Args:
        schema: columns of the table.
        rows: number of rows.
        rng: random generator of the rows.
    """
    drawn = []
    for column in schema.each():
        if column.grid is not None:
            values = column.draw(rows, rng)
            drawn.append(np.where(rng.random(rows) < 0.5, np.nan, values) if column.missing else values)
        else:
            drawn.append(rng.integers(len(column.labels) + column.missing, size=rows).astype(np.float64))
    return NumericCells(np.column_stack(drawn))


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Rows as points: squared distances count the columns in which two rows differ, numbers by their ranks.

    A categorical column adds 1 where the categories differ. A numeric one adds the squared difference of the ranks,
    from 0 to 1, among the `basis` values; where one of two values is missing, at least 1.

    Attributes:
        basis: for each numeric column, the sorted present values in the table that ranks refer to; None for categorical
            columns.
        starts: index of each column's first coordinate, then the number of all coordinates.
    """

    schema: Schema
    basis: tuple[Floats | None, ...]
    starts: tuple[int, ...]

    def points(self, cells: NumericCells) -> Floats:
        """Return coordinates of shape (rows, starts[-1])."""
        points = np.zeros((len(cells), self.starts[-1]))
        rows = np.arange(len(cells))
        for index, sorted_values in enumerate(self.basis):
            values, start = cells.values[:, index], self.starts[index]
            if sorted_values is None:
                points[rows, start + values.astype(np.int64) % HASHED_CATEGORIES] = np.sqrt(0.5)
                continue
            is_missing = np.isnan(values)
            points[:, start] = np.where(is_missing, 0.5, ranks(values, sorted_values))
            points[:, start + 1] = is_missing
        return points

    def coordinates(self, columns: Integers) -> Integers:
        """Return the indices of the coordinates of some columns."""
        return np.concatenate([np.arange(self.starts[column], self.starts[column + 1]) for column in columns])


def embed(cells: NumericCells, schema: Schema) -> Embedding:
    """Return the embedding whose ranks refer to this table."""
    basis: list[Floats | None] = []
    widths = []
    for index, column in enumerate(schema.each()):
        values = cells.values[:, index]
        if column.grid is not None:
            basis.append(np.sort(values[~np.isnan(values)]))
            widths.append(2)
        else:
            basis.append(None)
            widths.append(min(HASHED_CATEGORIES, len(column.labels) + 2))
    return Embedding(schema, tuple(basis), tuple(int(start) for start in np.cumsum([0, *widths])))


def ranks(values: Floats, sorted_values: Floats) -> Floats:
    """Return the fraction of the sorted values below each value, half of the equal ones included; 0.5 without any."""
    if not len(sorted_values):
        return np.full(len(values), 0.5)
    sides = [np.searchsorted(sorted_values, values, side=side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / (2 * len(sorted_values)), dtype=np.float64)


def closest(
    queries: Floats,
    points: Floats,
    *,
    neighbor: int = 1,
    norms: Floats | None = None,
    beyond: Floats | float = 0.0,
) -> tuple[Integers, Floats]:
    """Return for every query the index of its k-th closest point, and the distance to it.

    Args:
        queries, points: of one embedding.
        neighbor: 1 for the closest point, k for the k-th closest.
        norms: squared norms of the points, shape (points,), of only the coordinates in which queries are not
            zero where the others do not count; None for those of all coordinates.
        beyond: squared norms of the queries in left-out coordinates, in which all points are zero.

    Returns:
        Indices and distances of shape (queries,). A query that is among the points finds itself first.
    """
    norms = (points**2).sum(axis=1) if norms is None else norms
    order = norms + TIE * np.arange(len(points)) / len(points)
    find = _closest if neighbor == 1 else partial(_kth_closest, neighbor=neighbor)
    nearest, squares = find(queries, points, order)
    squares += (queries**2).sum(axis=1) + beyond
    # A distance below the amount that breaks ties is that of an identical row.
    return nearest, np.sqrt(np.where(squares < 2 * TIE, 0.0, squares))


def _closest(queries: Floats, points: Floats, order: Floats) -> tuple[Integers, Floats]:
    """Return the index of the closest point and its squared distance less the squared norm of the query.

    Args:
        queries, points: of one embedding.
        order: squared norms of the points, with what breaks ties.
    """
    nearest, least = np.zeros(len(queries), dtype=np.int64), np.full(len(queries), np.inf)
    for first in range(0, len(queries), TILE[0]):
        block_rows = slice(first, first + TILE[0])
        doubled = -2 * queries[block_rows]
        for start in range(0, len(points), TILE[1]):
            squared = doubled @ points[start : start + TILE[1]].T
            squared += order[start : start + TILE[1]]
            indices = squared.argmin(axis=1)
            squares = squared[np.arange(len(squared)), indices]
            is_closer = squares < least[block_rows]
            nearest[block_rows] = np.where(is_closer, start + indices, nearest[block_rows])
            least[block_rows] = np.where(is_closer, squares, least[block_rows])
    return nearest, least


def _kth_closest(queries: Floats, points: Floats, order: Floats, *, neighbor: int) -> tuple[Integers, Floats]:
    """Return the same of the k-th closest point.

    Args:
        queries, points: of one embedding.
        order: squared norms of the points, with what breaks ties.
        neighbor: k, at least 1.
    """
    block = max(1, TILE[0] * TILE[1] // len(points))
    nearest, squares = np.empty(len(queries), dtype=np.int64), np.empty(len(queries))
    for start in range(0, len(queries), block):
        block_rows = slice(start, start + block)
        squared = (-2 * queries[block_rows]) @ points.T
        squared += order
        indices = np.argpartition(squared, neighbor - 1, axis=1)[:, neighbor - 1]
        nearest[block_rows], squares[block_rows] = indices, squared[np.arange(len(squared)), indices]
    return nearest, squares
