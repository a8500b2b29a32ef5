"""Kaplan-Meier curves and the log-rank test from released tables of time x event (x group).

Time is known by intervals, the groups of its codes. Let d_j be events and c_j censored patients in interval j, and
n_j = sum_{k >= j} (d_k + c_k) those observed until it begins. The curve at the end of interval t is

    S(t) = product over j <= t of (1 - d_j / r_j),    r_j = n_j - w c_j,

the Kaplan-Meier estimate (1958) of grouped times; w = 1/2 is the life table's (actuarial) rule, w = 1 and w = 0 are
what it would be if all censored patients of an interval left before, or after, its events. The band holds both.

All d_j and c_j are sums of cells T^ with noise of covariance S. With g the gradient of log S(t) by the cells, the
variance of log S^(t) is g' diag(T) g + g' S g: by the delta method, sampling (Greenwood's, for w = 0) and noise. The
interval is taken on the scale log(-log S) (Kalbfleisch and Prentice 1980) where the cumulative hazard is at least
`CLEAR` standard deviations, and on the plain scale elsewhere: noise is symmetric there.

Log-rank (Mantel 1966): U_g = sum_j (d_jg - r_jg d_j / r_j). Under equal hazards its covariance is the sum of the
hypergeometric ones and, by the gradient of U, that of the noise; U' V^-1 U is chi-squared with one degree less than
groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from common.arrays import Floats
from common.errors import StudyError
from common.evaluation.statistics.intervals import LEVEL, normal_quantile
from common.inference.counts import RunCounts, Table
from common.inference.noisy import Interval, NoisyCounts
from common.inference.table_one import OVERALL, group_labels
from common.study.study import Study

CLEAR = 4.0
"""Standard deviations of the cumulative hazard from which its logarithm is about normal."""

FEWEST_AT_RISK = 10.0
"""Patients. A curve ends where fewer are at risk, by noisy counts."""

ACTUARIAL = 0.5


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
class Curve:
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
class LogRank:
    """Log-rank test of equal hazards, with the noise in its variance."""

    statistic: float
    freedom: int
    p_value: float


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
    curves: tuple[Curve, ...]
    log_rank: LogRank | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which columns say what: time, event and its label (the last one if not given), and groups."""

    time: str
    event: str
    label: str | None = None
    by: str | None = None


def survival_curves(run: RunCounts, study: Study, outcome: Outcome) -> SurvivalCurves:
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
    table = run.table((outcome.time, outcome.event))
    curves = [_curve(OVERALL, _intervals(run, outcome.time, table, events.index(label), len(events), None))]
    log_rank = None
    if outcome.by is not None:
        labels = group_labels(run, study, outcome.by)
        table = run.table((outcome.time, outcome.event, outcome.by))
        groups = [
            _intervals(run, outcome.time, table, events.index(label), len(events), number)
            for number in range(len(labels))
        ]
        curves += [_curve(name, group) for name, group in zip(labels, groups, strict=True)]
        log_rank = log_rank_test(groups)
    notes = tuple(f"phase '{phase}' counted other patients and is left out" for phase in run.left_out)
    return SurvivalCurves(outcome.time, outcome.event, label, outcome.by, tuple(curves), log_rank, notes)


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Patients of one group by interval of time.

    Attributes:
        counts: patients per cell of the table.
        ends: last time of each interval, shape (intervals,).
        events, censored: which cells are those of each interval, 0 or 1, shape (intervals, cells).
    """

    counts: NoisyCounts
    ends: Floats
    events: Floats
    censored: Floats

    def at_risk(self, leaving: float) -> Floats:
        """Return the weights of cells in r_j, shape (intervals, cells).

        Args:
            leaving: w, the part of an interval's censored patients who leave before its events.
        """
        both = self.events + self.censored
        return np.asarray(np.cumsum(both[::-1], axis=0)[::-1] - leaving * self.censored)


def _intervals(
    run: RunCounts, time: str, table: Table, event: int, labels: int, group: int | None
) -> Intervals:  # fmt: skip
    parts = run.parts(time)
    units = table.maps[0][parts.codes]
    cells = np.stack(np.unravel_index(np.arange(len(table.counts.counts)), table.shape))
    mine = np.ones(cells.shape[1], dtype=np.bool_) if group is None else cells[2] == group
    numbered = [unit for unit in range(table.shape[0]) if not np.isnan(parts.lows[units == unit]).any()]
    ends = np.array([float(parts.highs[units == unit].max()) for unit in numbered])
    of_time = (cells[0][None] == np.array(numbered)[:, None]) & mine
    is_event, is_other = cells[1] == event, (cells[1] != event) & (cells[1] < labels)
    return Intervals(
        table.counts, ends, (of_time & is_event).astype(np.float64), (of_time & is_other).astype(np.float64)
    )


def _curve(name: str, intervals: Intervals) -> Curve:
    """Return a group's curve with its pointwise band."""
    estimate = _log_survival(intervals, ACTUARIAL)
    bands = [_band(*_log_survival(intervals, leaving)) for leaving in (0.0, ACTUARIAL, 1.0)]
    values = np.exp(-np.maximum.accumulate(np.maximum(-estimate[0], 0.0)))
    low, high = np.min([band[0] for band in bands], axis=0), np.max([band[1] for band in bands], axis=0)
    at_risk = intervals.at_risk(0.0) @ intervals.counts.counts
    events = intervals.events @ intervals.counts.counts
    points = []
    for index, time in enumerate(intervals.ends.tolist()):
        reach = math.sqrt(intervals.counts.noise_of(*[intervals.at_risk(0.0)[index]] * 2))
        if at_risk[index] < max(FEWEST_AT_RISK, 2 * reach) or not math.isfinite(low[index] + high[index]):
            break
        value = float(values[index])
        survival = Interval(value, min(float(low[index]), value), max(float(high[index]), value))
        points.append(CurvePoint(time, float(at_risk[index]), float(events[index]), survival))
    patients = float(at_risk[0]) if len(at_risk) else 0.0
    return Curve(name, patients, tuple(points), _median(points))


def _log_survival(intervals: Intervals, leaving: float) -> tuple[Floats, Floats]:
    """Return log S^ at the end of each interval, and its standard deviation, each of shape (intervals,).

    With r_j > d_j: d log(1 - d / r) / dd = -1 / (r - d), and by r it is 1 / (r - d) - 1 / r.
    """
    counts, risk = intervals.counts, intervals.at_risk(leaving)
    at_risk, events = risk @ counts.counts, intervals.events @ counts.counts
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log1p(-events / at_risk)
        gradient = (
            risk * (1 / (at_risk - events) - 1 / at_risk)[:, None] - intervals.events / (at_risk - events)[:, None]
        )
    is_sound = (at_risk > 0) & (at_risk > events)
    last = int(np.argmin(is_sound)) if not is_sound.all() else len(is_sound)
    steps[last:], gradient[last:] = np.nan, np.nan
    running, gradients = np.cumsum(steps), np.cumsum(gradient, axis=0)
    variance = (gradients**2) @ np.maximum(counts.counts, 0.0) + ((gradients @ counts.noise) * gradients).sum(1)
    return running, np.sqrt(variance)


def _band(log_survival: Floats, deviations: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper limit of S at each time, NaN where it is not known."""
    z, hazard = normal_quantile(LEVEL), -log_survival
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.exp(z * deviations / hazard)
        curved = np.exp(-hazard * factor), np.exp(-hazard / factor)
        value = np.exp(log_survival)
        plain = value - z * value * deviations, value + z * value * deviations
        is_clear = hazard > CLEAR * deviations
    low, high = (np.where(is_clear, of_curved, of_plain) for of_curved, of_plain in zip(curved, plain, strict=True))
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def _median(points: Sequence[CurvePoint]) -> Interval:
    """Return when the curve falls to a half, linearly within intervals, and where its band does (Brookmeyer 1982)."""

    def crossing(of: Callable[[Interval], float]) -> float:
        before, start = 1.0, 0.0
        for point in points:
            reached = of(point.survival)
            if reached <= 0.5:
                return start + (point.time - start) * (before - 0.5) / max(before - reached, 1e-12)
            before, start = reached, point.time
        return math.inf

    value = crossing(lambda survival: survival.value)
    low, high = crossing(lambda survival: survival.low), crossing(lambda survival: survival.high)
    return Interval(value, min(low, value), max(high, value))


def log_rank_test(groups: Sequence[Intervals]) -> LogRank | None:
    """Return the log-rank test of equal hazards in all groups of one table; None where noise hides it."""
    counts = groups[0].counts
    risks = np.array([group.at_risk(ACTUARIAL) for group in groups])  # (groups, intervals, cells)
    r_g, d_g = risks @ counts.counts, np.array([group.events @ counts.counts for group in groups])
    noise = np.sqrt(np.einsum("gjc,cd,gjd->gj", risks, counts.noise, risks))
    is_used = (r_g > np.maximum(FEWEST_AT_RISK, 2 * noise)).all(0) & (r_g.sum(0) > d_g.sum(0) + 1)
    used = np.flatnonzero(is_used)
    if not len(used):
        return None
    covariance, scores = np.zeros((len(groups),) * 2), np.zeros(len(groups))
    events = np.array([group.events for group in groups])
    gradient = np.zeros((len(groups), len(counts.counts)))
    for j in used.tolist():
        r, d = r_g[:, j].sum(), d_g[:, j].sum()
        part = r_g[:, j] / r
        scores += d_g[:, j] - part * d
        covariance += max(d, 0.0) * (r - d) / max(r - 1, 1.0) * (np.diag(part) - np.outer(part, part))
        # dU_g = dd_g - (r_g / r) dd - (d / r) dr_g + (d r_g / r^2) dr
        gradient += (
            events[:, j] - np.outer(part, events[:, j].sum(0) - d / r * risks[:, j].sum(0)) - d / r * risks[:, j]
        )
    covariance += gradient @ counts.noise @ gradient.T
    kept = slice(0, len(groups) - 1)
    try:
        statistic = float(scores[kept] @ np.linalg.solve(covariance[kept, kept], scores[kept]))
    except np.linalg.LinAlgError:
        return None
    return LogRank(statistic, len(groups) - 1, float(chi2.sf(max(statistic, 0.0), len(groups) - 1)))
