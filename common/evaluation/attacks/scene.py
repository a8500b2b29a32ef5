"""What attacks work on: the tables as numbers, the rows under attack, distances between rows, and who lies alone.

An attacker has one table and the public schema. The table is the synthetic one, or for comparison one that is drawn
from the schema alone (`blind_table`): an attack that works as well with that has learnt nothing from the synthesizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import DataError
from common.evaluation.statistics.values import MISSING, Floats, Ints, check_comparable, labels, numbers
from common.seeds import seed_for
from common.study.schema import Schema

Flags = npt.NDArray[np.bool_]

MOST_TARGETS = 5000
"""Rows attacked in each arm at most."""

PAIRS = 100_000_000
FEWEST_TARGETS = 500
"""Of a long synthetic table fewer rows are attacked, so that at most about `PAIRS` distances are measured an arm."""

HASHED_CATEGORIES = 32
"""Distances tell at most so many categories of a column apart, which bounds their cost."""

EXPOSED_SHARE = 0.10
NEIGHBOUR = 5
LANDMARKS = 2000
FEWEST_EXPOSED = 20

FEWEST_IN_A_TABLE = 2
"""Rows of a table below which no attack can be run on it: one row has no neighbor to be compared with."""

BLOCK_CELLS = 1 << 22
TIE = 1e-12
"""Added to squared distances in the order of candidates: among equally close ones the first is the closest, always."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A table as numbers, columns in the order of the schema.

    `values` has shape (rows, columns). A numeric column holds its numbers, NaN where missing; a categorical one the
    place of the category, then one for missing and one for labels that the schema does not list.
    """

    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, places: Ints | Flags) -> Cells:
        return Cells(self.values[places])


def cells_of(table: pd.DataFrame, schema: Schema) -> Cells:
    """The table's schema columns as numbers."""
    return Cells(np.column_stack([_column(table[column.name], schema, column.name) for column in schema.each()]))


def _column(cells: pd.Series[Any], schema: Schema, name: str) -> Floats:
    column = schema[name]
    if column.grid is not None:
        return numbers(cells)
    listed = [*labels(pd.Series(column.labels, dtype=object)), MISSING]
    places = pd.Index(listed).get_indexer(pd.Index(labels(cells)))
    return np.where(places < 0, len(listed), places).astype(np.float64)


def blind_table(schema: Schema, rows: int, rng: np.random.Generator) -> Cells:
    """Rows drawn from the schema alone: every declared value of a column equally likely, columns independent."""
    drawn = []
    for column in schema.each():
        if column.grid is not None:
            values = column.draw(rows, rng)
            drawn.append(np.where(rng.random(rows) < 0.5, np.nan, values) if column.missing else values)
        else:
            drawn.append(rng.integers(len(column.labels) + column.missing, size=rows).astype(np.float64))
    return Cells(np.column_stack(drawn))


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Rows as points: squared distances count the columns in which two rows differ, numbers by their ranks.

    A categorical column adds 1 where the categories differ. A numeric one adds the squared difference of the ranks,
    from 0 to 1, among the `basis` values; where one of two values is missing, at least 1.

    Attributes:
        basis: per numeric column its present values in the table that ranks refer to, sorted; None for categorical.
        starts: where each column's coordinates begin, and where the last one's end.
    """

    schema: Schema
    basis: tuple[Floats | None, ...]
    starts: tuple[int, ...]

    def points(self, cells: Cells) -> Floats:
        """Coordinates of shape (rows, starts[-1])."""
        points = np.zeros((len(cells), self.starts[-1]))
        rows = np.arange(len(cells))
        for place, sorted_values in enumerate(self.basis):
            values, start = cells.values[:, place], self.starts[place]
            if sorted_values is None:
                points[rows, start + values.astype(np.int64) % HASHED_CATEGORIES] = np.sqrt(0.5)
                continue
            is_missing = np.isnan(values)
            points[:, start] = np.where(is_missing, 0.5, ranks(values, sorted_values))
            points[:, start + 1] = is_missing
        return points

    def coordinates(self, columns: Ints) -> Ints:
        """The places of the coordinates of some columns."""
        return np.concatenate([np.arange(self.starts[place], self.starts[place + 1]) for place in columns])


def embed(cells: Cells, schema: Schema) -> Embedding:
    """The embedding whose ranks refer to this table."""
    basis: list[Floats | None] = []
    widths = []
    for place, column in enumerate(schema.each()):
        values = cells.values[:, place]
        is_number = column.grid is not None
        basis.append(np.sort(values[~np.isnan(values)]) if is_number else None)
        widths.append(2 if is_number else min(HASHED_CATEGORIES, len(column.labels) + 2))
    return Embedding(schema, tuple(basis), tuple(int(start) for start in np.cumsum([0, *widths])))


def ranks(values: Floats, sorted_values: Floats) -> Floats:
    """Share of the sorted values below each value, half of the equal ones included; 0.5 where there are none."""
    if not len(sorted_values):
        return np.full(len(values), 0.5)
    sides = [np.searchsorted(sorted_values, values, side=side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / (2 * len(sorted_values)), dtype=np.float64)


def closest(queries: Floats, candidates: Floats, *, neighbour: int = 1) -> tuple[Ints, Floats]:
    """For every query the place of its first to k-th closest candidate's last, and the distance to it.

    Args:
        queries, candidates: points of one embedding.
        neighbour: 1 for the closest candidate, k for the k-th closest.

    Returns:
        Places and distances of shape (queries,). A query that is a candidate itself finds itself first.
    """
    norms = (candidates**2).sum(axis=1)
    order = norms + TIE * np.arange(len(candidates)) / len(candidates)
    block = max(1, BLOCK_CELLS // len(candidates))
    places, squares = np.empty(len(queries), dtype=np.int64), np.empty(len(queries))
    for start in range(0, len(queries), block):
        rows = queries[start : start + block]
        squared = rows @ (-2 * candidates.T)
        squared += order
        if neighbour == 1:
            found = squared.argmin(axis=1)
        else:
            found = np.argpartition(squared, neighbour - 1, axis=1)[:, neighbour - 1]
        places[start : start + block] = found
        squares[start : start + block] = squared[np.arange(len(rows)), found] + (rows**2).sum(axis=1)
    # What is below the order's share is an identical row.
    return places, np.sqrt(np.where(squares < 2 * TIE, 0.0, squares))


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A table in the hands of the attacker, and how far the targets are from its closest row.

    Attributes:
        cells, embedding, points: the table; ranks refer to itself, since the attacker has nothing else.
        to_train, to_control: distances from the targets of either arm, shape (targets,).
    """

    cells: Cells
    embedding: Embedding
    points: Floats
    to_train: Floats
    to_control: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that attacks share.

    Attributes:
        train, control: rows that the synthesizer learnt from, and rows that it never saw; at least two each.
        synthetic, blind: the table under test, and one from the schema alone with as many rows.
        train_targets, control_targets: places of the rows under attack.
        is_reference: which control targets an attacker who has other patients' rows is given, about half; attacks that
            use them are judged on the others.
        train_exposed, control_exposed: which targets lie most alone.
    """

    schema: Schema
    seed: int
    train: Cells
    control: Cells
    synthetic: View
    blind: View
    train_targets: Ints
    control_targets: Ints
    is_reference: Flags
    train_exposed: Flags
    control_exposed: Flags

    def rng(self, *names: str) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.seed, "attacks", *names))


def prepare(train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, *, seed: int) -> Scene:
    """Set the scene.

    Raises:
        DataError: a column is absent from a table, or there are fewer than two rows in one.
    """
    train = train[list(schema.names)]
    for table, role in ((control, "held-out"), (synthetic, "synthetic")):
        check_comparable(train, table, role)
    for table, role in ((train, "training"), (control, "held-out"), (synthetic, "synthetic")):
        if len(table) < FEWEST_IN_A_TABLE:
            raise DataError(f"the {role} table has {len(table)} rows; attacks need {FEWEST_IN_A_TABLE}")
    real = [cells_of(table, schema) for table in (train, control)]
    targets = [
        _targets(len(cells), len(synthetic), seed_for(seed, "attacks", "targets", arm))
        for arm, cells in zip(("train", "control"), real, strict=True)
    ]
    chosen = [cells.rows(places) for cells, places in zip(real, targets, strict=True)]
    exposed = _exposed(real, targets, schema, np.random.default_rng(seed_for(seed, "attacks", "landmarks")))
    blind = blind_table(schema, len(synthetic), np.random.default_rng(seed_for(seed, "attacks", "blind")))
    is_reference = np.random.default_rng(seed_for(seed, "attacks", "reference")).permutation(len(targets[1])) % 2 == 0
    return Scene(
        schema=schema,
        seed=seed,
        train=real[0],
        control=real[1],
        synthetic=_view(cells_of(synthetic, schema), schema, chosen),
        blind=_view(blind, schema, chosen),
        train_targets=targets[0],
        control_targets=targets[1],
        is_reference=is_reference,
        train_exposed=exposed[0],
        control_exposed=exposed[1],
    )


def _targets(rows: int, synthetic_rows: int, seed: int) -> Ints:
    most = min(MOST_TARGETS, max(FEWEST_TARGETS, PAIRS // synthetic_rows))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _view(cells: Cells, schema: Schema, chosen: list[Cells]) -> View:
    embedding = embed(cells, schema)
    points = embedding.points(cells)
    distances = [closest(embedding.points(rows), points)[1] for rows in chosen]
    return View(cells, embedding, points, distances[0], distances[1])


def _exposed(real: list[Cells], targets: list[Ints], schema: Schema, rng: np.random.Generator) -> list[Flags]:
    """Which targets are the tenth with the largest distance to the fifth closest of up to 2,000 other real rows."""
    everyone = Cells(np.concatenate([cells.values for cells in real]))
    landmarks = rng.permutation(len(everyone))[:LANDMARKS]
    around = everyone.rows(landmarks)
    embedding = embed(around, schema)
    points = embedding.points(around)
    distances = []
    for cells, places, start in zip(real, targets, (0, len(real[0])), strict=True):
        mine = embedding.points(cells.rows(places))
        is_landmark = np.isin(places + start, landmarks)
        apart = np.empty(len(places))
        for found, skipped in ((is_landmark, 1), (~is_landmark, 0)):  # a landmark finds itself first
            if found.any():
                neighbour = min(NEIGHBOUR + skipped, len(points))
                apart[found] = closest(mine[found], points, neighbour=neighbour)[1]
        distances.append(apart)
    threshold = np.quantile(np.concatenate(distances), 1 - EXPOSED_SHARE)
    return [(apart >= threshold) & (apart > 0) for apart in distances]
