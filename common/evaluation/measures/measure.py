"""What a measure is, and how the usual kinds of them are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from common.evaluation.fidelity.marginals import mean_tvd_over, resampled_rows, tvd_estimate
from common.evaluation.fidelity.relations import PairSummary
from common.evaluation.measures.analysis import Analysis
from common.evaluation.statistics.codes import CodedTables
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import certain
from common.evaluation.statistics.scales import Scale
from common.evaluation.utility.train_on_synthetic import CORE_LEARNERS, auroc_on_held_out, value_on_held_out

Part = TypeVar("Part")

Compute = Callable[[Analysis], Estimate | None]
Reference = Callable[[Analysis], float | None]


def no_reference(analysis: Analysis) -> None:
    """Return None: real rows give this measure no other value than its best."""


@dataclass(frozen=True, slots=True)
class Measure(Scale):
    """One number about a synthetic table: how to read it and how to compute it.

    Attributes:
        compute: returns the value with its interval, or None where the tables do not define it.
        low, high: bounds of the value.
        reference: returns the value that real rows reach, or None where it is unknown.
        reference_title: what the reference is, in a few words.
        has_interval: whether `compute` returns an interval with the value.
    """

    compute: Compute
    low: float = 0.0
    high: float = 1.0
    reference: Reference = no_reference
    reference_title: str = "real rows"
    has_interval: bool = True


Grids = Callable[[Analysis], tuple[CodedTables, ...]]


def _distance(analysis: Analysis, *, grids: Grids, columns: int) -> Estimate | None:
    return tvd_estimate(grids(analysis), columns)


def _distance_of_real(analysis: Analysis, *, grids: Grids, columns: int) -> float | None:
    return mean_tvd_over([resampled_rows(codes) for codes in grids(analysis)], columns)


def one_grid(analysis: Analysis) -> tuple[CodedTables, ...]:
    """Return the tables on 16 quantile bins."""
    return (analysis.core_codes,)


def other_grids(analysis: Analysis) -> tuple[CodedTables, ...]:
    """Return the tables on each of `OTHER_GRIDS`."""
    return analysis.core_grids


WORST_DISTANCE = {1: 0.5, 2: 0.5, 3: 0.75}
"""The distance at which a table is unusable, by the number of columns in a set."""


def distance_measure(key: str, title: str, meaning: str, *, grids: Grids, columns: int) -> Measure:
    """Return a total variation distance over sets of columns, with that of resampled real rows as its reference.

    Args:
        key: name in report.json and in results files.
        title: a few words for a heading.
        meaning: a sentence for readers.
        grids: the coded tables to compare; the measure is the mean over them.
        columns: number of columns in a set, 1 to 3.
    """
    return Measure(
        key,
        title,
        meaning,
        best=0.0,
        worst=WORST_DISTANCE[columns],
        compute=partial(_distance, grids=grids, columns=columns),
        reference=partial(_distance_of_real, grids=grids, columns=columns),
        reference_title="real rows, resampled",
    )


def _auroc(analysis: Analysis, *, key: str) -> Estimate | None:
    if analysis.why_no_prediction is not None:
        return None
    return auroc_on_held_out(analysis.trained_on_synthetic.get(CORE_LEARNERS[key]), analysis.truth)


def _auroc_of_real(analysis: Analysis, *, key: str) -> float | None:
    if analysis.why_no_prediction is not None:
        return None
    return value_on_held_out(analysis.trained_on_real.get(CORE_LEARNERS[key]), analysis.truth)


def auroc_measure(key: str, title: str, meaning: str) -> Measure:
    """Return the AUROC of a core learner trained on synthetic rows, with that of real rows as its reference.

    Args:
        key: key of the learner in `CORE_LEARNERS`, and name in report.json and in results files.
        title: a few words for a heading.
        meaning: a sentence for readers.
    """
    return Measure(
        key,
        title,
        meaning,
        best=1.0,
        worst=0.5,
        compute=partial(_auroc, key=key),
        reference=partial(_auroc_of_real, key=key),
        reference_title="trained on real rows",
    )


def change_measure(
    key: str, title: str, meaning: str, field: Callable[[PairSummary], Estimate | None], *, high: float = 1.0
) -> Measure:
    """Return a mean change of relations between columns, with that of resampled real rows as its reference.

    Args:
        key: name in report.json and in results files.
        title: a few words for a heading.
        meaning: a sentence for readers.
        field: the field of the summary of pairs that holds the change.
        high: largest possible value.
    """
    return Measure(
        key,
        title,
        meaning,
        best=0.0,
        worst=0.5,
        high=high,
        compute=lambda analysis: field(analysis.pairs.summary),
        reference=lambda analysis: value_of(field(analysis.pairs.reference)),
    )


def field_of(part: Callable[[Analysis], Part | None], field: Callable[[Part], Estimate | None]) -> Compute:
    """Return a function that computes a field of a part of the analysis; None where the part is not defined."""

    def compute(analysis: Analysis) -> Estimate | None:
        value = part(analysis)
        return None if value is None else field(value)

    return compute


def reference_of(part: Callable[[Analysis], Part | None], field: Callable[[Part], Estimate | None]) -> Reference:
    """Return a function that gives the value of a field of a part of the analysis, for use as a reference."""
    compute = field_of(part, field)
    return lambda analysis: value_of(compute(analysis))


def value_of(estimate: Estimate | None) -> float | None:
    """Return the value of an estimate, if there is one."""
    return None if estimate is None else estimate.value


def without_interval(score: float | None) -> Estimate | None:
    """Return a score that has no interval as an estimate."""
    return None if score is None else certain(score, 0)
