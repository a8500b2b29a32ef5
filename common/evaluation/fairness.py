"""Fairness: every measure by group of a sensitive column, and how far the best and the worst group are apart.

For a renderer: `FairnessEvidence` holds one `ColumnFairness` per sensitive column, which holds one `Comparison` per
measure. Draw the groups of a comparison as points with intervals on [`low`, `high`], `direction` says which way is
better; show `verdict`, and the gap with its interval. `is_flagged` colours a row: the gap's interval excludes zero.

All of it is computed from real rows without noise: it stays where the rows are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from common.evaluation.intervals import Estimate

Direction = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class GroupValue:
    """What one group got."""

    group: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure, group by group.

    Attributes:
        name, label, direction, low, high: how to read the measure.
        groups: in the order of the column's categories or bins; groups that are too small are left out.
        best, worst: names of groups.
        gap: worst against best, from 0 up; its interval holds for all pairs of groups at once.
        is_flagged: whether that interval excludes zero.
        verdict: one sentence.
    """

    name: str
    label: str
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
        """The part of report.json under `fairness`; its keys are described in docs/report.md."""
        return asdict(self)
