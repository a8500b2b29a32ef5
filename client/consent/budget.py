"""Epsilon over a cohort's life: what it is committed to now, and what it would be after one more run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.privacy import renyi
from common.privacy.events import Event


@dataclass(frozen=True, slots=True)
class LifetimeBudget:
    """Epsilon over the cohort's life, by Renyi divergences as the lifetime filter uses.

    Attributes:
        now: epsilon of everything that is released or reserved.
        after: the same with one more run.
        limit, delta: the cohort's lifetime limit, and the delta of all three values of epsilon.
    """

    now: float
    after: float
    limit: float
    delta: float

    @classmethod
    def of(
        cls, committed: Iterable[Event], more: Iterable[Event] = (), *, limit: float, delta: float
    ) -> LifetimeBudget:
        """Return the budget of a cohort.

        Args:
            committed: every event that the cohort is committed to.
            more: events of one more run.
            limit, delta: the cohort's lifetime budget.
        """
        committed, more = tuple(committed), tuple(more)
        now = renyi.epsilon_rdp(committed, delta)
        return cls(now, renyi.epsilon_rdp((*committed, *more), delta) if more else now, limit, delta)
