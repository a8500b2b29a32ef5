"""The outcome of one attack on each target, and the finding on all or some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.attacks.embedding import Flags
from common.evaluation.attacks.results import (
    AttackFinding,
    Kind,
    Membership,
    OperatingPoint,
    Risk,
    auroc_bound,
    true_positive_bound,
)
from common.evaluation.statistics.intervals import LEVEL, Estimate, auroc, residual_risk, wilson

FLAG_LEVEL = 0.999
"""An attack is flagged where an interval of this level excludes chance. A report makes about a dozen tests, sixteen
with images: of tables that leak nothing and have no images, about one in a hundred and fifty has any flag."""

ALLOWED = (0.01, 0.001)
"""False positive rates at which membership attacks are reported."""

CURVE_POINTS = 41
"""Most thresholds of a ROC curve."""

Setup = TypeVar("Setup")
"""What an attack is run on: rows (`AttackSetup`) or images (`ImageSetup`)."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetScores:
    """One number per target: 1.0 or 0.0 for success or failure, or a score that is larger for likelier members.

    Attributes:
        targets: indices among the targets of the arm, shape (n,); an attack may pass over some.
        values: the values, shape (n,).
    """

    targets: Integers
    values: Floats

    def where(self, chosen: Flags) -> TargetScores:
        """Return only targets that are flagged, flags in the order of the arm's targets in the setup."""
        kept = chosen[self.targets]
        return TargetScores(self.targets[kept], self.values[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The arms of an attack. `baseline_control` is empty for attacks that succeed or fail."""

    train: TargetScores
    control: TargetScores
    baseline_train: TargetScores
    baseline_control: TargetScores

    def where(self, train: Flags, control: Flags) -> Outcome:
        """Return the same attack on some of the targets."""
        return Outcome(
            self.train.where(train),
            self.control.where(control),
            self.baseline_train.where(train),
            self.baseline_control.where(control),
        )


@dataclass(frozen=True, slots=True)
class Attack(Generic[Setup]):
    """How an attack is run and read. `run` returns what it did to every target of a setup."""

    name: str
    title: str
    kind: Kind
    meaning: str
    run: Callable[[Setup], Outcome]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the release promises each patient: (epsilon, delta)-differential privacy."""

    epsilon: float
    delta: float


def promise_of(epsilon: float | None, delta: float | None) -> Promise | None:
    """Return the promise; None where one of its numbers is not known."""
    return None if epsilon is None or delta is None else Promise(epsilon, delta)


def conclude(kind: Kind, outcome: Outcome, promise: Promise | None) -> AttackFinding:
    """Return the finding from an outcome.

    Args:
        kind: whether the attack gives a risk or scores.
        outcome: what the attack scored for each row.
        promise: epsilon and delta that give the bounds; None where nothing is promised.
    """
    if kind == "risk":
        risk = _risk(outcome, LEVEL)
        return AttackFinding(risk, None, _risk(outcome, FLAG_LEVEL).residual_risk.low > 0)
    membership = _membership(outcome, promise)
    return AttackFinding(None, membership, _is_recognized(outcome))


def _risk(outcome: Outcome, level: float) -> Risk:
    attack, control, baseline = (_rate(arm, level) for arm in (outcome.train, outcome.control, outcome.baseline_train))
    return Risk(attack, control, baseline, residual_risk(attack, control))


def _rate(arm: TargetScores, level: float) -> Estimate:
    return wilson(int(arm.values.sum()), len(arm.values), level)


def _membership(outcome: Outcome, promise: Promise | None) -> Membership:
    present, absent = outcome.train.values, outcome.control.values
    return Membership(
        auroc=auroc(present, absent),
        baseline=auroc(outcome.baseline_train.values, outcome.baseline_control.values),
        bound=None if promise is None else auroc_bound(promise.epsilon, promise.delta),
        points=tuple(
            OperatingPoint(
                allowed=allowed,
                false_positives=wilson(int((absent > threshold).sum()), len(absent)),
                true_positives=wilson(int((present > threshold).sum()), len(present)),
                bound=None if promise is None else true_positive_bound(promise.epsilon, promise.delta, allowed),
            )
            for allowed in ALLOWED
            if (threshold := threshold_for(absent, allowed)) is not None
        ),
        curve=_curve(present, absent),
    )


def threshold_for(absent: Floats, allowed: float) -> float | None:
    """Return the score that at most a fraction `allowed` of the held-out rows exceeds; None if one row is more.

    Of other rows of the population, about the same fraction exceeds it, and often more.
    """
    exceeding = int(allowed * len(absent) + 1e-9)
    return float(np.sort(absent)[len(absent) - 1 - exceeding]) if exceeding else None


def _is_recognized(outcome: Outcome) -> bool:
    """Return whether training rows are separated from held-out rows overall, or a few of them with certainty.

    The second test looks at the threshold that at most 1 % of the held-out rows exceed: the fraction of training rows
    above it against the fraction of held-out rows above it, both with their uncertainty.
    """
    present, absent = outcome.train.values, outcome.control.values
    if auroc(present, absent, FLAG_LEVEL).low > 0.5:
        return True
    threshold = threshold_for(absent, ALLOWED[0])
    if threshold is None:
        return False
    hits, alarms = (int((values > threshold).sum()) for values in (present, absent))
    return residual_risk(wilson(hits, len(present), FLAG_LEVEL), wilson(alarms, len(absent), FLAG_LEVEL)).low > 0


def _curve(present: Floats, absent: Floats) -> tuple[tuple[float, float], ...]:
    """Return the ROC curve at scores of held-out rows, dense at low false positive rates."""
    if not len(present) or not len(absent):
        return ((0.0, 0.0), (1.0, 1.0))
    ordered = np.sort(absent)
    indices = np.unique(np.round((1 - np.linspace(0, 1, CURVE_POINTS) ** 2) * (len(ordered) - 1)).astype(np.int64))
    points = {
        (round(float((absent > cut).mean()), 4), round(float((present > cut).mean()), 4)) for cut in ordered[indices]
    }
    return tuple(sorted(points | {(0.0, 0.0), (1.0, 1.0)}))
