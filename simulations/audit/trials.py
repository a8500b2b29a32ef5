"""The result of an attack, and the finding from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.privacy import accountant
from common.privacy.events import Event
from simulations.audit.bounds import Scores, direct_epsilon, family, implied_epsilon, one_run_epsilon


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Trials against one mechanism.

    Attributes:
        name: name of the audit.
        target: what was attacked and what the attacker sees, for people.
        events: what the mechanism was charged as, which is the claim.
        is_coin: whether an independent fair coin decided each patient's membership, as the one-run bound requires.
    """

    name: str
    target: str
    events: tuple[Event, ...]
    scores: Scores
    is_coin: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of one audit, each bound at `confidence`.

    Attributes:
        claimed: epsilon at `delta` of the events, by the shipped accountant.
        family_claimed: the same of their `family`: less where only a looser bound is proven.
        direct: lower bound for any mechanism, from independent trials.
        implied: lower bound for a mechanism of the family; not below `family_claimed` exactly if the trials refute it.
        one_run: lower bound without independence, at `one_run_delta`, where `one_run_claimed` is claimed; or None.
        seconds: processor time of the attack.
    """

    name: str
    target: str
    delta: float
    claimed: float
    family_claimed: float
    direct: float
    implied: float
    one_run: float | None
    one_run_delta: float | None
    one_run_claimed: float | None
    confidence: float
    trials: int
    seconds: float

    @property
    def epsilon_lower(self) -> float:
        """The larger of the two bounds at `delta`."""
        return max(self.direct, self.implied)

    @property
    def ratio_direct(self) -> float:
        """What part of the claim is proven without any assumption about the mechanism."""
        return self.direct / self.claimed

    @property
    def ratio_family(self) -> float:
        """What part of the claim is proven if the mechanism is of the claimed family, Gaussian with some noise."""
        return self.implied / self.claimed

    @property
    def is_refuted(self) -> bool:
        """Whether a bound exceeds what is claimed."""
        is_beyond = (
            self.one_run is not None and self.one_run_claimed is not None and self.one_run > self.one_run_claimed
        )
        return self.direct > self.claimed or self.implied >= self.family_claimed or is_beyond


BOUNDS_EACH = 3
"""Largest number of tests per attack, for the Bonferroni correction."""


def judge(attack: Trials, delta: float, significance: float, seconds: float = 0.0) -> Finding:
    """Return the finding of an attack; each of its bounds is wrong with probability at most `significance`.

    Args:
        attack: the trials.
        delta: delta of the claim.
        significance: probability that each bound is wrong.
        seconds: processor time of the attack.

    Raises:
        ValueError: an event promises nothing, so that there is nothing to refute.
    """
    one_run = one_run_delta = one_run_claimed = None
    if attack.is_coin:
        # The theorem adds at most 2 canaries delta to the p-value: so small a delta does not matter.
        one_run_delta = significance / len(attack.scores)
        one_run = one_run_epsilon(attack.scores, one_run_delta, significance)
        one_run_claimed = accountant.epsilon(attack.events, one_run_delta)
    return Finding(
        name=attack.name,
        target=attack.target,
        delta=delta,
        claimed=accountant.epsilon(attack.events, delta),
        family_claimed=accountant.epsilon(family(attack.events), delta),
        direct=direct_epsilon(attack.scores, delta, significance),
        implied=implied_epsilon(attack.scores, attack.events, delta, significance),
        one_run=one_run,
        one_run_delta=one_run_delta,
        one_run_claimed=one_run_claimed,
        confidence=1 - significance,
        trials=len(attack.scores),
        seconds=round(seconds, 1),
    )


def together(parts: Sequence[Scores]) -> Scores:
    """Return the trials of several attacks on one mechanism as one."""
    return Scores(
        np.concatenate([scores.present for scores in parts]), np.concatenate([scores.absent for scores in parts])
    )


def composed(name: str, target: str, attacks: Sequence[Trials]) -> Trials:
    """Return the attack on several releases about the same patient: log-likelihood ratios add up.

    Args:
        name: name of the audit.
        target: what was attacked and what the attacker sees, for people.
        attacks: one attack per mechanism, with equal numbers of trials.
    """
    present = min(len(attack.scores.present) for attack in attacks)
    absent = min(len(attack.scores.absent) for attack in attacks)
    scores = Scores(
        np.sum([attack.scores.present[:present] for attack in attacks], axis=0),
        np.sum([attack.scores.absent[:absent] for attack in attacks], axis=0),
    )
    return Trials(name, target, tuple(event for attack in attacks for event in attack.events), scores)
