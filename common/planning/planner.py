"""From a study to its plan: public facts only, before any record is read. Equal studies give equal plans."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from common.errors import StudyError
from common.planning.calibration import CountedVectors, Noise, NoiseSharing, Target, TrainingSteps, calibrate_noise
from common.planning.capacity import check_capacity, check_cells, check_parameters
from common.planning.choice import Choice, choose, noise_sharing
from common.planning.phases import PHASES
from common.planning.plan import HospitalPlan, Plan
from common.privacy.accountant import Unaffordable
from common.privacy.quantization import QuantizationGrid, choose_grid
from common.study.sections import Budget, HospitalFacts
from common.study.study import Study

MAX_SAMPLE_RATE = 0.25
"""Largest probability that a patient enters a batch; above it, subsampling amplifies too little to pay."""


def make_plan(study: Study) -> Plan:
    """Return the plan that the study leads to.

    Each hospital meets the study's (epsilon, delta) exactly, or its own smaller epsilon: then its noise alone grows.
    With distributed noise any `Study.honest_survivors` hospitals together supply the noise that meets it.

    Raises:
        StudyError: no hospitals are listed, nothing would be released, epsilon or a weight is too small for any
            noise, or what would be released does not fit.
    """
    if not study.hospitals:
        raise StudyError("the study lists no [[hospitals]]; add each one's name and declared_rows")
    sharing = noise_sharing(study)
    try:
        choice = choose(study)
        hospitals = _plan_hospitals(study, choice, sharing)
    except Unaffordable:
        _refuse_weights(study, sharing)
        least = min(study.epsilon_of(hospital) for hospital in study.hospitals)
        section = "[[hospitals]]" if least < study.privacy.epsilon else "[privacy]"
        raise StudyError(f"{section} epsilon = {least:g} is too small for any amount of noise; raise it") from None
    plan = Plan(
        fingerprint=study.fingerprint,
        delta=study.privacy.delta,
        cells=choice.cells,
        bins=choice.bins,
        vectors=choice.vectors,
        rounds=choice.training.rounds,
        hospitals=hospitals,
        honest_hospitals=sharing.honest_hospitals,
        retries=sharing.retries,
        quantization=_quantization(study, choice, hospitals) if choice.training.is_synchronous else None,
        parts=study.table.parts,
    )
    check_cells(study, plan)
    if plan.honest_hospitals:
        check_capacity(study, plan)
    return plan


def _refuse_weights(study: Study, sharing: NoiseSharing) -> None:
    """Raise `StudyError` for a study that no noise meets, if one does with the planner's weights."""
    usual = study.model_copy(update={"budget": Budget()})
    try:
        _plan_hospitals(usual, choose(usual), sharing)
    except Unaffordable:
        return
    proportions = choose(study).proportions
    phase = min(proportions, key=lambda name: proportions[name])
    raise StudyError(
        f"[budget] leaves '{PHASES[phase].budget_key}' {proportions[phase]:.2g} of the privacy budget, too little for "
        "any amount of noise; raise its weight or lower the others"
    )


def _plan_hospitals(study: Study, choice: Choice, sharing: NoiseSharing) -> tuple[HospitalPlan, ...]:
    return tuple(_plan_hospital(study, hospital, choice, sharing) for hospital in study.hospitals)


def _plan_hospital(study: Study, hospital: HospitalFacts, choice: Choice, sharing: NoiseSharing) -> HospitalPlan:
    """Return what one hospital will release.

    Raises:
        Unaffordable: no amount of noise meets its epsilon.
    """
    training, vectors = choice.training, choice.vectors
    batch, rate = _sampling(study, hospital, is_synchronous=training.is_synchronous)
    noise = Noise((0.0,) * len(vectors), 0.0)
    if study.privacy.noise != "none":
        released = calibrate_noise(
            Target(study.epsilon_of(hospital), study.privacy.delta),
            _releases(study, choice),
            TrainingSteps(training.rounds * training.steps, rate, training.is_synchronous),
            sharing,
        )
        ends = np.cumsum([vector.rounds for vector in vectors])
        noise = Noise(tuple(released.sigmas[end - 1] for end in ends), released.multiplier)
    return HospitalPlan(
        hospital.name, noise.sigmas, noise.multiplier, study.privacy.clip, rate, batch, study.training.steps
    )


def _releases(study: Study, choice: Choice) -> CountedVectors:
    """Return every release of a vector; the rounds of one share its part of the budget equally."""
    parts, releases = study.table.parts, [vector for vector in choice.vectors for _ in vector.round_numbers()]
    return CountedVectors(
        tuple(vector.squared_sensitivity * parts**2 for vector in releases),
        tuple(vector.largest_weight * parts for vector in releases),
        tuple(choice.proportions[vector.name] / vector.rounds for vector in releases),
    )


def _sampling(study: Study, hospital: HospitalFacts, *, is_synchronous: bool) -> tuple[int, float]:
    """Return how many patients a step at this hospital expects, and each one's chance of being drawn.

    `[training] batch` is what each hospital draws by itself; in synchronous training, what all draw together, at one
    rate.
    """
    own_rows = study.training_rows(hospital)
    rows = study.pooled_rows if is_synchronous else own_rows
    batch = _batch(study, rows)
    rate = min(batch / rows, MAX_SAMPLE_RATE)
    return (math.ceil(rate * own_rows) if is_synchronous else batch), rate


def _batch(study: Study, rows: int) -> int:
    """Return the study's batch, or what the largest sample rate allows of this number of rows."""
    return max(1, min(study.training.batch, math.floor(rows * MAX_SAMPLE_RATE)))


def _quantization(study: Study, choice: Choice, hospitals: Sequence[HospitalPlan]) -> QuantizationGrid:
    """Return the grid that gradients are rounded to.

    Raises:
        StudyError: the discriminator is too large.
    """
    parameters = choice.training.parameters
    check_parameters(parameters)
    batch = _batch(study, study.pooled_rows)
    return choose_grid(parameters, [hospital.batch for hospital in hospitals], hospitals[0].noise_multiplier, batch)
