"""What a hospital agrees to, decided from public facts before any record is read."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import PolicyRefusal, Reason
from common.privacy import accountant
from common.privacy.events import Event
from common.privacy.plan import HospitalPlan, Plan
from common.privacy.planner import make_plan
from common.study import Study

MIN_ROWS = 30
"""Fewer declared rows than this are refused unless the hospital says otherwise: too few for any useful noise."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One hospital's limits.

    Attributes:
        declared_rows: the public figure the hospital stands by; None accepts what the study declares.
        max_epsilon: cap on everything ever released about the cohort; None sets no cap.
        max_delta: cap on the study's delta; None leaves 1 / declared rows as the limit.
        approved: fingerprints of the approved studies; None approves any.
        is_simulation: accepts drafted schemas and releases without noise; never true at a site.
    """

    hospital: str
    declared_rows: int | None = None
    min_rows: int = MIN_ROWS
    max_epsilon: float | None = None
    max_delta: float | None = None
    approved: frozenset[str] | None = None
    is_simulation: bool = False

    def check(self, study: Study, plan: Plan, spent: tuple[Event, ...]) -> HospitalPlan:
        """The part of the plan that concerns this hospital, if the policy accepts it.

        Args:
            spent: every event that the cohort is already committed to.

        Raises:
            PolicyRefusal: with a reason that depends on the study, the plan and the ledger, never on a record.
        """
        facts, mine = study.hospital(self.hospital), plan.of(self.hospital)
        if facts is None or mine is None:
            raise PolicyRefusal(Reason.UNKNOWN_HOSPITAL)
        if self.approved is not None and study.fingerprint not in self.approved:
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
        if study.about.origin == "drafted" and not self.is_simulation:
            raise PolicyRefusal(Reason.STUDY_DRAFTED)
        if study.privacy.noise == "none" and not self.is_simulation:
            raise PolicyRefusal(Reason.NOISE_REFUSED)
        if self.declared_rows is not None and facts.declared_rows != self.declared_rows:
            raise PolicyRefusal(Reason.DECLARED_ROWS_DIFFER)
        if facts.declared_rows < self.min_rows:
            raise PolicyRefusal(Reason.TOO_FEW_ROWS)
        delta_cap = 1 / facts.declared_rows if self.max_delta is None else self.max_delta
        if study.privacy.delta > delta_cap:
            raise PolicyRefusal(Reason.DELTA_TOO_LARGE)
        if plan != make_plan(study):  # computed here as well: nothing in a received plan is taken on trust
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        if study.privacy.noise != "none":
            self._check_cost(study, plan, mine, spent)
        return mine

    def _check_cost(self, study: Study, plan: Plan, mine: HospitalPlan, spent: tuple[Event, ...]) -> None:
        """The plan must cost no more than the study says, and the cohort's budget must bear it."""
        cost = accountant.epsilon(plan.events(mine), study.privacy.delta)
        if cost > study.privacy.epsilon:
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        if self.max_epsilon is None:
            return
        if cost > self.max_epsilon:
            raise PolicyRefusal(Reason.EPSILON_ABOVE_CAP)
        if spent and accountant.epsilon((*spent, *plan.events(mine)), study.privacy.delta) > self.max_epsilon:
            raise PolicyRefusal(Reason.BUDGET_EXHAUSTED)
