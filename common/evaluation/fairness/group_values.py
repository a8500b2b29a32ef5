"""The value of a measure for every group of a sensitive column, with resamples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.fairness.groups import groups_of
from common.evaluation.fairness.results import PatientMeasure, TableMeasure
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import resampled
from common.evaluation.statistics.resampling import GROUP_RESAMPLES
from common.seeds import seed_for
from common.study.schema import Schema

FEWEST_ROWS = 30
"""A group with fewer rows in any table or stratum that a measure needs is listed, not measured."""

DRAWS = 60
"""Halves of a group's rows that a measure of tables is computed on."""

MOST_DRAWN = 10_000
"""Most rows of such a half."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupResamples:
    """One group's value, the same on resamples, and the number of rows behind it."""

    value: float
    drawn: Floats
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class GroupValues:
    """One measure for all groups of a column.

    Attributes:
        measured: value by group; a distance between tables is what exceeds the group's own floor.
        plain: distances between tables with the floor included; None for measures of patients.
        too_small: sentences about the groups that could not be measured.
    """

    measured: Mapping[str, GroupResamples]
    plain: Mapping[str, GroupResamples] | None
    too_small: tuple[str, ...]


def measure_groups_of_patients(measure: PatientMeasure, schema: Schema, name: str, seed: int) -> GroupValues:
    """Compute a statistic of patients for every group of a column.

    Args:
        schema: declares the column.
        name: name of the sensitive column.
        seed: seed of the resamples.
    """
    names, codes = groups_of(measure.patients, schema, name)
    strata = int(measure.stratum.max(initial=0)) + 1
    measured, small = {}, []
    for index, group in enumerate(names):
        members = np.flatnonzero(codes == index)
        fewest = int(np.bincount(measure.stratum[members], minlength=strata).min())
        if fewest < FEWEST_ROWS:
            if len(members):
                small.append(_too_small(group, fewest, "patients to judge by"))
            continue
        statistic = measure.statistic(members)
        value = float(statistic(np.ones((1, len(members))))[0])
        if math.isnan(value):
            small.append(f"{group}: {measure.title} is not defined, since all its patients are alike")
            continue
        drawn = resampled(statistic, len(members), seed=seed_for(seed, group), resamples=GROUP_RESAMPLES)
        measured[group] = GroupResamples(value, drawn, len(members))
    return GroupValues(measured, None, tuple(small))


def measure_groups_of_tables(measure: TableMeasure, data: EvaluationData, name: str, seed: int) -> GroupValues:
    """Compute distances between tables for every group of a column, on equally many rows of each.

    Distances shrink with the number of rows, so that a small group would look worse. A draw is without replacement:
    half as many rows as the smallest group has, of the synthetic rows and twice of the training rows, so that the floor
    is of two samples without a common row. Each is a sample of that size of the group's population, so expectations are
    comparable between groups. At most `MOST_DRAWN` rows are drawn at once.

    Args:
        data: the tables.
        name: name of the sensitive column.
        seed: seed of the draws.
    """
    names, real = groups_of(data.train, data.schema, name)
    synthetic = groups_of(data.synthetic, data.schema, name)[1]
    members = {
        group: (np.flatnonzero(real == index), np.flatnonzero(synthetic == index)) for index, group in enumerate(names)
    }
    small = [
        _too_small(
            group,
            min(len(real_rows), len(synthetic_rows)),
            "training rows" if len(real_rows) < FEWEST_ROWS else "synthetic rows",
        )
        for group, (real_rows, synthetic_rows) in members.items()
        if len(real_rows) and min(len(real_rows), len(synthetic_rows)) < FEWEST_ROWS
    ]
    large = {group: rows for group, rows in members.items() if min(map(len, rows)) >= FEWEST_ROWS}
    half = min((min(map(len, rows)) for rows in large.values()), default=0) // 2
    half = min(half, MOST_DRAWN)
    beyond, plain = dict[str, GroupResamples](), dict[str, GroupResamples]()
    for group, (real_rows, synthetic_rows) in large.items():
        rng = np.random.default_rng(seed_for(seed, group))
        distances, floors = _draw_distances(measure, real_rows, synthetic_rows, half, rng)
        if len(distances) < 2:
            small.append(f"{group}: {measure.title} is not defined")
            continue
        noise, rows = rng.standard_normal(GROUP_RESAMPLES), min(len(real_rows), len(synthetic_rows))
        beyond[group] = _spread_over(distances - floors, noise, half, rows)
        plain[group] = _spread_over(distances, noise, half, rows)
    return GroupValues(beyond, plain, tuple(small))


def _draw_distances(
    measure: TableMeasure, real_rows: Integers, synthetic_rows: Integers, half: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return distances and floors of `DRAWS` draws, without undefined ones; shape (draws,)."""
    pairs = []
    for _ in range(DRAWS):
        first, second = np.split(rng.choice(real_rows, 2 * half, replace=False), 2)
        pair = measure.measure(first, rng.choice(synthetic_rows, half, replace=False)), measure.floor(first, second)
        if pair[0] is not None and pair[1] is not None:
            pairs.append(pair)
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _spread_over(draws: Floats, noise: Floats, half: int, rows: int) -> GroupResamples:
    """Return the mean of the draws, and resamples with the variance of a measurement on the whole group.

    Draws of h from n rows differ with variance s^2 (1 / h - 1 / n), which is scaled to the s^2 / n of the whole group
    (Politis and Romano 1994, Ann. Stat. 22); 1 / `DRAWS` is the fraction of that variance in a mean of that many draws.
    """
    value, scale = float(draws.mean()), math.sqrt(half / (rows - half) + 1 / DRAWS)
    return GroupResamples(value, value + scale * float(draws.std(ddof=1)) * noise, rows)


def _too_small(group: str, rows: int, what: str) -> str:
    return f"{group}: fewer than {FEWEST_ROWS} {what}" if rows else f"{group}: no {what}"
