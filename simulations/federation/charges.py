"""What a run cost each hospital: epsilon as its ledger says, and what it released, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common.ledger.ledger import History, Line
from common.planning.plan import ROUNDS, HospitalPlan, Plan
from common.privacy import accountant, renyi
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
)
from common.study.study import Study


def charges_of(study: Study, plan: Plan, name: str, ledger: History, run_id: str) -> dict[str, Any]:
    """Return what run.json says about one hospital, recomputed from the lines of its ledger.

    Args:
        study: study of the run.
        plan: plan of the run.
        name: name of the hospital.
        ledger: ledger of the hospital, with all its runs.
        run_id: identifier of the run.
    """
    facts, hospital_plan = study.hospital(name), plan.of(name)
    assert facts is not None, "a hospital outside the study"
    assert hospital_plan is not None, "a hospital outside the plan"
    delta, every_line = study.privacy.delta, ledger.lines()
    lines = [line for line in every_line if line.slot.run_id == run_id]
    events = [line.event for line in lines]
    return {
        "declared_rows": facts.declared_rows,
        "epsilon": _finite(accountant.epsilon(events, delta)),
        "epsilon_rdp": _finite(renyi.epsilon_rdp(events, delta)),
        "epsilon_of_all_runs": _finite(accountant.epsilon([line.event for line in every_line], delta)),
        "delta": delta,
        "released": _released(lines, plan),
    } | _planned(plan, hospital_plan)


def _planned(plan: Plan, hospital_plan: HospitalPlan) -> dict[str, Any]:
    """Return the noise of one hospital as planned."""
    return {
        "sigmas": {phase.name: sigma for phase, sigma in zip(plan.vectors, hospital_plan.sigmas, strict=True)},
        "noise_multiplier": hospital_plan.noise_multiplier,
        "sample_rate": hospital_plan.sample_rate,
        "steps": plan.rounds * hospital_plan.steps,
    }


def _finite(epsilon: float) -> float | None:
    """Return epsilon to six decimals; None, since JSON has no infinity, where nothing protects the patients."""
    return None if epsilon == float("inf") else round(epsilon, 6)


def _released(lines: Sequence[Line], plan: Plan) -> list[str]:
    """Return what a hospital released, by its ledger: one sentence for each phase, all rounds together."""
    by_phase: dict[str, list[Event]] = {}
    for line in lines:
        name = "training" if line.slot.phase == ROUNDS else replace(line.slot, round=0).words(plan)
        by_phase.setdefault(name, []).append(line.event)
    return [_sentence(name, events) for name, events in by_phase.items()]


def _weights(largest: int) -> str:
    return f" of patients, times each table's weight of at most {largest}" if largest > 1 else " of patients"


def _sentence(name: str, events: Sequence[Event]) -> str:
    times = f", {len(events)} times" if len(events) > 1 else ""
    match events[0]:
        case DiscreteGaussianVector(sigma=sigma, largest_change=largest):
            counts = f"{name}: noisy counts{_weights(largest)}{times}"
            return f"{counts}; the noise of each has a standard deviation of {sigma:.1f}"
        case DistributedGaussianVector(share_sigma=sigma, honest_hospitals=honest, largest_change=largest):
            spread = sigma * math.sqrt(honest)
            return (
                f"{name}: counts{_weights(largest)} under a mask{times}; only the sum over hospitals was opened, and "
                f"the noise of at least {honest} honest hospitals in it has a standard deviation of {spread:.1f}"
            )
        case SynchronousRun(sample_rate=rate) as run:
            return (
                f"training: {len(events)} gradients under masks, each of one patient in {1 / rate:.0f} with noise "
                f"multiplier {run.central_multiplier:.2f} in the sum"
            )
        case DpSgdRun(noise_multiplier=multiplier, sample_rate=rate, steps=steps):
            rounds = f"{len(events)} round{'s' if len(events) > 1 else ''}"
            return (
                f"training: weights after each of {rounds}, {steps} steps a round, each on one patient in "
                f"{1 / rate:.0f} with noise multiplier {multiplier:.2f}"
            )
        case Unprotected():
            return f"{name}: exact, without noise"
