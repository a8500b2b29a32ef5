"""What one attack did to each target, and what that amounts to on all of them or on some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.evaluation.attacks.results import (
    Finding,
    Kind,
    Membership,
    OperatingPoint,
    Risk,
    auroc_bound,
    true_positive_bound,
)
from common.evaluation.attacks.scene import Flags, Scene
from common.evaluation.statistics.intervals import LEVEL, Estimate, auroc, excess, wilson
from common.evaluation.statistics.values import Floats, Ints

FLAG_LEVEL = 0.999
"""An attack is flagged where an interval of this level excludes chance. A report runs about a dozen attacks: of tables
that leak nothing about one in a hundred and fifty has any flag."""

ALLOWED = (0.01, 0.001)
CURVE_POINTS = 41


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One number a target: 1.0 or 0.0 for success or failure, or a score that is larger for likelier members.

    Attributes:
        targets: places among the targets of the arm, shape (n,); an attack may pass over some.
        values: shape (n,).
    """

    targets: Ints
    values: Floats

    def where(self, chosen: Flags) -> Arm:
        """Only targets that are flagged, flags in the order of the arm's targets in the scene."""
        kept = chosen[self.targets]
        return Arm(self.targets[kept], self.values[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The arms of an attack. `blind_control` is empty for attacks that succeed or fail."""

    train: Arm
    control: Arm
    blind_train: Arm
    blind_control: Arm

    def where(self, train: Flags, control: Flags) -> Outcome:
        """The same attack on some of the targets."""
        return Outcome(
            self.train.where(train),
            self.control.where(control),
            self.blind_train.where(train),
            self.blind_control.where(control),
        )


@dataclass(frozen=True, slots=True)
class Attack:
    """How an attack is run and read. `run` says what it did to every target of a scene."""

    name: str
    label: str
    kind: Kind
    meaning: str
    run: Callable[[Scene], Outcome]


def conclude(kind: Kind, outcome: Outcome, epsilon: float | None, delta: float | None) -> Finding:
    """What the outcome amounts to. `epsilon` and `delta` give the bounds; None where nothing is promised."""
    if kind == "risk":
        risk = _risk(outcome, LEVEL)
        return Finding(risk, None, _risk(outcome, FLAG_LEVEL).excess.low > 0)
    membership = _membership(outcome, epsilon, delta)
    return Finding(None, membership, _is_recognised(outcome))


def _risk(outcome: Outcome, level: float) -> Risk:
    attack, control, blind = (_rate(arm, level) for arm in (outcome.train, outcome.control, outcome.blind_train))
    return Risk(attack, control, blind, excess(attack, control))


def _rate(arm: Arm, level: float) -> Estimate:
    return wilson(int(arm.values.sum()), len(arm.values), level)


def _membership(outcome: Outcome, epsilon: float | None, delta: float | None) -> Membership:
    present, absent = outcome.train.values, outcome.control.values
    return Membership(
        auroc=auroc(present, absent),
        blind=auroc(outcome.blind_train.values, outcome.blind_control.values),
        bound=None if epsilon is None or delta is None else auroc_bound(epsilon, delta),
        points=tuple(
            OperatingPoint(
                allowed=allowed,
                false_positives=wilson(int((absent > threshold).sum()), len(absent)),
                true_positives=wilson(int((present > threshold).sum()), len(present)),
                bound=None if epsilon is None or delta is None else true_positive_bound(epsilon, delta, allowed),
            )
            for allowed in ALLOWED
            if (threshold := threshold_for(absent, allowed)) is not None
        ),
        curve=_curve(present, absent),
    )


def threshold_for(absent: Floats, allowed: float) -> float | None:
    """The score that at most a share `allowed` of the unseen rows exceeds; None where one row is more than that.

    Of other unseen rows about that share exceeds it, and often more.
    """
    exceeding = int(allowed * len(absent) + 1e-9)
    return float(np.sort(absent)[len(absent) - 1 - exceeding]) if exceeding else None


def _is_recognised(outcome: Outcome) -> bool:
    """Whether training rows are told from unseen ones on the whole, or a few of them for certain.

    The second looks at the threshold that no more than 1 % of the unseen rows exceed: the share of training rows above
    it against the share of unseen rows above it, both with the uncertainty of the threshold.
    """
    present, absent = outcome.train.values, outcome.control.values
    if auroc(present, absent, FLAG_LEVEL).low > 0.5:
        return True
    threshold = threshold_for(absent, ALLOWED[0])
    if threshold is None:
        return False
    hits, alarms = (int((values > threshold).sum()) for values in (present, absent))
    return excess(wilson(hits, len(present), FLAG_LEVEL), wilson(alarms, len(absent), FLAG_LEVEL)).low > 0


def _curve(present: Floats, absent: Floats) -> tuple[tuple[float, float], ...]:
    """The ROC curve at thresholds between the unseen rows, dense where few of them are exceeded."""
    if not len(present) or not len(absent):
        return ((0.0, 0.0), (1.0, 1.0))
    ordered = np.sort(absent)
    places = np.unique(np.round((1 - np.linspace(0, 1, CURVE_POINTS) ** 2) * (len(ordered) - 1)).astype(np.int64))
    points = {
        (round(float((absent > cut).mean()), 4), round(float((present > cut).mean()), 4)) for cut in ordered[places]
    }
    return tuple(sorted(points | {(0.0, 0.0), (1.0, 1.0)}))
