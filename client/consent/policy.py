"""What a hospital agrees to, decided from public facts before any record is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from client.consent.partners import Partners
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.planning.phases import PHASES
from common.planning.plan import HospitalPlan, Plan
from common.planning.planner import make_plan
from common.privacy import accountant, lifetime
from common.privacy.events import Event
from common.study.limits import largest_delta
from common.study.sections import Unit
from common.study.study import Study

MIN_ROWS = 30
"""Default of `min_rows`: with fewer declared patients, noise leaves nothing useful."""


class Consent(Protocol):
    """What people at a hospital decided about runs; `Approvals` at a site."""

    def record(self, run_id: str, ledger: Ledger) -> None:
        """Enter the decisions about a run into the ledger. Raises `PolicyRefusal` where they contradict it."""

    def check(self, run_id: str, study: Study, plan: Plan, table: str) -> None:
        """Raise `PolicyRefusal` unless people approve exactly this run, plan and table at this moment.

        Args:
            run_id: id of the run.
            study: its study.
            plan: its plan.
            table: digest of the table that it would be answered from.
        """


@dataclass(frozen=True, slots=True)
class Policy:
    """One hospital's limits.

    Attributes:
        max_epsilon: lifetime cap on everything ever released about the cohort, at `delta`; infinite in a simulation
            without a cap, never at a site.
        delta: delta of the cohort, which no study may exceed; None takes the study's, in simulations without a cap.
        declared_rows: the hospital's public number of patients or records; None accepts what the study declares.
        unit: what the hospital can promise that a row stands for; None accepts what the study says.
        phases: names in `PHASES` of the phases that the hospital takes part in.
        consent: what people decided about single runs; None approves none.
        partners: the partners whose keys the hospital compared; None knows none, and then noise is never shared.
        is_simulation: needs no approval, accepts drafted schemas and releases without noise; never true at a site.
        is_rehearsal: the site's noise is predictable: it takes part in studies that are rehearsals, and in no others.

    Raises:
        ValueError: no cap, or a cap without a delta, outside a simulation.
    """

    hospital: str
    max_epsilon: float = math.inf
    delta: float | None = None
    declared_rows: int | None = None
    unit: Unit | None = None
    min_rows: int = MIN_ROWS
    phases: frozenset[str] = field(default_factory=lambda: frozenset(PHASES))
    consent: Consent | None = None
    partners: Partners | None = None
    visits_of: str | None = None
    is_simulation: bool = False
    is_rehearsal: bool = False

    def __post_init__(self) -> None:
        if not self.max_epsilon > 0:
            raise ValueError(f"max_epsilon={self.max_epsilon} is not above 0")
        if math.isinf(self.max_epsilon) and not self.is_simulation:
            raise ValueError("max_epsilon is not given; only a simulation may omit it")
        if math.isfinite(self.max_epsilon) and self.delta is None:
            raise ValueError("max_epsilon needs the cohort's delta; add delta")

    def check(
        self, run_id: str, study: Study, plan: Plan, spent: tuple[Event, ...], *, table: str = ""
    ) -> HospitalPlan:
        """Return the part of the plan that concerns this hospital, if the policy accepts this run of it.

        Args:
            run_id: identifier of the run.
            study, plan: study and plan as the coordinator sent them.
            spent: every event that the cohort is already committed to.
            table: digest of the table that the run would be answered from; empty in a simulation, and no person
                approves that.

        Raises:
            PolicyRefusal: with a reason that depends on study, plan, decisions and ledger, never on a record.
        """
        self._check_consent(run_id, study, plan, table)
        return self.check_terms(study, plan, spent)

    def check_terms(self, study: Study, plan: Plan, spent: tuple[Event, ...]) -> HospitalPlan:
        """Return the part of the plan that concerns this hospital, if all but people's consent allows it.

        Args:
            study, plan: study and plan as the coordinator sent them.
            spent: every event that the cohort is already committed to.

        Raises:
            PolicyRefusal: with a reason that depends on the study, the plan and the ledger, never on a record.
        """
        facts, hospital_plan = study.hospital(self.hospital), plan.of(self.hospital)
        if facts is None or hospital_plan is None:
            raise PolicyRefusal(Reason.UNKNOWN_HOSPITAL)
        if study.about.origin == "drafted" and not self.is_simulation:
            raise PolicyRefusal(Reason.STUDY_DRAFTED)
        if study.about.rehearsal != self.is_rehearsal and not self.is_simulation:
            raise PolicyRefusal(Reason.STUDY_REHEARSAL)  # predictable noise and real runs never meet
        if study.privacy.noise == "none" and not self.is_simulation:
            raise PolicyRefusal(Reason.NOISE_REFUSED)
        self._check_part(study, plan)
        if self.declared_rows is not None and facts.declared_rows != self.declared_rows:
            raise PolicyRefusal(Reason.DECLARED_ROWS_DIFFER)
        if facts.declared_rows < self.min_rows:
            raise PolicyRefusal(Reason.TOO_FEW_ROWS)
        if study.privacy.unit == "patient" and self.unit == "record":
            raise PolicyRefusal(Reason.UNIT_DIFFERS)
        if study.has_visits and self.visits_of != study.declared.patient and not self.is_simulation:
            raise PolicyRefusal(Reason.VISITS_DIFFER)
        delta_cap = largest_delta(facts.declared_rows) if self.delta is None else self.delta
        if study.privacy.delta > delta_cap:
            raise PolicyRefusal(Reason.DELTA_TOO_LARGE)
        if plan != make_plan(study):  # recomputed: no figure of a received plan is trusted
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        events = plan.events(hospital_plan)
        is_noisy = study.privacy.noise != "none"
        if is_noisy and accountant.epsilon(events, study.privacy.delta) > study.epsilon_of(facts):
            raise PolicyRefusal(Reason.PLAN_MISMATCH)
        self._check_budget(events, spent)
        return hospital_plan

    def check_still_agreed(self, run_id: str, study: Study, plan: Plan, *, table: str = "") -> None:
        """Refuse a run whose approval, phase or partner the hospital took back since it was accepted.

        Args:
            run_id, study, plan: the accepted run.
            table: digest of the table that it is answered from; empty in a simulation.

        Raises:
            PolicyRefusal: the approval is withdrawn or has expired, or a phase or a partner's pin was removed.
        """
        self._check_consent(run_id, study, plan, table)
        self._check_part(study, plan)

    def _check_part(self, study: Study, plan: Plan) -> None:
        """Refuse a phase that the hospital takes no part in, and noise that it shares with partners it does not pin."""
        if not self.phases.issuperset(plan.phases):
            raise PolicyRefusal(Reason.PHASE_NOT_ALLOWED)
        self._check_partners(study)

    def _check_partners(self, study: Study) -> None:
        """Refuse to share noise unless every hospital has a key, and this hospital compared those of all others."""
        if study.privacy.noise != "distributed" or self.is_simulation:
            return
        if any(facts.identity is None for facts in study.hospitals):
            raise PolicyRefusal(Reason.IDENTITY_MISSING)
        if self.partners is None:
            raise PolicyRefusal(Reason.PARTNER_NOT_PINNED)
        self.partners.check(study, self.hospital)

    def _check_consent(self, run_id: str, study: Study, plan: Plan, table: str) -> None:
        """Refuse a run that people have not approved; a simulation needs nobody's consent."""
        if self.is_simulation:
            return
        if self.consent is None:
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
        self.consent.check(run_id, study, plan, table)

    def _check_budget(self, events: tuple[Event, ...], spent: tuple[Event, ...]) -> None:
        """Refuse a run that the cohort's lifetime budget, at the cohort's one delta, cannot pay for."""
        if self.delta is None or math.isinf(self.max_epsilon):
            return
        if accountant.epsilon(events, self.delta) > self.max_epsilon:
            raise PolicyRefusal(Reason.EPSILON_ABOVE_CAP)
        if not lifetime.fits_lifetime(spent, events, self.max_epsilon, self.delta):
            raise PolicyRefusal(Reason.BUDGET_EXHAUSTED)
