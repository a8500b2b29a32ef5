"""Estimates of several synthetic tables pooled into one, by the rules for fully synthetic data.

Let q_m be the estimate of table m and v_m its textbook variance, from M tables. With q the mean of q_m, v that of v_m
and b the variance of q_m between tables (divisor M - 1), q is the pooled estimate, and its variance

    T = (1 + 1/M) b - v,

since b holds what is unknown of the parameters (noise and sampling) and the sampling of synthetic rows, which v takes
off (Raghunathan, Reiter and Rubin 2003, J. Off. Stat. 19; for tables drawn given noisy marginals Raisa, Jalko, Kaski
and Honkela 2023, AISTATS). The reference distribution is Student's t with (M - 1) (1 - v / ((1 + 1/M) b))^2 degrees of
freedom. Where T is not positive, which chance brings for few tables, (n_syn / n) v takes its place (Reiter 2002): the
sampling variance of as many patients, a lower bound. The degrees of freedom are then at least one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from common.errors import StudyError
from common.evaluation.statistics.intervals import LEVEL
from common.inference.noisy import Interval
from common.inference.rendering import aligned, csv_text

HEADINGS = ("estimand", "datasets", "estimate", "low", "high", "variance", "degrees_of_freedom", "p_value")
"""Columns of the CSV file, which has one line for each pooled estimate."""

FEWEST_DATASETS = 3
"""Fewest tables: with fewer, their variance is hardly known."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A pooled estimate.

    Attributes:
        estimand: what was estimated.
        datasets: M.
        interval: q with its 95 % interval.
        variance: T.
        freedom: degrees of freedom.
        p_value: of the hypothesis that the estimand is zero.
    """

    estimand: str
    datasets: int
    interval: Interval
    variance: float
    freedom: float
    p_value: float


def pool(estimand: str, estimates: Sequence[float], variances: Sequence[float], ratio: float = 1.0) -> Pooled:
    """Return the pooled estimate.

    Args:
        estimand: what was estimated.
        estimates: q_m.
        variances: v_m, what a textbook says of each table alone.
        ratio: synthetic rows over patients, n_syn / n.

    Raises:
        StudyError: there are too few tables, or a number is not finite or a variance negative.
    """
    q, v = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if len(q) < FEWEST_DATASETS or len(q) != len(v):
        raise StudyError(f"'{estimand}' has {len(q)} estimates; pool at least {FEWEST_DATASETS}, each with a variance")
    if not np.isfinite([q, v]).all() or (v < 0).any():
        raise StudyError(f"'{estimand}': an estimate or a variance is not a finite number, or is negative")
    datasets, mean, within = len(q), float(q.mean()), float(v.mean())
    between = (1 + 1 / datasets) * float(q.var(ddof=1))
    total = between - within
    freedom = (datasets - 1) * (1 - within / between) ** 2 if between > 0 else 1.0
    if total <= 0:
        total, freedom = ratio * within, float(datasets - 1)
    freedom = max(freedom, 1.0)
    deviation = math.sqrt(total)
    reach = float(t.ppf(0.5 + LEVEL / 2, freedom)) * deviation
    p_value = float(2 * t.sf(abs(mean) / deviation, freedom)) if deviation > 0 else float(mean == 0)
    return Pooled(estimand, datasets, Interval(mean, mean - reach, mean + reach), total, freedom, p_value)


def pooled_text(pooled: Sequence[Pooled]) -> str:
    """Return pooled estimates as aligned text."""
    rows = [("estimand", "estimate (95 % interval)", "p (of 0)", "tables")]
    rows += [(of.estimand, of.interval.text(".4g"), f"{of.p_value:.2g}", str(of.datasets)) for of in pooled]
    return aligned(rows)


def pooled_csv(pooled: Sequence[Pooled]) -> str:
    """Return pooled estimates as CSV, one line each."""
    rows = []
    for of in pooled:
        numbers = (of.interval.value, of.interval.low, of.interval.high, of.variance, of.freedom, of.p_value)
        rows.append([of.estimand, of.datasets, *(f"{number:.8g}" for number in numbers)])
    return csv_text(HEADINGS, rows)
