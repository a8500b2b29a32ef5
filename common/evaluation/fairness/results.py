"""Fairness as values: measures that can be compared between groups, and what the comparison found.

For a renderer: `FairnessEvidence` holds one `ColumnFairness` per sensitive column, which holds one `Comparison` per
measure. Draw the groups of a comparison as points with intervals on [`low`, `high`]; `direction` says which way is
better. Show `verdict`, and the gap with its interval. `is_flagged` colors a row; its threshold is stricter than the
interval, since many groups are compared; distances between tables must meet one more condition (see `TableMeasure`).

All of it is computed from real rows without noise: it stays where the rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from common.arrays import Integers
from common.evaluation.statistics.intervals import Estimate, Statistic

Direction = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, eq=False)
class TableMeasure:
    """A distance between two tables; a group's value is how far it exceeds the group's own floor.

    Distances of few rows are too large, by more in a varied group: the floor is what other training rows of the group
    reach at as many rows. Subtracting it is right where the synthetic rows are as good as real ones, but the same true
    distance adds less to a large floor. So a gap is flagged only where the plain distance, which errs the other way,
    shows it too.

    Attributes:
        name, title, direction, low, high: how to read the measure; worse values must be larger.
        measure: computes the value from indices of training rows and of synthetic rows; None where it is not defined.
        floor: computes the same from indices of training rows and of other training rows; subtracted from the value.
    """

    name: str
    title: str
    direction: Direction
    low: float
    high: float
    measure: Callable[[Integers, Integers], float | None]
    floor: Callable[[Integers, Integers], float | None]


@dataclass(frozen=True, slots=True, eq=False)
class PatientMeasure:
    """A statistic of patients, each of whom has been predicted or attacked already.

    Attributes:
        name, title, direction, low, high: how to read the measure.
        patients: one real row per patient, with the sensitive columns.
        stratum: index of every patient's stratum, from 0 up, shape (patients,); a group needs enough patients in each.
        statistic: returns, for indices of patients, the function that `intervals.bootstrap` calls.
    """

    name: str
    title: str
    direction: Direction
    low: float
    high: float
    patients: pd.DataFrame
    stratum: Integers
    statistic: Callable[[Integers], Statistic]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """The measure's value for one group."""

    group: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure, group by group.

    Attributes:
        name, title, direction, low, high: how to read the measure.
        groups: results by group, in the order of the column's categories or bins; groups that are too small are left
            out.
        best, worst: names of groups.
        gap: worst against best, from 0 up; its interval holds for all pairs of groups at once.
        is_flagged: whether an interval of `FLAG_LEVEL` excludes zero; see `TableMeasure` for what distances need more.
        verdict: one sentence.
    """

    name: str
    title: str
    direction: Direction
    low: float
    high: float
    groups: tuple[GroupValue, ...]
    best: str
    worst: str
    gap: Estimate
    is_flagged: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class ColumnFairness:
    """One sensitive column: what was compared, and the groups that were too small to measure, with the reason."""

    column: str
    comparisons: tuple[Comparison, ...]
    too_small: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FairnessEvidence:
    """All sensitive columns. `minimum` is the number of rows below which a group is listed, not measured."""

    minimum: int
    columns: tuple[ColumnFairness, ...]
    verdict: str

    def as_document(self) -> dict[str, Any]:
        """Return the part of report.json under `fairness`; its keys are described in docs/report.md."""
        return asdict(self)
