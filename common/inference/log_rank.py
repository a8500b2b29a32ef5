"""Grouped times of one group of patients, and the log-rank test between groups.

With d_jg events of group g in interval j and T_jg the time that its patients are observed there, U_g = sum_j (d_jg -
T_jg d_j / T_j): the score test of equal hazards that are constant within an interval, and Mantel's log-rank test (1966)
as intervals get narrow. How patients leave within an interval is not counted. Where hazards of event and of censoring
are constant within it, n_jg e^-at are left after a part t of it, so that T_jg is the logarithmic mean of those observed
at its start and at its end, (n_jg - n_j+1,g) / log(n_jg / n_j+1,g) (Hoem and Funck Jensen 1982): right for groups that
are censored at different rates, where the life table's rule, half of the censored patients, is not.

The covariance of U under equal hazards is d_j (diag(p) - p p') with p = T_jg / T_j, summed over intervals, and, by the
gradient of U, that of the noise; U' V^-1 U is chi-squared with one degree less than groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from common.arrays import Floats
from common.inference.noisy import NoisyCounts

FEWEST_AT_RISK = 10.0
"""Patients. A curve ends where fewer are at risk, by noisy counts."""

ACTUARIAL = 0.5
"""w of the life table: the fraction of an interval's censored patients who leave before its events."""


NEAR = 1e-4
"""Logarithm of a ratio below which two numbers hardly differ: their means agree to about its square / 12."""


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


@dataclass(frozen=True, slots=True)
class LogRank:
    """Log-rank test of equal hazards, with the noise in its variance.

    Attributes:
        statistic: U' V^-1 U, about chi-squared under equal hazards.
        freedom: degrees of freedom, the number of groups less one.
        p_value: probability of a statistic as large or larger under equal hazards.
    """

    statistic: float
    freedom: int
    p_value: float


def log_rank_test(groups: Sequence[Intervals]) -> LogRank | None:
    """Return the log-rank test of equal hazards in all groups of one table; None where noise hides it.

    Intervals at whose end a group has too few patients for the noise are left out, and the last one.
    """
    counts, kept = groups[0].counts, slice(0, len(groups) - 1)
    starts = np.array([group.at_risk(0.0) for group in groups])  # (groups, intervals, cells)
    observed = starts @ counts.counts
    noise = np.sqrt(((starts @ counts.noise) * starts).sum(-1))
    used = np.flatnonzero((observed > np.maximum(FEWEST_AT_RISK, 2 * noise)).all(0)[1:])
    if not len(used):
        return None
    covariance, scores = np.zeros((len(groups),) * 2), np.zeros(len(groups))
    events = np.array([group.events for group in groups])
    gradient = np.zeros((len(groups), len(counts.counts)))
    for j in used.tolist():
        times, by_start, by_end = _exposures(observed[:, j], observed[:, j + 1])
        changes = by_start[:, None] * starts[:, j] + by_end[:, None] * starts[:, j + 1]  # dT, (groups, cells)
        d, total = float((events[:, j] @ counts.counts).sum()), float(times.sum())
        part = times / total
        scores += events[:, j] @ counts.counts - part * d
        covariance += max(d, 0.0) * (np.diag(part) - np.outer(part, part))
        # dU_g = dd_g - p_g dd - (d / T) (dT_g - p_g dT)
        gradient += events[:, j] - np.outer(part, events[:, j].sum(0))
        gradient -= d / total * (changes - np.outer(part, changes.sum(0)))
    covariance += gradient @ counts.noise @ gradient.T
    try:
        statistic = float(scores[kept] @ np.linalg.solve(covariance[kept, kept], scores[kept]))
    except np.linalg.LinAlgError:
        return None
    return LogRank(statistic, len(groups) - 1, float(chi2.sf(max(statistic, 0.0), len(groups) - 1)))


def _exposures(starts: Floats, ends: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the logarithmic means T of positive numbers a and b, and their derivatives by a and by b.

    T = (a - b) / l with l = log(a / b); dT/da = (1 - T / a) / l and dT/db = (T / b - 1) / l. Where a and b hardly
    differ, T is their mean and both derivatives are 1/2.
    """
    ratios = np.log(starts / ends)
    are_near = np.abs(ratios) < NEAR
    safe = np.where(are_near, 1.0, ratios)
    times = np.where(are_near, (starts + ends) / 2, (starts - ends) / safe)
    by_start = np.where(are_near, 0.5, (1 - times / starts) / safe)
    return times, by_start, np.where(are_near, 0.5, (times / ends - 1) / safe)
