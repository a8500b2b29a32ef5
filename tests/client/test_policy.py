from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from client.policy import Policy
from common.errors import PolicyRefusal, Reason
from common.privacy.events import DiscreteGaussianVector, Event, Unprotected
from common.privacy.plan import HospitalPlan, Plan
from common.privacy.planner import make_plan
from common.study import HospitalFacts, Study
from tests.clinic import clinic_study

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(privacy={"epsilon": 3.0}, training={"rounds": 1, "steps": 20}).with_hospitals(FACTS)
STRICT = Policy("north", declared_rows=100, max_epsilon=3.0, approved=frozenset({STUDY.fingerprint}))


def refused(policy: Policy, study: Study, plan: Plan | None = None, spent: tuple[Event, ...] = ()) -> Reason:
    with pytest.raises(PolicyRefusal) as refusal:
        policy.check(study, plan or make_plan(study), spent)
    return refusal.value.reason


def test_a_policy_accepts_the_plan_of_an_approved_study_and_names_its_own_part() -> None:
    assert STRICT.check(STUDY, make_plan(STUDY), ()) == make_plan(STUDY).hospitals[0]


def test_a_hospital_that_the_study_does_not_list_refuses() -> None:
    assert refused(Policy("west"), STUDY) == Reason.UNKNOWN_HOSPITAL
    plan = make_plan(STUDY)
    assert refused(Policy("north"), STUDY, replace(plan, hospitals=plan.hospitals[1:])) == Reason.UNKNOWN_HOSPITAL


def test_a_study_that_was_not_approved_is_refused() -> None:
    assert refused(replace(STRICT, approved=frozenset()), STUDY) == Reason.STUDY_NOT_APPROVED
    amended = STUDY.amended(study={"seed": 12})
    assert refused(STRICT, amended, make_plan(amended)) == Reason.STUDY_NOT_APPROVED


def test_a_drafted_schema_is_for_simulations_only() -> None:
    drafted = STUDY.amended(study={"origin": "drafted"})
    assert refused(Policy("north"), drafted) == Reason.STUDY_DRAFTED
    assert Policy("north", is_simulation=True).check(drafted, make_plan(drafted), ()).hospital == "north"


def test_release_without_noise_is_for_simulations_only() -> None:
    bare = STUDY.amended(privacy={"noise": "none"})
    assert refused(Policy("north"), bare) == Reason.NOISE_REFUSED
    assert Policy("north", is_simulation=True).check(bare, make_plan(bare), ()).noise_multiplier == 0


def test_other_declared_rows_than_the_hospitals_own_are_refused() -> None:
    assert refused(replace(STRICT, declared_rows=110), STUDY) == Reason.DECLARED_ROWS_DIFFER


def test_too_few_declared_rows_are_refused() -> None:
    assert refused(replace(STRICT, min_rows=101), STUDY) == Reason.TOO_FEW_ROWS
    assert replace(STRICT, min_rows=100).check(STUDY, make_plan(STUDY), ()).hospital == "north"


def test_a_delta_above_the_limit_is_refused() -> None:
    # The study's delta is 1e-4; without a limit of its own a hospital of 100 rows allows up to 1 / 100.
    assert refused(replace(STRICT, max_delta=9e-5), STUDY) == Reason.DELTA_TOO_LARGE


def test_a_plan_above_the_cap_is_refused() -> None:
    assert refused(replace(STRICT, max_epsilon=2.9), STUDY) == Reason.EPSILON_ABOVE_CAP


def test_a_plan_that_the_rest_of_the_budget_cannot_pay_is_refused() -> None:
    spent = (DiscreteGaussianVector(5.0, 2),)
    assert refused(STRICT, STUDY, spent=spent) == Reason.BUDGET_EXHAUSTED
    assert refused(STRICT, STUDY, spent=(Unprotected(),)) == Reason.BUDGET_EXHAUSTED
    richer = replace(STRICT, max_epsilon=10.0)
    assert richer.check(STUDY, make_plan(STUDY), spent).hospital == "north"


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
    "fewer numeric columns": of_vector(0, changed=1),
    "more tables": of_vector(2, changed=6),
    "finer groups": of_vector(1, groups=0),
    "another phase": of_vector(2, name="triples"),
    "no histograms": lambda plan: replace(plan, vectors=plan.vectors[1:]),
    "a smaller sigma": lambda plan: of_north(sigmas=(1.0, *plan.hospitals[0].sigmas[1:]))(plan),
    "no histogram noise": lambda plan: of_north(sigmas=(0.0, *plan.hospitals[0].sigmas[1:]))(plan),
    "no anchor noise": lambda plan: of_north(sigmas=(*plan.hospitals[0].sigmas[:2], 0.0))(plan),
    "a smaller noise multiplier": of_north(noise_multiplier=0.1),
    "no gradient noise": of_north(noise_multiplier=0.0),
    "a larger clip": of_north(clip=10.0),
    "a larger sample rate": of_north(sample_rate=1.0),
    "a smaller batch": of_north(batch=1),
    "more rounds": lambda plan: replace(plan, rounds=2),
    "more bins": lambda plan: replace(plan, bins=plan.bins + 1),
    "other reasons": lambda plan: replace(plan, why="the server says so"),
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
    assert refused(Policy("north", is_simulation=True), STUDY, tampered) == Reason.PLAN_MISMATCH


def test_a_plan_that_costs_more_than_the_study_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.policy.accountant.epsilon", lambda events, delta: 3.1)
    assert refused(Policy("north"), STUDY) == Reason.PLAN_MISMATCH
