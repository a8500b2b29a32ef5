"""The input of attacks: the rows under attack, the attacker's tables, and which records are outliers.

An attacker has one table and the public schema. The table is the synthetic one, or for comparison one that is drawn
from the schema alone (the baseline): an attack that works as well with that has learned nothing from the synthesizer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.errors import DataError
from common.evaluation.attacks.embedding import Embedding, Flags, NumericCells, baseline_table, cells_of, closest, embed
from common.evaluation.statistics.data import EvaluationData
from common.seeds import seed_for
from common.study.schema import Schema

MOST_TARGETS = 5000
"""Most rows that are attacked in each arm."""

PAIRS = 100_000_000
"""Most distances that are measured in an arm, about: fewer rows are attacked with a long synthetic table."""

FEWEST_TARGETS = 500
"""Rows that are attacked in each arm at least, whatever `PAIRS` says."""

MOST_COPIED = 20_000
"""Rows of an attacker's table above which it is not copied for a search of some columns with few queries."""

COPIED_FOR = 64
"""Queries from which on such a copy costs less than a search of all columns."""

OUTLIER_FRACTION = 0.10
"""Fraction of the real rows that count as outlier records."""

NEIGHBOR = 5
"""Outlier records are those farthest from this nearest neighbor, among up to `LANDMARKS` other real rows."""

LANDMARKS = 2000
"""Real rows, drawn at random, among which nearest neighbors are searched; bounds the time on large tables."""

FEWEST_OUTLIERS = 20
"""Outlier records in either arm below which they get no result of their own."""

FEWEST_IN_A_TABLE = 2
"""Rows of a table below which no attack can be run on it: one row has no neighbor to be compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class AttackerTable:
    """A table that the attacker has, and how far the targets are from its closest row.

    Attributes:
        cells, embedding: the table; ranks refer to the table itself, since the attacker has nothing else.
        used: the coordinates in which any row is not zero: no other one tells rows apart.
        points, norms: these coordinates of every row, and their squared norms.
        to_train, to_control: distances from the targets of either arm, shape (targets,).
    """

    cells: NumericCells
    embedding: Embedding
    used: Integers
    points: Floats
    norms: Floats
    to_train: Floats
    to_control: Floats

    def closest_in(self, columns: Integers, queries: Floats) -> Integers:
        """Return for every query the index of the closest row if only some columns count.

        A long table is not copied for a few queries: coordinates of a query that do not count are zero.
        """
        counts = np.isin(self.used, self.embedding.coordinates(columns))
        if len(self.points) <= MOST_COPIED or len(queries) >= COPIED_FOR:
            return closest(queries[:, self.used[counts]], self.points[:, counts])[0]
        left_out = self.points[:, ~counts]
        norms = self.norms - (left_out**2).sum(axis=1)
        return closest(queries[:, self.used] * counts, self.points, norms=norms)[0]


@dataclass(frozen=True, slots=True, eq=False)
class AttackSetup:
    """What all attacks share.

    Attributes:
        train, control: rows that the synthesizer learned from, and rows that it never saw; at least two each.
        synthetic, baseline: the table under test, and one from the schema alone with as many rows.
        train_targets, control_targets: indices of the rows under attack.
        is_reference: the control targets, about half, that an attacker who has other patients' rows is given; attacks
            that use them are scored on the others.
        outliers: whether each target is an outlier record, training and control.
    """

    schema: Schema
    seed: int
    train: NumericCells
    control: NumericCells
    synthetic: AttackerTable
    baseline: AttackerTable
    train_targets: Integers
    control_targets: Integers
    is_reference: Flags
    outliers: tuple[Flags, Flags]

    def rng(self, *names: str) -> np.random.Generator:
        """Return the random generator of that name under the setup's seed."""
        return np.random.default_rng(seed_for(self.seed, "attacks", *names))


def prepare(data: EvaluationData, *, seed: int) -> AttackSetup:
    """Choose the rows under attack, and measure their distances to the attacker's tables.

    Raises:
        DataError: a table has fewer than `FEWEST_IN_A_TABLE` rows.
    """
    train, control, synthetic, schema = data.train, data.holdout, data.synthetic, data.schema
    for table, role in ((train, "training"), (control, "held-out"), (synthetic, "synthetic")):
        if len(table) < FEWEST_IN_A_TABLE:
            raise DataError(f"the {role} table has {len(table)} rows; attacks need {FEWEST_IN_A_TABLE}")
    real = [cells_of(table, schema) for table in (train, control)]
    targets = [
        _targets(len(cells), len(synthetic), seed_for(seed, "attacks", "targets", arm))
        for arm, cells in zip(("train", "control"), real, strict=True)
    ]
    chosen = [cells.rows(places) for cells, places in zip(real, targets, strict=True)]
    outliers = _outliers(real, targets, schema, np.random.default_rng(seed_for(seed, "attacks", "landmarks")))
    baseline = baseline_table(schema, len(synthetic), np.random.default_rng(seed_for(seed, "attacks", "blind")))
    is_reference = np.random.default_rng(seed_for(seed, "attacks", "reference")).permutation(len(targets[1])) % 2 == 0
    return AttackSetup(
        schema=schema,
        seed=seed,
        train=real[0],
        control=real[1],
        synthetic=_attacker_table(cells_of(synthetic, schema), schema, chosen),
        baseline=_attacker_table(baseline, schema, chosen),
        train_targets=targets[0],
        control_targets=targets[1],
        is_reference=is_reference,
        outliers=(outliers[0], outliers[1]),
    )


def most_targets(synthetic_rows: int) -> int:
    """Return the most rows that are attacked in each arm, with a synthetic table of that many rows."""
    return min(MOST_TARGETS, max(FEWEST_TARGETS, PAIRS // synthetic_rows))


def _targets(rows: int, synthetic_rows: int, seed: int) -> Integers:
    return np.sort(np.random.default_rng(seed).permutation(rows)[: most_targets(synthetic_rows)])


def _attacker_table(cells: NumericCells, schema: Schema, chosen: list[NumericCells]) -> AttackerTable:
    embedding = embed(cells, schema)
    points = embedding.points(cells)
    used = np.flatnonzero(points.any(axis=0))
    points = np.ascontiguousarray(points[:, used])
    norms = (points**2).sum(axis=1)
    distances = []
    for queries in (embedding.points(rows) for rows in chosen):
        beyond = (np.delete(queries, used, axis=1) ** 2).sum(axis=1)
        distances.append(closest(queries[:, used], points, norms=norms, beyond=beyond)[1])
    return AttackerTable(cells, embedding, used, points, norms, distances[0], distances[1])


def _outliers(
    real: list[NumericCells], targets: list[Integers], schema: Schema, rng: np.random.Generator
) -> list[Flags]:
    """Flag the tenth of the targets with the largest distance to the fifth closest of up to 2,000 other real rows."""
    pooled = NumericCells(np.concatenate([cells.values for cells in real]))
    landmarks = rng.permutation(len(pooled))[:LANDMARKS]
    around = pooled.rows(landmarks)
    embedding = embed(around, schema)
    sides = [
        (embedding.points(cells.rows(places)), np.isin(places + start, landmarks))
        for cells, places, start in zip(real, targets, (0, len(real[0])), strict=True)
    ]
    return outliers_of(sides, embedding.points(around))


def outliers_of(sides: list[tuple[Floats, Flags]], points: Floats) -> list[Flags]:
    """Flag the tenth of the targets with the largest distance to their fifth closest landmark.

    Args:
        sides: the targets of each arm, and whether each is a landmark itself.
        points: the landmarks.
    """
    distances = []
    for mine, is_landmark in sides:
        apart = np.empty(len(mine))
        for chosen, skipped in ((is_landmark, 1), (~is_landmark, 0)):  # a landmark finds itself first
            if chosen.any():
                neighbor = min(NEIGHBOR + skipped, len(points))
                apart[chosen] = closest(mine[chosen], points, neighbor=neighbor)[1]
        distances.append(apart)
    threshold = np.quantile(np.concatenate(distances), 1 - OUTLIER_FRACTION)
    return [(apart >= threshold) & (apart > 0) for apart in distances]
