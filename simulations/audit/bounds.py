"""Lower bounds on epsilon from the scores of an attack, each wrong with probability at most `significance`.

There are three. `direct_epsilon` assumes independent trials and nothing else. `implied_epsilon` reads the same rates
against the whole curve of (epsilon, delta) that a mechanism of a known family has, as Nasr et al. (2023, "Tight
Auditing of Differentially Private Machine Learning", USENIX Security, arXiv 2302.07956) do with f-DP; it is much
tighter where delta is small. `one_run_epsilon` needs no independence (Steinke, Nasr and Jagielski 2023, "Privacy
Auditing with One (1) Training Run", NeurIPS, arXiv 2305.08846).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from common.arrays import Floats
from common.privacy import accountant
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    least_noise,
)

TAIL = 12
"""Fewest absent trials, of those that choose the threshold, that must reach it."""

EPSILONS = (0.0, *(float(epsilon) for epsilon in np.geomspace(0.01, 100.0, 100)))
"""Where a claimed curve is evaluated: its tangents there bound what any attack can reach."""

LEAST_NOISE, MOST_NOISE = 0.5, 32.0
"""Range of the family's noise, relative to the claim."""

ABSTENTIONS = (0.0, 0.7, 0.9, 0.97)
"""Fractions of the canaries that the one-run attack does not guess about; each is a test of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One score per trial, larger where the attacker believes that the patient is in the table.

    Args:
        present, absent: scores of the trials with and without the patient in the table.
    """

    present: Floats
    absent: Floats

    def __len__(self) -> int:
        return len(self.present) + len(self.absent)

    def split(self) -> tuple[Scores, Scores]:
        """Return every fifth trial, to choose a threshold, and the others, to measure it."""
        parts = [np.arange(len(values)) % 5 == 0 for values in (self.present, self.absent)]
        return (
            Scores(self.present[parts[0]], self.absent[parts[1]]),
            Scores(self.present[~parts[0]], self.absent[~parts[1]]),
        )

    def mirrored(self) -> Scores:
        """Return the scores of the attack that claims absence where this one claims presence."""
        return Scores(-self.absent, -self.present)


@dataclass(frozen=True, slots=True)
class Rates:
    """Bounds on a test's rates: at least `hits` true positives and at most `alarms` false positives."""

    hits: float
    alarms: float

    def epsilon(self, delta: float) -> float:
        """Return the smallest epsilon that allows these rates: hits <= e^epsilon alarms + delta."""
        return max(0.0, math.log((self.hits - delta) / self.alarms)) if self.hits > delta else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The privacy curve of events: delta at each of `EPSILONS`, by their accountant."""

    deltas: Floats

    @classmethod
    def of(cls, events: Sequence[Event]) -> Curve:
        return cls(accountant.deltas(events, EPSILONS))

    def most_hits(self, alarms: float) -> float:
        """Return the largest true positive rate that the curve allows at this false positive rate."""
        return float(min(1.0, (self.deltas + np.exp(EPSILONS) * alarms).min()))

    def excess(self, rates: Rates) -> float:
        """Return by how much the rates exceed the promise, as a difference of normal scores; above 0 they refute it."""
        most = self.most_hits(rates.alarms)
        return float(stats.norm.ppf(rates.hits) - stats.norm.ppf(most)) if most < 1 else -math.inf


def lower_rate(hits: int | Floats, trials: int, significance: float) -> Floats:
    """Return the lower end of the one-sided Clopper-Pearson interval (1934), of the shape of `hits`.

    Args:
        hits: number of successes.
        trials: independent trials.
        significance: probability that the interval misses the true rate.
    """
    rate = stats.beta.ppf(significance, hits, trials - np.asarray(hits) + 1)
    return np.asarray(np.where(np.asarray(hits) == 0, 0.0, rate), dtype=np.float64)


def upper_rate(hits: int | Floats, trials: int, significance: float) -> Floats:
    """Return the upper end of the one-sided Clopper-Pearson interval; arguments as for `lower_rate`."""
    rate = stats.beta.isf(significance, np.asarray(hits) + 1, trials - np.asarray(hits))
    return np.asarray(np.where(np.asarray(hits) == trials, 1.0, rate), dtype=np.float64)


def _count(values: Floats, thresholds: Floats) -> Floats:
    """Return how many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left").astype(np.float64)


def best_rates(scores: Scores, worth: Callable[[Rates], float], significance: float) -> Rates:
    """Return the rates of one threshold test: some trials choose threshold and direction, the others measure.

    Args:
        scores: scores of all trials.
        worth: the function of the rates that the choice maximizes.
        significance: probability that either returned rate is on the wrong side of the truth.
    """
    best, chosen = -math.inf, (False, math.inf)
    for is_mirrored in (False, True):
        learn, _ = (scores.mirrored() if is_mirrored else scores).split()
        thresholds = np.quantile(learn.absent, 1 - np.geomspace(min(0.5, TAIL / len(learn.absent)), 0.999, 120))
        thresholds = np.append(thresholds, np.nextafter(learn.absent.max(), np.inf))
        hits = lower_rate(_count(learn.present, thresholds), len(learn.present), significance / 2)
        alarms = upper_rate(_count(learn.absent, thresholds), len(learn.absent), significance / 2)
        for threshold, hit, alarm in zip(thresholds, hits, alarms, strict=True):
            value = worth(Rates(float(hit), float(alarm)))
            if value > best:
                best, chosen = value, (is_mirrored, float(threshold))
    is_mirrored, threshold = chosen
    _, test = (scores.mirrored() if is_mirrored else scores).split()
    reached = np.array([threshold])
    return Rates(
        float(lower_rate(_count(test.present, reached), len(test.present), significance / 2)[0]),
        float(upper_rate(_count(test.absent, reached), len(test.absent), significance / 2)[0]),
    )


def direct_epsilon(scores: Scores, delta: float, significance: float) -> float:
    """Return a lower bound on epsilon of any (epsilon, delta)-DP mechanism, from independent trials.

    Args:
        scores: scores of all trials.
        delta: delta of the guarantee.
        significance: probability that the bound is wrong.
    """
    return best_rates(scores, lambda rates: rates.epsilon(delta), significance).epsilon(delta)


def contradicts(scores: Scores, claim: Sequence[Event], significance: float) -> bool:
    """Return whether independent trials reached rates that the `family` of the claimed events forbids.

    Args:
        scores: scores of all trials.
        claim: the events as charged.
        significance: probability of a false refutation.
    """
    curve = Curve.of(family(claim))
    return curve.excess(best_rates(scores, curve.excess, significance)) > 0


def implied_epsilon(scores: Scores, claim: Sequence[Event], delta: float, significance: float) -> float:
    """Return epsilon at `delta` of the noisiest mechanism of the claim's `family` that allows the measured rates.

    All noise is scaled by one factor. The result reaches the claim's epsilon exactly if the
    trials contradict the claim itself (`contradicts`), for which the family does not matter. The
    smallest noise tried is `LEAST_NOISE` times the claimed, so that a mechanism without noise gives a finite number.

    Args:
        scores: the attacker's scores with and without the patient.
        claim: events that the ledger charged.
        delta: delta at which epsilon is read off the curve.
        significance: probability that the result is above what the mechanism has.
    """
    claim = family(claim)
    rates = best_rates(scores, Curve.of(claim).excess, significance)

    def is_refuted(log_factor: float) -> bool:
        return Curve.of(_scaled(claim, math.exp(log_factor))).excess(rates) > 0

    # `high` is the end with more noise, which is refuted.
    low, high = (math.log(LEAST_NOISE), 0.0) if is_refuted(0.0) else (0.0, math.log(MOST_NOISE))
    if low < 0 and is_refuted(low):
        high = low
    elif not is_refuted(high):
        return 0.0
    while high - low > 0.04:
        middle = (low + high) / 2
        low, high = (low, middle) if is_refuted(middle) else (middle, high)
    return accountant.epsilon(_scaled(claim, math.exp(high)), delta)


def family(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the mechanisms with one draw of noise that the events stand for.

    A vector under shared noise is within exp(T), which is next to nothing, of its `central` one. A synchronous step is
    the sampled Gaussian; it is charged more, since its Renyi divergences are all that is proven.
    """
    kinds: list[Event] = []
    for event in events:
        match event:
            case DistributedGaussianVector():
                kinds.append(event.central)
            case SynchronousRun(_, _, sample_rate, steps):
                kinds.append(DpSgdRun(event.central_multiplier, sample_rate, steps))
            case _:
                kinds.append(event)
    return tuple(kinds)


def _scaled(events: Sequence[Event], factor: float) -> tuple[Event, ...]:
    """Return the events with their noise multiplied by a factor."""
    scaled: list[Event] = []
    for event in events:
        match event:
            case DiscreteGaussianVector(sigma, squared_sensitivity, largest_change):
                # Weights need a least noise; with less, a Gaussian stands for the vector: its loss depends on the sum.
                if largest_change > 1 and sigma * factor < least_noise(largest_change):
                    scaled.append(DpSgdRun(sigma * factor / math.sqrt(squared_sensitivity), 1.0, 1))
                else:
                    scaled.append(DiscreteGaussianVector(sigma * factor, squared_sensitivity, largest_change))
            case DpSgdRun(noise_multiplier, sample_rate, steps):
                scaled.append(DpSgdRun(noise_multiplier * factor, sample_rate, steps))
            case _:
                raise ValueError(f"there is nothing to audit about {event!r}")
    return tuple(scaled)


def one_run_epsilon(scores: Scores, delta: float, significance: float) -> float:
    """Return a lower bound on epsilon from guesses about all canaries, each of which a fair coin put in or out.

    Valid however the canaries' scores depend on each other: only membership must have been independent.

    Args:
        scores: scores of the canaries that were in, and of those that were out.
        delta: delta of the bound.
        significance: probability that the result is above what the mechanism has.
    """
    values = np.concatenate([scores.present, scores.absent])
    is_present = np.repeat([True, False], [len(scores.present), len(scores.absent)])[np.argsort(values, kind="stable")]
    best = 0.0
    for abstained in ABSTENTIONS:
        each = int(len(values) * (1 - abstained) / 2)
        if each:
            right = int((~is_present[:each]).sum() + is_present[-each:].sum())
            best = max(best, guesses_epsilon(len(values), 2 * each, right, delta, significance / len(ABSTENTIONS)))
    return best


def guesses_epsilon(canaries: int, guesses: int, right: int, delta: float, significance: float) -> float:
    """Return the largest epsilon at which this number of right guesses has a p-value below `significance`; else 0.

    Args:
        canaries: number of canaries.
        guesses: number of guesses.
        right: number of right guesses.
        delta: delta of the guarantee.
        significance: probability that the bound is wrong.
    """
    low, high = 0.0, 1.0
    if guesses_p_value(canaries, guesses, right, 0.0, delta) > significance:
        return 0.0
    while high < 64 and guesses_p_value(canaries, guesses, right, high, delta) <= significance:
        low, high = high, 2 * high
    while high - low > 1e-4:
        middle = (low + high) / 2
        is_refuted = guesses_p_value(canaries, guesses, right, middle, delta) <= significance
        low, high = (middle, high) if is_refuted else (low, middle)
    return low


def guesses_p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return an upper bound on the probability of at least `right` right guesses under (epsilon, delta)-DP.

    Steinke, Nasr and Jagielski (2023), theorem 5.2 and appendix D: at most beta + 2 canaries delta alpha, with
    W binomial of rate e^epsilon / (1 + e^epsilon), beta = P[W >= right] and alpha the largest of
    P[right - i <= W < right] / i over i.
    """
    rate = 1 / (1 + math.exp(-epsilon))
    beta = float(stats.binom.sf(right - 1, guesses, rate))
    if not delta or not right:
        return beta
    below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, rate))
    alpha = float((below / np.arange(1, right + 1)).max())
    return min(1.0, beta + 2 * canaries * delta * alpha)
