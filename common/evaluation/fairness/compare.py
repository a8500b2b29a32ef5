"""Fairness: every measure by group of a sensitive column, and how far the best and the worst group are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.evaluation.fairness.group_values import (
    FEWEST_ROWS,
    GroupResamples,
    GroupValues,
    measure_groups_of_patients,
    measure_groups_of_tables,
)
from common.evaluation.fairness.results import (
    ColumnFairness,
    Comparison,
    FairnessEvidence,
    GroupValue,
    PatientMeasure,
    TableMeasure,
)
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import LEVEL, Estimate, from_resamples
from common.seeds import seed_for

FLAG_LEVEL = 0.995
"""A gap is flagged where an interval of this level excludes zero: about one in ten reports with twenty comparisons of
groups that do not differ has any flag."""


def assess_fairness(
    data: EvaluationData, measures: Sequence[TableMeasure | PatientMeasure], *, seed: int = 0
) -> FairnessEvidence:
    """Compare the groups of every sensitive column by every measure.

    Groups are the categories of a column, or the quarters of a numeric column's declared bounds; missing is a group.

    Args:
        data: `sensitive` names the columns.
        measures: see `measures.py`.
        seed: seed of the resamples.
    """
    columns = tuple(_compare_column(data, name, measures, seed) for name in data.sensitive)
    return FairnessEvidence(FEWEST_ROWS, columns, _judge(columns))


def _compare_column(
    data: EvaluationData, name: str, measures: Sequence[TableMeasure | PatientMeasure], seed: int
) -> ColumnFairness:
    comparisons, too_small, notes = [], dict[str, None](), []
    for measure in measures:
        measure_seed = seed_for(seed, "fairness", name, measure.name)
        if isinstance(measure, TableMeasure):
            values = measure_groups_of_tables(measure, data, name, measure_seed)
        else:
            values = measure_groups_of_patients(measure, data.schema, name, measure_seed)
        too_small |= dict.fromkeys(values.too_small)
        if len(values.measured) > 1:
            comparisons.append(_compare(measure, values))
        else:
            notes.append(f"{measure.title}: fewer than two groups are large enough to compare.")
    return ColumnFairness(name, tuple(comparisons), tuple(too_small), tuple(notes))


def _compare(measure: TableMeasure | PatientMeasure, values: GroupValues) -> Comparison:
    """Compare groups by the gap between the extreme ones, with an interval valid for all pairs of groups at once.

    The largest of several differences is never negative, so its own resamples would never enclose zero. Instead the
    range of the groups' errors gives the reach of all differences together, as in Tukey's method: with probability
    `LEVEL` no difference is off by more. A gap is flagged where plain distances show it too: see `TableMeasure`.
    """
    measured, plain = values.measured, values.plain
    groups = tuple(
        GroupValue(group, from_resamples(value.value, value.drawn, value.size)) for group, value in measured.items()
    )
    order = sorted(measured, key=lambda group: measured[group].value, reverse=measure.direction == "higher")
    best, worst = order[0], order[-1]
    reach, certain_reach = _reaches(measured)
    gap = abs(measured[best].value - measured[worst].value)
    size = min(value.size for value in measured.values())
    estimate = Estimate(gap, max(0.0, gap - reach), gap + reach, size)
    is_beyond = gap > certain_reach
    is_flagged = is_beyond and (plain is None or plain[worst].value - plain[best].value > _reaches(plain)[1])
    shown = f"{measured[worst].value:.2f} for {worst}, {measured[best].value:.2f} for {best}"
    interval = f"gap {gap:.2f}, {estimate.low:.2f} to {estimate.high:.2f}"
    if is_flagged:
        verdict = f"{measure.title} differs between groups: {shown} ({interval})."
    elif estimate.low > 0:
        why = "the plain distances do not show it" if is_beyond else "not shown at the stricter level"
        verdict = f"{measure.title} may differ between groups: {shown} ({interval}); {why}."
    else:
        verdict = f"{measure.title}: no difference between groups beyond chance ({shown}; {interval})."
    return Comparison(
        name=measure.name,
        title=measure.title,
        direction=measure.direction,
        low=measure.low,
        high=measure.high,
        groups=groups,
        best=best,
        worst=worst,
        gap=estimate,
        is_flagged=is_flagged,
        verdict=verdict,
    )


def _reaches(measured: Mapping[str, GroupResamples]) -> tuple[float, float]:
    """Return the half-widths of simultaneous intervals of differences between groups, at `LEVEL` and `FLAG_LEVEL`."""
    errors = np.stack([value.drawn - value.value for value in measured.values()])
    spread = np.nanmax(errors, axis=0) - np.nanmin(errors, axis=0)
    reach, certain_reach = np.quantile(spread, [LEVEL, FLAG_LEVEL])
    return float(reach), float(certain_reach)


def _judge(columns: tuple[ColumnFairness, ...]) -> str:
    if not columns:
        return "The study declares no sensitive column, so no groups were compared."
    compared = [comparison for column in columns for comparison in column.comparisons]
    if not compared:
        return "No two groups are large enough to compare."
    flagged = [
        f"{comparison.title.lower()} by {column.column}"
        for column in columns
        for comparison in column.comparisons
        if comparison.is_flagged
    ]
    if flagged:
        return f"Groups differ in {len(flagged)} of {len(compared)} comparisons: {'; '.join(flagged)}."
    if open_ := sum(comparison.gap.low > 0 for comparison in compared):
        return f"No difference between groups is shown in {len(compared)} comparisons; in {open_} there may be one."
    return f"In none of {len(compared)} comparisons do groups differ by more than chance."
