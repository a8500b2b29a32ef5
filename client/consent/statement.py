"""The statement that a person reads before approving a run: what leaves, to whom, at what epsilon."""

from __future__ import annotations

import json
from collections.abc import Iterable

from common.planning.phases import phases_of
from common.planning.plan import HospitalPlan, Plan
from common.privacy import accountant
from common.privacy.events import Event
from common.protocol.signing import fingerprint
from common.study.study import Study


def what_leaves(study: Study, plan: Plan, hospital_plan: HospitalPlan) -> list[str]:
    """Return every kind of reply of the run, one a line, and who gets it.

    Args:
        study, plan: study and plan of the run.
        hospital_plan: the part of the plan that concerns the hospital that reads this.
    """
    others = ", ".join(facts.name for facts in study.hospitals if facts.name != hospital_plan.hospital) or "none"
    lines = [
        f"{hospital_plan.hospital} would send to the coordinator of the study, who combines it with what these "
        f"hospitals send and may publish the result: {others}.",
        "These columns are used, one quoted name per line:",
        *(f"    {json.dumps(name, ensure_ascii=False)}" for name in study.table.names),
        "The coordinator would get:",
        "- yes or no, decided without reading a record",
    ]
    for phase in phases_of(plan):
        lines += phase.sentences(study, plan, hospital_plan)
    if plan.honest_hospitals:
        lines += _sharing(study, plan)
    lines.append(
        "- the word 'unavailable' if anything fails; the number of ledger entries and the hash of the last one"
    )
    return lines


def partner_keys(study: Study, hospital: str) -> list[str]:
    """Return one line per partner with the fingerprint of its identity, under a line that says to compare them.

    Args:
        study: the study of the run.
        hospital: name of the hospital that reads the lines; it is left out of them.
    """
    partners = [facts for facts in study.hospitals if facts.name != hospital]
    if not partners:
        return []
    lines = [
        "Compare each partner's fingerprint by telephone with the partner itself, who reads it from what `fedsynth "
        "site init` printed there. Do not take the telephone number from the coordinator:"
    ]
    for facts in partners:
        key = (
            "no key is listed: anyone could answer in its name"
            if facts.identity is None
            else fingerprint(facts.identity)
        )
        lines.append(f"    {facts.name}: {key}")
    return lines


def _sharing(study: Study, plan: Plan) -> list[str]:
    """Say whom a hospital trusts where noise is shared."""
    lines = [
        f"The coordinator can read masked vectors only as a sum over at least {study.threshold} hospitals. The "
        f"noise in the sum is shared: the epsilon below holds while at least {plan.honest_hospitals} of the "
        "hospitals in the sum, this one included, follow the protocol and keep their share of the noise secret. "
        f"{study.federation.colluders} may side with the coordinator, which need not be trusted."
    ]
    if plan.retries:
        lines.append(f"A failed masked phase is repeated up to {plan.retries} times, with fresh noise and keys.")
    return lines


def what_it_costs(
    study: Study, plan: Plan, hospital_plan: HospitalPlan, spent: Iterable[Event], *, cap: float, delta: float
) -> list[str]:
    """Return epsilon of the run, and of the cohort before and after it.

    Args:
        study, plan: study and plan of the run.
        hospital_plan: the part of the plan that concerns the hospital that reads this.
        spent: every event that the cohort is already committed to.
        cap, delta: the cohort's lifetime budget.
    """
    before, new = tuple(spent), plan.events(hospital_plan)
    cost = accountant.epsilon(new, study.privacy.delta)
    lines = [f"It costs each patient epsilon {cost:.3f} at delta {study.privacy.delta:g}."]
    if not before:
        return [
            *lines,
            f"This would be the cohort's first run: nothing of epsilon {cap:g} at delta {delta:g} is spent.",
        ]
    so_far, after = (accountant.epsilon_rdp(events, delta) for events in (before, (*before, *new)))
    return [
        *lines,
        f"The cohort has released or reserved epsilon {so_far:.3f} so far; with this run it is {after:.3f} of "
        f"{cap:g} at delta {delta:g} (Renyi bounds, as the lifetime filter uses).",
    ]
