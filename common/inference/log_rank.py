"""Grouped times of one group of patients, and the log-rank test between groups.

Log-rank (Mantel 1966): U_g = sum_j (d_jg - r_jg d_j / r_j). Under equal hazards its covariance is the sum of the
hypergeometric ones and, by the gradient of U, that of the noise; U' V^-1 U is chi-squared with one degree less than
groups.
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
