"""How an invented patient changes from visit to visit.

Every value starts from that of the visit before and moves a part of the way to where the patient's traits and
medications pull it, plus noise:

    next = value + pull * (target - value) + noise

So values persist, treatment works with a delay, and what a visit finds depends on the whole history.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from simulations.follow_up.patients import Patient
from simulations.follow_up.state import State
from simulations.follow_up.treatment import DAPAGLIFLOZIN, INSULIN, effect_of

MONTH_DAYS = 30.4
"""Days of a month: changes per month are scaled by the days between two visits."""

LEAST_BMI = 18.5
"""Body mass index in kg/m2 below which no weight falls."""

LIMITS = {
    "weight": (40.0, 190.0), "systolic": (85.0, 215.0), "diastolic": (45.0, 125.0), "heart_rate": (45.0, 125.0),
    "hba1c": (4.8, 14.5), "ldl": (35.0, 260.0), "hdl": (22.0, 95.0), "triglycerides": (45.0, 600.0),
    "egfr": (12.0, 125.0), "alt": (8.0, 150.0), "ast": (8.0, 150.0), "albumin_ratio": (3.0, 1500.0),
    "adherence": (10.0, 100.0), "steps": (300.0, 20_000.0), "diet": (10.0, 100.0), "sleep": (3.5, 10.5),
    "exercise": (0.0, 10.0),
}  # fmt: skip
"""Bounds of every value; the bounds of the study are wider."""


def first_state(patient: Patient, rng: np.random.Generator) -> State:
    """Return what the first visit finds."""
    hba1c = patient.untreated_hba1c - 0.4 + rng.normal(0, 0.4)
    complication = 0.05 * math.exp(0.25 * (hba1c - 7))
    return _limited(
        State(
            weight=patient.weight_kg,
            systolic=patient.untreated_sbp + rng.normal(0, 6),
            diastolic=0.45 * patient.untreated_sbp + 23 + rng.normal(0, 4),
            heart_rate=rng.normal(76, 7),
            hba1c=hba1c,
            hba1c_before=hba1c,
            ldl=patient.untreated_ldl + rng.normal(0, 8),
            hdl=rng.normal(45, 8),
            triglycerides=110 * math.exp(rng.normal(0.35, 0.3)),
            egfr=patient.egfr,
            alt=28 * math.exp(rng.normal(0, 0.3)),
            ast=26 * math.exp(rng.normal(0, 0.25)),
            albumin_ratio=12 * math.exp(0.25 * (hba1c - 7) + 0.02 * (90 - patient.egfr) + rng.normal(0, 0.6)),
            adherence=patient.adherence + rng.normal(0, 5),
            steps=0.8 * patient.activity,
            diet=rng.normal(58, 10),
            sleep=rng.normal(6.9, 0.7),
            exercise=rng.normal(patient.activity / 2500, 0.8),
            low_vitamin_d=bool(rng.random() < 0.35),
            neuropathy=bool(rng.random() < complication),
            retinopathy=bool(rng.random() < complication),
            hypoglycemia=bool(rng.random() < 0.06),
            uti=bool(rng.random() < 0.05),
            medications=frozenset(),
        )
    )


def next_state(patient: Patient, state: State, days: int, rng: np.random.Generator) -> State:
    """Return what the next visit finds.

    Args:
        patient: who comes.
        state: what the visit before found, with the medications taken since.
        days: days since the visit before.
        rng: the patient's own random numbers.
    """
    months, taken = days / MONTH_DAYS, effect_of(state.medications)
    dose = state.adherence / 100
    moved = replace(state, hba1c_before=state.hba1c)
    moved = _habits(patient, moved, rng)
    pull = 1 - 0.65**months  # the part of the way to its target that a value goes
    hba1c = patient.untreated_hba1c - dose * taken.hba1c + 0.02 * (60 - moved.diet) - 0.1 * (moved.exercise - 2)
    gain = months * (dose * taken.weight_per_month - 0.08 * (moved.exercise - 2))
    moved = replace(
        moved,
        weight=max(LEAST_BMI * patient.height_m**2, state.weight + gain + rng.normal(0, 0.5)),
        hba1c=state.hba1c + pull * (hba1c - state.hba1c) + rng.normal(0, 0.15),
        systolic=_toward(state.systolic, patient.untreated_sbp - dose * taken.systolic, pull, rng.normal(0, 5)),
        diastolic=_toward(
            state.diastolic, 0.45 * (patient.untreated_sbp - dose * taken.systolic) + 23, pull, rng.normal(0, 3)
        ),
        heart_rate=_toward(state.heart_rate, 80 - moved.steps / 1500, 0.4, rng.normal(0, 2.5)),
        ldl=_toward(state.ldl, patient.untreated_ldl * (1 - dose * (1 - taken.ldl)), pull, rng.normal(0, 7)),
        hdl=_toward(state.hdl, 42 + moved.steps / 1500, 0.15, rng.normal(0, 1.5)),
        triglycerides=state.triglycerides * math.exp(0.06 * (state.hba1c - 7.5) * pull + rng.normal(-0.01, 0.1)),
        egfr=state.egfr - patient.egfr_loss * months / 12 + rng.normal(0, 1.2),
        alt=28 * (state.alt / 28) ** 0.7 * math.exp(rng.normal(0, 0.17)),
        ast=26 * (state.ast / 26) ** 0.7 * math.exp(rng.normal(0, 0.15)),
        albumin_ratio=state.albumin_ratio * math.exp(0.05 * (state.hba1c - 7.5) + rng.normal(-0.02, 0.2)),
    )
    return _limited(_events(moved, months, rng))


def _habits(patient: Patient, state: State, rng: np.random.Generator) -> State:
    """Return the state with adherence, diet, sleep and activity of the time since the visit before."""
    return replace(
        state,
        adherence=_toward(state.adherence, patient.adherence, 0.3, rng.normal(0, 5)),
        steps=_toward(state.steps, 1.15 * patient.activity, 0.2, rng.normal(0, 600)),
        diet=_toward(state.diet, 50 + 0.25 * state.adherence, 0.25, rng.normal(0, 5)),
        sleep=_toward(state.sleep, 7.0, 0.3, rng.normal(0, 0.4)),
        exercise=_toward(state.exercise, patient.activity / 2500, 0.3, rng.normal(0, 0.7)),
    )


def _events(state: State, months: float, rng: np.random.Generator) -> State:
    """Return the state with the complications and events since the visit before."""
    onset = 1 - (1 - 0.006 * math.exp(0.45 * (state.hba1c - 7))) ** months
    low_sugar = 0.015 + 0.12 * (INSULIN.text in state.medications) + 0.06 * (state.hba1c < 6.8)
    infection = 0.025 + 0.05 * (DAPAGLIFLOZIN.text in state.medications) + 0.08 * state.uti
    return replace(
        state,
        neuropathy=state.neuropathy or bool(rng.random() < onset),
        retinopathy=state.retinopathy or bool(rng.random() < 0.8 * onset),
        hypoglycemia=bool(rng.random() < low_sugar),
        uti=bool(rng.random() < infection),
    )


def _toward(value: float, target: float, pull: float, noise: float) -> float:
    """Return the value after a step of part `pull` toward the target, plus noise."""
    return value + pull * (target - value) + noise


def _limited(state: State) -> State:
    """Return the state with every value inside its bounds."""
    limited: dict[str, Any] = {name: float(np.clip(getattr(state, name), *limits)) for name, limits in LIMITS.items()}
    return replace(state, **limited)
