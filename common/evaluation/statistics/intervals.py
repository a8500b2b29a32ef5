"""Numbers with intervals: rates, areas under curves, and whatever can be computed from resampled patients.

The unit is the patient: tables hold one row per patient, and a resample draws patients with replacement. Every function
is deterministic; what is drawn at random comes from a seed that the caller names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from common.arrays import Floats

LEVEL = 0.95
"""Fraction of repetitions of the whole measurement whose interval holds what is measured on average."""

BLOCK_CELLS = 1 << 22
"""Most resampling weights that are held at once: 32 MiB."""

Statistic = Callable[[Floats], Floats]
"""Maps how often each resample drew each patient, shape (resamples, patients), to one value per resample, shape
(resamples,); NaN where a resample does not define it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its interval, and how many patients, rows or trials it rests on.

    With probability `level` over repetitions of the whole measurement, `low` and `high` enclose its mean over
    repetitions. For rates, areas, risks and means that is the truth. A distance between tables exceeds that of the
    populations, by more the fewer rows there are: compare it with what as many real rows reach, not with 0.
    """

    value: float
    low: float
    high: float
    size: int
    level: float = LEVEL

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the value {self.value} is not within [{self.low}, {self.high}]")
        if not 0 < self.level < 1:
            raise ValueError(f"level={self.level} is not in (0, 1)")

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@lru_cache(maxsize=64)
def normal_quantile(level: float) -> float:
    """Return the z with P(|N(0, 1)| < z) = level."""
    return float(norm.ppf(0.5 + level / 2))


def wilson(hits: int, trials: int, level: float = LEVEL) -> Estimate:
    """Return a rate with Wilson's score interval, which is sound near 0 and 1 and for few trials.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22.
    The interval holds every rate p with (hits / trials - p)^2 <= z^2 p (1 - p) / trials. Without trials it is [0, 1].

    Args:
        hits: number of successes.
        trials: number of trials.
        level: probability of the interval.

    Raises:
        ValueError: there are more hits than trials, or fewer than none.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits in {trials} trials")
    if trials == 0:
        return Estimate(0.5, 0.0, 1.0, 0, level)
    rate, z = hits / trials, normal_quantile(level)
    spread = z * math.sqrt(rate * (1 - rate) / trials + (z / trials / 2) ** 2)
    low, high = ((rate + z * z / trials / 2 + sign * spread) / (1 + z * z / trials) for sign in (-1, 1))
    return Estimate(rate, min(max(low, 0.0), rate), max(min(high, 1.0), rate), trials, level)


def residual_risk(attack: Estimate, control: Estimate) -> Estimate:
    """Return the residual risk of an attack: (attack - control) / (1 - control).

    It is 1 where the attack always succeeds, 0 where it succeeds no more often than on the control, and negative where
    it does worse, but never below -1. Giomi et al. (2023, "A Unified Framework for Quantifying Privacy Risk in
    Synthetic Data", PoPETs) call it risk. It equals 1 - R with R = (1 - attack) / (1 - control), a ratio of independent
    rates. The limits of R are those for which the interval of (1 - attack) - R (1 - control), with the variances
    recovered from the limits of both rates, just touches zero (MOVER-R; Newcombe 2016, Stat. Methods Med. Res. 25). The
    size is that of the attack.
    """
    if attack.level != control.level:
        raise ValueError(f"an attack at level {attack.level} and a control at {control.level}")
    if control.value == 1:  # nothing is left to gain, so nothing can be said
        return Estimate(0.0, -1.0, 1.0, attack.size, attack.level)
    a, a_low, a_high = 1 - attack.value, 1 - attack.high, 1 - attack.low
    b, b_low, b_high = 1 - control.value, 1 - control.high, 1 - control.low
    least = max((a * b) ** 2 - a_low * b_high * (2 * a - a_low) * (2 * b - b_high), 0.0)
    most = max((a * b) ** 2 - a_high * b_low * (2 * a - a_high) * (2 * b - b_low), 0.0)
    low = a_low * (2 * a - a_low) / (a * b + math.sqrt(least)) if a > 0 else 0.0
    high = (a * b + math.sqrt(most)) / (b_low * (2 * b - b_low)) if b_low > 0 else math.inf
    value = max(1 - a / b, -1.0)
    return Estimate(value, max(min(1 - high, value), -1.0), max(1 - low, value), attack.size, attack.level)


def auroc(present: Floats, absent: Floats, level: float = LEVEL) -> Estimate:
    """Return how well scores tell two independent samples apart: P(present > absent) + P(equal) / 2; 0.5 is chance.

    Variance by DeLong et al. (1988, Biometrics 44), the interval on the scale of the logarithm of the odds. Where the
    samples do not overlap that variance is zero; Wilson's limit for the smaller sample takes its place.

    Args:
        present: scores of the sample that should score higher.
        absent: scores of the other sample.
        level: probability of the interval.
    """
    m, n = len(present), len(absent)
    if not m or not n:
        return Estimate(0.5, 0.0, 1.0, 0, level)
    pooled = rankdata(np.concatenate([present, absent]))
    above = (pooled[:m] - rankdata(present)) / n  # per present score, the fraction of absent ones below it
    below = 1 - (pooled[m:] - rankdata(absent)) / m
    value, size = float(above.mean()), min(m, n)
    if size < 2 or value in (0.0, 1.0):
        limits = wilson(round(value * size), size, level)
        return Estimate(value, min(limits.low, value), max(limits.high, value), m + n, level)
    error = math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n) / (value * (1 - value))
    middle, reach = math.log(value / (1 - value)), normal_quantile(level) * error
    low, high = (1 / (1 + math.exp(-limit)) for limit in (middle - reach, middle + reach))
    return Estimate(value, min(low, value), max(high, value), m + n, level)


def bootstrap(statistic: Statistic, patients: int, *, seed: int, resamples: int, level: float = LEVEL) -> Estimate:
    """Return a statistic of a table with the percentile interval over resampled patients.

    Source: Efron and Tibshirani 1993, chapter 13.

    Args:
        statistic: computes the value for many resamples at once; `weighted_mean` and `weighted_auroc` return such
            functions.
        patients: number of patients, one row each.
        seed: seed of the resamples, by `common.seeds.seed_for`.
        resamples: how many times patients are drawn.
        level: probability of the interval.

    Raises:
        ValueError: the statistic is not defined for the patients as they are.
    """
    value = float(statistic(np.ones((1, patients)))[0])
    if math.isnan(value):
        raise ValueError("the statistic is not defined for these patients")
    drawn = resampled(statistic, patients, seed=seed, resamples=resamples)
    return from_resamples(value, drawn, patients, level)


def resampled(statistic: Statistic, patients: int, *, seed: int, resamples: int) -> Floats:
    """Return the statistic of every resample, shape (resamples,), in blocks that bound the memory.

    Args:
        statistic: computes the value for many resamples at once.
        patients: number of patients, one row each.
        seed: seed of the resamples.
        resamples: how many times patients are drawn.
    """
    blocks = _draws(patients, seed, resamples)
    return np.concatenate([np.asarray(statistic(block.astype(np.float64)), dtype=np.float64) for block in blocks])


@lru_cache(maxsize=2)
def _draws(patients: int, seed: int, resamples: int) -> tuple[npt.NDArray[np.uint16], ...]:
    """Return how often each resample drew each patient, in blocks of shape (resamples, patients).

    Many statistics of the same patients are computed on the same resamples, so the last ones are kept.
    """
    rng = np.random.default_rng(seed)
    size = max(1, min(resamples, BLOCK_CELLS // max(patients, 1)))
    blocks = []
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = rng.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients)
        blocks.append(counts.astype(np.uint16))  # a patient is drawn once on average, never 65,536 times
    return tuple(blocks)


def from_resamples(value: float, drawn: Floats, patients: int, level: float = LEVEL) -> Estimate:
    """Return the estimate that resamples give: their central `level`, widened to hold the value; NaN is left out.

    Args:
        value: the estimate itself.
        drawn: its values on the resamples, shape (resamples,).
        patients: number of patients.
        level: probability of the interval.
    """
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return Estimate(value, value, value, patients, level)
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), patients, level)


def paired_difference(first: Statistic, second: Statistic, patients: int, *, seed: int, resamples: int) -> Estimate:
    """Return first minus second, both of the same patients: each resample draws the same patients for both.

    Args:
        first, second: compute the two values for many resamples at once.
        patients: number of patients, one row each.
        seed: seed of the resamples.
        resamples: how many times patients are drawn.
    """
    return bootstrap(lambda weights: first(weights) - second(weights), patients, seed=seed, resamples=resamples)


def weighted_mean(values: Floats) -> Statistic:
    """Return the mean of one value per patient; NaN where only patients without a value (NaN) were drawn."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)

    def statistic(weights: Floats) -> Floats:
        return _ratio(weights @ filled, weights @ known)

    return statistic


def weighted_auroc(truth: npt.NDArray[np.bool_], scores: Floats) -> Statistic:
    """Return the AUROC of one score per patient; NaN where patients of one kind only were drawn.

    Args:
        truth: whether each patient has the condition, shape (patients,).
        scores: score of each patient, larger for a likelier condition, shape (patients,).
    """
    order = np.argsort(scores, kind="stable")
    is_true = truth[order]
    group = np.cumsum(np.diff(scores[order], prepend=scores[order][:1]) > 0)
    ends = np.flatnonzero(np.diff(group, append=group[-1:] + 1))  # the last patient of every distinct score

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order]
        hits, misses = (np.cumsum(weights * part, axis=1)[:, ends] for part in (is_true, ~is_true))
        steps = np.diff(hits, axis=1, prepend=0.0)
        halves = (misses + np.concatenate([np.zeros((len(weights), 1)), misses[:, :-1]], axis=1)) / 2
        return _ratio((steps * halves).sum(axis=1), hits[:, -1] * misses[:, -1])

    return statistic


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of several statistics of the same patients, without those that a resample does not define."""

    def mean(weights: Floats) -> Floats:
        values = np.stack([statistic(weights) for statistic in statistics])
        known = ~np.isnan(values)
        return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))

    return mean


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where below is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)
