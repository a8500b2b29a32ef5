"""The statement that a person reads before approving a run: what leaves, to whom, at what epsilon."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from client.consent.budget import LifetimeBudget
from client.consent.partners import Partner
from common.omop.words import what_is_taken
from common.planning.phases import phases_of
from common.planning.plan import HospitalPlan, Plan
from common.privacy import accountant
from common.privacy.events import Event
from common.privacy.meaning import equal_gaussian, group_epsilon, suspicion_sentence
from common.protocol.signing import fingerprint
from common.study.description import KEPT
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
        *(f"    {json.dumps(name, ensure_ascii=False)}" for name in study.read_names),
        *(what_is_taken(study.extraction) if study.extraction is not None else []),
        *_visits(study),
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


def _visits(study: Study) -> list[str]:
    """Return what a patient's visits contribute, in a study of visits."""
    if not study.has_visits:
        return []
    declared = study.declared
    kept = KEPT[declared.keep_visits]
    return [
        f"Of each patient, {kept} {declared.most_visits} visits at most are counted, in the order of "
        f"{json.dumps(declared.time, ensure_ascii=False)}. All visits of a patient together weigh as much as one "
        "patient in every count, and are protected together."
    ]


def partner_keys(study: Study, hospital: str, partners: Sequence[Partner]) -> list[str]:
    """Return one line per hospital with the fingerprint of the key that the study lists, and whether it is known.

    Args:
        study: the study of the run.
        hospital: name of the hospital that reads the lines.
        partners: the other hospitals, as this one knows them.
    """
    if not partners:
        return []
    lines = ["The study lists these hospitals, each with the fingerprint of its key:"]
    own = study.hospital(hospital)
    if own is not None and own.identity is not None:
        lines.append(f"    {hospital}: {fingerprint(own.identity)} (this hospital)")
    for partner in partners:
        key = partner.listed or "no key is listed: anyone could answer in its name"
        lines.append(f"    {partner.name}: {key} ({partner.standing})")
    if not all(partner.is_known for partner in partners):
        lines.append(
            "Compare each fingerprint that is new or CHANGED by telephone with the partner itself, who reads it from "
            "what `fedsynth site init` printed there. Do not take the telephone number from the coordinator. Then type "
            "what you heard: `fedsynth site partner add NAME FINGERPRINT`."
        )
    return lines


def _sharing(study: Study, plan: Plan) -> list[str]:
    """Say whom a hospital trusts where noise is shared."""
    lines = [
        f"The coordinator can read masked vectors only as a sum over at least {study.threshold} hospitals. The "
        f"noise in the sum is shared: the epsilon below holds while at least {plan.honest_hospitals} of the "
        "hospitals in the sum, this one and others whose keys you compared yourself, follow the protocol and keep "
        "their share of the noise secret. "
        f"{study.federation.colluders} may side with the coordinator, which need not be trusted."
    ]
    if plan.retries:
        lines.append(f"A failed masked phase is repeated up to {plan.retries} times, with fresh noise and keys.")
    return lines


def what_it_costs(
    study: Study, events: Iterable[Event], spent: Iterable[Event], *, cap: float, delta: float
) -> list[str]:
    """Return epsilon of the run, and of the cohort before and after it.

    Args:
        study: the study of the run.
        events: what the run would release at this hospital.
        spent: every event that the cohort is already committed to.
        cap, delta: the cohort's lifetime budget.
    """
    before, new = tuple(spent), tuple(events)
    cost = accountant.epsilon(new, study.privacy.delta)
    lines = [
        f"It costs each {study.privacy.unit} epsilon {cost:.3f} at delta {study.privacy.delta:g}.",
        suspicion_sentence(study.privacy.unit, cost, study.privacy.delta),
        *_further_figures(new, cost, study.privacy.delta),
        *(f"Warning: {warning}." for warning in study.warnings),
    ]
    if study.privacy.unit == "record":
        lines.append("This is about records: the epsilons of a patient's several records add up.")
    if not before:
        return [
            *lines,
            f"This would be the cohort's first run: nothing of epsilon {cap:g} at delta {delta:g} is spent.",
        ]
    budget = LifetimeBudget.of(before, new, limit=cap, delta=delta)
    return [
        *lines,
        f"The cohort has released or reserved epsilon {budget.now:.3f} so far; with this run it is {budget.after:.3f} "
        f"of {cap:g} at delta {delta:g} (Renyi bounds, as the lifetime filter uses).",
        "Everything together:",
        suspicion_sentence(study.privacy.unit, budget.after, delta),
    ]


def what_the_approval_is(approvers: int, days: int) -> list[str]:
    """Return who must approve, for how long, and how to take it back."""
    needed = "one person" if approvers == 1 else f"{approvers} different persons"
    return [
        f"The agent answers once {needed} approved this run, for {days} days after each approval. "
        "`fedsynth site withdraw RUN` ends it before. Name, position, reason and the digest of this statement go into "
        "the ledger."
    ]


def _further_figures(events: tuple[Event, ...], epsilon: float, delta: float) -> list[str]:
    """Return epsilon for groups of patients, and the Gaussian mechanism of the same epsilon."""
    pair, family = (group_epsilon(events, delta, size) for size in (2, 5))
    equal = equal_gaussian(epsilon, delta)
    return [
        f"Several patients together are protected less: epsilon {_bound(pair)} for a pair and {_bound(family)} for a "
        "family of five, at the same delta.",
        f"For comparison: a Gaussian mechanism of this epsilon and delta has mu {equal.mu:.2f} (Gaussian differential "
        f"privacy) and rho {equal.rho:.3f} (zero-concentrated differential privacy).",
    ]


def _bound(epsilon: float) -> str:
    return f"{epsilon:.1f}" if math.isfinite(epsilon) else "above 80"
