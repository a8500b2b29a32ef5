"""Kaplan-Meier curves and the log-rank test from released tables of time x event (x group).

Time is known by intervals, the groups of its codes. Let d_j be events and c_j censored patients in interval j, and
n_j = sum_{k >= j} (d_k + c_k) those observed until it begins. The curve at the end of interval t is

    S(t) = product over j <= t of (1 - d_j / r_j),    r_j = n_j - w c_j,

the Kaplan-Meier estimate (1958) of grouped times; w = 1/2 is the life table's (actuarial) rule, w = 1 and w = 0 are
what it would be if all censored patients of an interval left before, or after, its events. The band holds both.

All d_j and c_j are sums of cells T^ with noise of covariance S. With g the gradient of log S(t) by the cells, the
variance of log S^(t) is g' diag(T) g + g' S g: by the delta method, sampling (Greenwood's, for w = 0) and noise. The
interval is taken on the scale log(-log S) (Kalbfleisch and Prentice 1980) where the cumulative hazard is at least
`CLEAR` standard deviations, and on the plain scale elsewhere: noise is symmetric there. Few events say little of how
many to expect, none still less: on the plain scale the lower limit is that of the score interval of a Poisson count,
whose unit u is what one event adds to the hazard. The hazard's upper limit is then H + u z^2 / 2 + z sqrt(var + (u z /
2)^2); without noise and events, u z^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from common.errors import StudyError
from common.evaluation.statistics.intervals import LEVEL, normal_quantile
from common.inference.counts import RunCounts, Table
from common.inference.log_rank import ACTUARIAL, FEWEST_AT_RISK, Intervals, LogRank, log_rank_test
from common.inference.noisy import Interval
from common.inference.table_one import OVERALL, group_labels
from common.study.study import Study

CLEAR = 4.0
"""Standard deviations of the cumulative hazard from which its logarithm is about normal."""

LEAST_LEFT = 1e-6
"""Patients at risk without an event. In the last interval all censored patients may leave first, and rounding errors
remain."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A curve at the end of an interval of time.

    Attributes:
        time: last time of the interval.
        at_risk: patients observed until the interval begins, estimated.
        events: of the interval, estimated; noise may make them negative.
        survival: fraction of patients without the event, with its 95 % band, pointwise.
    """

    time: float
    at_risk: float
    events: float
    survival: Interval


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """One group's survival.

    Attributes:
        group: label of the group.
        patients: with a known time and outcome, estimated.
        points: by time; they end where too few patients are at risk for the noise.
        median: time at which half of the patients have had the event; limits are infinite where the band does not
            reach a half.
    """

    group: str
    patients: float
    points: tuple[CurvePoint, ...]
    median: Interval


@dataclass(frozen=True, slots=True)
class SurvivalCurves:
    """Survival of all patients and by group.

    Attributes:
        time, event, by: columns; `by` is None without groups.
        label: label of `event` that counts as the event; every other known one is censored.
        curves: of all patients, then of each group.
        log_rank: None without groups, or where noise hides the test.
        notes: what a reader has to know about this run.
    """

    time: str
    event: str
    label: str
    by: str | None
    curves: tuple[SurvivalCurve, ...]
    log_rank: LogRank | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SurvivalOutcome:
    """The columns of a survival analysis.

    Attributes:
        time: column of numbers, the time to the event or to the end of observation.
        event: column of labels, whether the event happened.
        label: label of `event` that is the event; None for its last one.
        by: column of labels whose groups are compared; None for all patients only.
    """

    time: str
    event: str
    label: str | None = None
    by: str | None = None


def _counted(run: RunCounts, columns: tuple[str, ...], event: int, labels: int) -> _OutcomeTable:
    """Return the table of time, event and, where there is a third column, group.

    Args:
        run: released sums of a run.
        columns: time, event, and maybe group.
        event: number of the label that is the event.
        labels: how many labels the event's column has.

    Raises:
        StudyError: the run counted them in merged labels only.
    """
    table = run.table(columns)
    for axis in range(1, len(columns)):
        if not table.is_whole(axis):
            raise StudyError(
                f"the run counted '{columns[axis]}' with '{columns[0]}' in merged labels only; choose a column of "
                f"fewer labels than {len(table.maps[axis])}"
            )
    return _OutcomeTable(run, table, event, labels)


def survival_curves(run: RunCounts, study: Study, outcome: SurvivalOutcome) -> SurvivalCurves:
    """Return the curves of all patients and of each group, with the log-rank test between groups.

    Args:
        run: released sums of a run.
        study: its study.
        outcome: the columns.

    Raises:
        StudyError: a column does not fit, or the run did not count them together.
    """
    run.index(outcome.time)
    if study.table[outcome.time].grid is None:
        raise StudyError(f"column '{outcome.time}' holds no numbers; --time takes a column of numbers or times")
    events = group_labels(run, study, outcome.event)
    label = events[-1] if outcome.label is None else outcome.label
    if label not in events:
        raise StudyError(f"column '{outcome.event}' has no such label; choose one of {', '.join(events)}")
    counted = _counted(run, (outcome.time, outcome.event), events.index(label), len(events))
    every = counted.intervals(None)
    curves, notes, log_rank = [_curve(OVERALL, every)], (*run.notes, *_left_out(every, outcome)), None
    if outcome.by is not None:
        labels = group_labels(run, study, outcome.by)
        counted = _counted(run, (outcome.time, outcome.event, outcome.by), events.index(label), len(events))
        groups = [counted.intervals(number) for number in range(len(labels))]
        curves += [_curve(name, group) for name, group in zip(labels, groups, strict=True)]
        log_rank = log_rank_test(groups)
    return SurvivalCurves(outcome.time, outcome.event, label, outcome.by, tuple(curves), log_rank, notes)


def _left_out(every: Intervals, outcome: SurvivalOutcome) -> tuple[str, ...]:
    """Return a note about patients who are in no curve, where noise does not hide them."""
    cells = 1 - every.at_risk(0.0)[0]
    patients, noise = float(cells @ every.counts.counts), math.sqrt(every.counts.noise_of(cells, cells))
    if patients < max(FEWEST_AT_RISK, 2 * noise):
        return ()
    return (
        f"about {patients:,.0f} patients have no known {outcome.time} or {outcome.event}, and are in no curve: where "
        "these are patients without the event, as with the day of an event, the curves fall too fast",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _OutcomeTable:
    """A table of time x event, or time x event x group.

    Attributes:
        run: of the table.
        table: its axes are in this order.
        event: number of the label that is the event.
        labels: how many labels the event's column has; what comes after them is missing.
    """

    run: RunCounts
    table: Table
    event: int
    labels: int

    def intervals(self, group: int | None) -> Intervals:
        """Return events and censored patients of a group, or of all, by interval of time."""
        table, parts = self.table, self.run.parts(self.run.names[self.table.columns[0]])
        units = table.maps[0][parts.codes]
        cells = np.stack(np.unravel_index(np.arange(len(table.counts.counts)), table.shape))
        is_in_group = np.ones(cells.shape[1], dtype=np.bool_) if group is None else cells[2] == group
        numbered = [unit for unit in range(table.shape[0]) if not np.isnan(parts.lows[units == unit]).any()]
        ends = np.array([float(parts.highs[units == unit].max()) for unit in numbered])
        of_time = (cells[0][None] == np.array(numbered)[:, None]) & is_in_group
        events, censored = of_time & (cells[1] == self.event), of_time & (cells[1] != self.event)
        censored &= cells[1] < self.labels
        return Intervals(table.counts, ends, events.astype(np.float64), censored.astype(np.float64))


def _curve(name: str, intervals: Intervals) -> SurvivalCurve:
    """Return a group's curve with its pointwise band."""
    estimates = {leaving: _log_survival(intervals, leaving) for leaving in (0.0, ACTUARIAL, 1.0)}
    bands = [_band(*estimate) for estimate in estimates.values()]
    values = np.exp(-np.maximum.accumulate(np.maximum(-estimates[ACTUARIAL][0], 0.0)))
    low, high = np.min([band[0] for band in bands], axis=0), np.max([band[1] for band in bands], axis=0)
    risk = intervals.at_risk(0.0)
    at_risk = risk @ intervals.counts.counts
    events = intervals.events @ intervals.counts.counts
    points = []
    for index, time in enumerate(intervals.ends.tolist()):
        reach = math.sqrt(intervals.counts.noise_of(risk[index], risk[index]))
        if at_risk[index] < max(FEWEST_AT_RISK, 2 * reach) or not math.isfinite(low[index] + high[index]):
            break
        value = float(values[index])
        survival = Interval(value, min(float(low[index]), value), max(float(high[index]), value))
        points.append(CurvePoint(time, float(at_risk[index]), float(events[index]), survival))
    patients = float(at_risk[0]) if len(at_risk) else 0.0
    return SurvivalCurve(name, patients, tuple(points), _median(points))


def _log_survival(intervals: Intervals, leaving: float) -> tuple[Floats, Floats, Floats]:
    """Return log S^ at the end of each interval, its standard deviation, and the most that one patient changes it.

    Each has shape (intervals,).

    With r_j > d_j: d log(1 - d / r) / dd = -1 / (r - d), and by r it is 1 / (r - d) - 1 / r.
    """
    counts, risk = intervals.counts, intervals.at_risk(leaving)
    at_risk, events = risk @ counts.counts, intervals.events @ counts.counts
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log1p(-events / at_risk)
        gradient = (
            risk * (1 / (at_risk - events) - 1 / at_risk)[:, None] - intervals.events / (at_risk - events)[:, None]
        )
    is_sound = (at_risk > LEAST_LEFT) & (at_risk > events + LEAST_LEFT)
    last = int(np.argmin(is_sound)) if not is_sound.all() else len(is_sound)
    steps[last:], gradient[last:] = np.nan, np.nan
    running, gradients = np.cumsum(steps), np.cumsum(gradient, axis=0)
    variance = (gradients**2) @ np.maximum(counts.counts, 0.0) + ((gradients @ counts.noise) * gradients).sum(1)
    return running, np.sqrt(variance), np.abs(gradients).max(1)


def _band(log_survival: Floats, deviations: Floats, units: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper limit of S at each time, NaN where it is not known."""
    z, hazard = normal_quantile(LEVEL), -log_survival
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.exp(z * deviations / hazard)
        curved = np.exp(-hazard * factor), np.exp(-hazard / factor)
        value = np.exp(np.minimum(log_survival, 0.0))  # noise may make events negative; the curve starts at 1
        score = units * z**2 / 2 + z * np.hypot(deviations, units * z / 2)
        plain = value - value * score, value + z * value * deviations
        is_clear = hazard > CLEAR * deviations
    low, high = (np.where(is_clear, of_curved, of_plain) for of_curved, of_plain in zip(curved, plain, strict=True))
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def _median(points: Sequence[CurvePoint]) -> Interval:
    """Return when the curve falls to a half, linearly within an interval, and when its band does (Brookmeyer 1982).

    When in an interval the events happened is not known: limits are at the ends of the intervals.
    """

    def crossing(of: Callable[[Interval], float]) -> tuple[float, float, float]:
        before, start = 1.0, 0.0
        for point in points:
            reached = of(point.survival)
            if reached <= 0.5:
                within = start + (point.time - start) * (before - 0.5) / max(before - reached, 1e-12)
                return start, within, point.time
            before, start = reached, point.time
        return (math.inf,) * 3

    value = crossing(lambda survival: survival.value)[1]
    low, high = crossing(lambda survival: survival.low)[0], crossing(lambda survival: survival.high)[2]
    return Interval(value, min(low, value), max(high, value))
