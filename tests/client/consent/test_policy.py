from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client.consent.policy import Policy
from common.errors import PolicyRefusal, Reason
from common.planning.plan import HospitalPlan, Plan
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, Event, Unprotected
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.consent import agreed_to

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(privacy={"epsilon": 3.0}, training={"rounds": 1, "steps": 20}).with_hospitals(FACTS)
STRICT = Policy("north", declared_rows=100, max_epsilon=3.0, delta=1e-4, consent=agreed_to(STUDY))
SIMULATED = Policy("north", is_simulation=True)


def refused(policy: Policy, study: Study, plan: Plan | None = None, spent: tuple[Event, ...] = ()) -> Reason:
    with pytest.raises(PolicyRefusal) as refusal:
        policy.check("run-1", study, plan or make_plan(study), spent)
    return refusal.value.reason


def approving(policy: Policy, study: Study) -> Policy:
    return replace(policy, consent=agreed_to(study))


def accepts(policy: Policy, study: Study, spent: tuple[Event, ...] = ()) -> bool:
    return policy.check("run-1", study, make_plan(study), spent).hospital == policy.hospital


def test_policy_accepts_an_approved_study_and_returns_its_part() -> None:
    assert STRICT.check("run-1", STUDY, make_plan(STUDY), ()) == make_plan(STUDY).hospitals[0]


def test_a_hospital_that_the_study_does_not_list_refuses() -> None:
    assert refused(replace(STRICT, hospital="west"), STUDY) == Reason.UNKNOWN_HOSPITAL
    plan = make_plan(STUDY)
    assert refused(STRICT, STUDY, replace(plan, hospitals=plan.hospitals[1:])) == Reason.UNKNOWN_HOSPITAL
    without = STUDY.with_hospitals((FACTS[1], HospitalFacts(name="west", declared_rows=100)))
    assert refused(approving(STRICT, without), without, plan) == Reason.UNKNOWN_HOSPITAL


def test_a_study_that_was_not_approved_is_refused() -> None:
    assert refused(replace(STRICT, consent=None), STUDY) == Reason.STUDY_NOT_APPROVED
    amended = STUDY.amended(study={"seed": 12})
    assert refused(STRICT, amended, make_plan(amended)) == Reason.STUDY_NOT_APPROVED


def test_a_drafted_schema_is_for_simulations_only() -> None:
    drafted = STUDY.amended(study={"origin": "drafted"})
    assert refused(approving(STRICT, drafted), drafted) == Reason.STUDY_DRAFTED
    assert refused(replace(approving(STRICT, drafted), is_rehearsal=True), drafted) == Reason.STUDY_DRAFTED
    assert accepts(SIMULATED, drafted)


def test_distributed_noise_needs_every_hospitals_identity() -> None:
    shared = STUDY.amended(privacy={"noise": "distributed"})
    assert refused(approving(STRICT, shared), shared) == Reason.IDENTITY_MISSING
    assert accepts(SIMULATED, shared)
    keys = [f"ed25519:{letter * 42}A=" for letter in "AB"]
    named = shared.with_hospitals(
        tuple(facts.model_copy(update={"identity": key}) for facts, key in zip(FACTS, keys, strict=True))
    )
    assert refused(approving(STRICT, named), named) == Reason.PARTNER_NOT_PINNED  # see test_partners


def test_release_without_noise_is_for_simulations_only() -> None:
    bare = STUDY.amended(privacy={"noise": "none"})
    assert refused(approving(STRICT, bare), bare) == Reason.NOISE_REFUSED
    rehearsed = bare.amended(study={"rehearsal": True})
    assert refused(replace(approving(STRICT, rehearsed), is_rehearsal=True), rehearsed) == Reason.NOISE_REFUSED
    assert SIMULATED.check("run-1", bare, make_plan(bare), ()).noise_multiplier == 0
    assert refused(replace(SIMULATED, max_epsilon=100.0, delta=1e-4), bare) == Reason.EPSILON_ABOVE_CAP


def test_predictable_noise_and_real_runs_never_meet() -> None:
    rehearsed = STUDY.amended(study={"rehearsal": True})
    assert refused(approving(STRICT, rehearsed), rehearsed) == Reason.STUDY_REHEARSAL
    assert refused(replace(STRICT, is_rehearsal=True), STUDY) == Reason.STUDY_REHEARSAL
    assert accepts(replace(approving(STRICT, rehearsed), is_rehearsal=True), rehearsed)


def test_other_declared_rows_than_the_hospitals_own_are_refused() -> None:
    assert refused(replace(STRICT, declared_rows=110), STUDY) == Reason.DECLARED_ROWS_DIFFER


def test_too_few_declared_rows_are_refused() -> None:
    assert refused(replace(STRICT, min_rows=101), STUDY) == Reason.TOO_FEW_ROWS
    assert accepts(replace(STRICT, min_rows=100), STUDY)


def test_a_delta_above_the_limit_is_refused() -> None:
    # The study's delta is 1e-4; a simulated hospital of 100 rows without a delta of its own allows up to 1 / 100.
    assert refused(replace(STRICT, delta=9e-5), STUDY) == Reason.DELTA_TOO_LARGE
    assert accepts(SIMULATED, STUDY)


def test_a_plan_above_the_cap_is_refused() -> None:
    assert refused(replace(STRICT, max_epsilon=2.9), STUDY) == Reason.EPSILON_ABOVE_CAP


def test_a_plan_beyond_the_rest_of_the_budget_is_refused() -> None:
    spent = (DiscreteGaussianVector(5.0, 2),)
    assert refused(STRICT, STUDY, spent=spent) == Reason.BUDGET_EXHAUSTED
    assert refused(STRICT, STUDY, spent=(Unprotected(),)) == Reason.BUDGET_EXHAUSTED
    assert accepts(replace(STRICT, max_epsilon=10.0), STUDY, spent)


def test_lifetime_cap_holds_at_the_cohorts_delta() -> None:
    # At delta 1e-6 the study alone would be refused by a cap of 3; at the cohort's 1e-4 it costs less than at its own.
    sparing = STUDY.amended(privacy={"delta": 1e-6})
    assert accepts(approving(replace(STRICT, max_epsilon=2.5), sparing), sparing)
    assert refused(approving(replace(STRICT, max_epsilon=2.5, delta=1e-6), sparing), sparing) == (
        Reason.EPSILON_ABOVE_CAP
    )


def test_phase_that_is_not_allowed_is_refused() -> None:
    assert make_plan(STUDY).phases == ("histograms", "coarse", "pairs", "rounds")
    counts = frozenset({"histograms", "coarse", "pairs"})
    assert refused(replace(STRICT, phases=counts), STUDY) == Reason.PHASE_NOT_ALLOWED
    without = STUDY.amended(training={"rounds": 0})
    assert accepts(approving(replace(STRICT, phases=counts), without), without)


def test_an_approval_or_a_phase_can_be_taken_back() -> None:
    plan = make_plan(STUDY)
    STRICT.check_still_agreed("run-1", STUDY, plan)
    reasons = {
        Reason.STUDY_NOT_APPROVED: replace(STRICT, consent=None),
        Reason.PHASE_NOT_ALLOWED: replace(STRICT, phases=frozenset({"histograms", "coarse", "pairs"})),
    }
    for reason, policy in reasons.items():
        with pytest.raises(PolicyRefusal) as refusal:
            policy.check_still_agreed("run-1", STUDY, plan)
        assert refusal.value.reason == reason


def test_a_site_sets_a_cap_and_a_delta() -> None:
    with pytest.raises(ValueError, match="max_epsilon is not given"):
        Policy("north")
    with pytest.raises(ValueError, match="max_epsilon needs the cohort's delta"):
        Policy("north", max_epsilon=3.0)
    with pytest.raises(ValueError, match="is not above 0"):
        Policy("north", max_epsilon=0.0, delta=1e-4)


def test_own_smaller_epsilon_is_recomputed() -> None:
    own = STUDY.with_hospitals((FACTS[0].model_copy(update={"epsilon": 1.0}), FACTS[1]))
    policy = replace(approving(STRICT, own), max_epsilon=1.0)
    assert accepts(policy, own)
    assert refused(policy, own, replace(make_plan(STUDY), fingerprint=own.fingerprint)) == Reason.PLAN_MISMATCH
    assert refused(approving(replace(STRICT, max_epsilon=1.0), STUDY), STUDY) == Reason.EPSILON_ABOVE_CAP


def of_vector(place: int, **changes: int | str) -> Callable[[Plan], Plan]:
    def tamper(plan: Plan) -> Plan:
        vectors = list(plan.vectors)
        vectors[place] = replace(vectors[place], **changes)  # type: ignore[arg-type]
        return replace(plan, vectors=tuple(vectors))

    return tamper


def of_north(**changes: float | int | str | tuple[float, ...]) -> Callable[[Plan], Plan]:
    def tamper(plan: Plan) -> Plan:
        mine: HospitalPlan = replace(plan.hospitals[0], **changes)  # type: ignore[arg-type]
        return replace(plan, hospitals=(mine, *plan.hospitals[1:]))

    return tamper


TAMPERINGS: dict[str, Callable[[Plan], Plan]] = {
    "fewer columns": of_vector(0, squared_sensitivity=1),
    "more tables": of_vector(2, tables=7),
    "a larger sensitivity": of_vector(2, squared_sensitivity=10**6),
    "heavier tables": of_vector(2, largest_weight=10**3),
    "no weights": of_vector(2, largest_weight=1),
    "finer groups": of_vector(1, groups=0),
    "another phase": of_vector(2, name="triples"),
    "no histograms": lambda plan: replace(plan, vectors=plan.vectors[1:]),
    "a smaller sigma": lambda plan: of_north(sigmas=(1.0, *plan.hospitals[0].sigmas[1:]))(plan),
    "no histogram noise": lambda plan: of_north(sigmas=(0.0, *plan.hospitals[0].sigmas[1:]))(plan),
    "no marginal noise": lambda plan: of_north(sigmas=(*plan.hospitals[0].sigmas[:2], 0.0))(plan),
    "a smaller noise multiplier": of_north(noise_multiplier=0.1),
    "no gradient noise": of_north(noise_multiplier=0.0),
    "a larger clip": of_north(clip=10.0),
    "a larger sample rate": of_north(sample_rate=1.0),
    "a smaller batch": of_north(batch=1),
    "more rounds": lambda plan: replace(plan, rounds=2),
    "more bins": lambda plan: replace(plan, bins=plan.bins + 1),
    "more steps": of_north(steps=21),
    "another delta": lambda plan: replace(plan, delta=1e-3),
    "more cells": lambda plan: replace(plan, cells=plan.cells + 1),
    "another study's fingerprint": lambda plan: replace(plan, fingerprint="ab" * 32),
    "another hospital's noise": lambda plan: replace(plan, hospitals=plan.hospitals[:1]),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_plan_is_computed_again_and_refused_if_it_differs_by(name: str) -> None:
    plan = make_plan(STUDY)
    tampered = TAMPERINGS[name](plan)
    assert tampered != plan
    assert refused(SIMULATED, STUDY, tampered) == Reason.PLAN_MISMATCH
    assert refused(STRICT, STUDY, tampered) == Reason.PLAN_MISMATCH


def test_a_plan_that_costs_more_than_the_study_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.consent.policy.accountant.epsilon", lambda events, delta: 3.1)
    assert refused(STRICT, STUDY) == Reason.PLAN_MISMATCH


def test_a_promise_to_patients_needs_a_hospital_that_knows_them() -> None:
    records = STUDY.amended(privacy={"unit": "record"})
    assert STUDY.privacy.unit == "patient"
    assert refused(replace(STRICT, unit="record"), STUDY) == Reason.UNIT_DIFFERS
    assert accepts(replace(STRICT, unit="patient"), STUDY)
    for unit in ("patient", "record"):
        assert accepts(approving(replace(STRICT, unit=unit), records), records)


def test_without_a_cap_delta_is_at_most_a_tenth_of_one_row() -> None:
    study = STUDY.amended(privacy={"delta": 1e-3}).with_hospitals((FACTS[0],), cap_minimum=True)
    assert accepts(SIMULATED, study)  # 1 / (10 x 100)
