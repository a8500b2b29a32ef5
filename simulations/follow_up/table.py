"""The visits of the invented patients as tables, one per clinic, with the columns of a follow-up record."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from importlib import resources

import numpy as np
import pandas as pd

from common.seeds import seed_for
from common.study.study import Study, parse_study
from simulations.follow_up.course import first_state, next_state
from simulations.follow_up.notes import clinical_note
from simulations.follow_up.patients import CLINICS, Clinic, Patient, draw_patient
from simulations.follow_up.state import State
from simulations.follow_up.treatment import listed, prescribe

SEED = 20
"""Seed of the patients that the built-in study is run with."""

SKIPPED = {
    "postprandial_glucose_mg_dL": 0.10,
    "alt_u_L": 0.12,
    "ast_u_L": 0.12,
    "urine_albumin_creatinine_ratio_mg_g": 0.15,
}
"""Probability that a visit after the first lacks a value; ALT and AST are measured together."""

BREAK_OFF = 0.12
"""Probability at every visit that a patient with an adherence below 55 does not come back."""


def follow_up_study() -> Study:
    """Return the built-in study of invented diabetics in four clinics."""
    text = (resources.files("simulations") / "studies" / "follow-up.toml").read_text(encoding="utf-8")
    return parse_study(text, source="the built-in study 'follow-up'")


def follow_up_clinics(seed: int = SEED) -> dict[str, pd.DataFrame]:
    """Return the visits of 400 invented patients by clinic: text cells, rows by patient and then by date.

    The same seed gives the same tables. A patient's rows depend on the seed and on the patient's number alone.
    """
    tables, number = dict[str, pd.DataFrame](), 0
    for clinic in CLINICS:
        rows = list[dict[str, str]]()
        for _ in range(clinic.patients):
            number += 1
            rows += visits_of(clinic, number, seed)
        tables[clinic.name] = pd.DataFrame(rows)
    return tables


def visits_of(clinic: Clinic, number: int, seed: int) -> list[dict[str, str]]:
    """Return the rows of one invented patient, the first visit first.

    Args:
        clinic: where the patient is treated.
        number: number of the patient among those of all clinics, from 1.
        seed: seed of all patients.
    """
    rng = np.random.default_rng(seed_for(seed, "follow-up", number))
    patient = draw_patient(clinic, number, rng)
    day, before, state = patient.first_visit, None, first_state(patient, rng)
    rows = list[dict[str, str]]()
    while True:
        taken = prescribe(state, day, is_first=before is None)
        note = clinical_note(state, before, taken, day)
        state = replace(state, medications=taken)
        row = _row(patient, state, day, note, rng)
        rows.append(row if before is None else _skip(row, rng))
        if len(rows) == patient.planned_visits or (state.adherence < 55 and rng.random() < BREAK_OFF):
            return rows
        days = max(7, round(patient.interval_days * rng.lognormal(0, 0.18)))
        day, before, state = day + timedelta(days=days), state, next_state(patient, state, days, rng)


def _row(patient: Patient, state: State, day: date, note: str, rng: np.random.Generator) -> dict[str, str]:
    """Return a visit as the cells of a row, in the order of the table's columns."""
    fasting = max(60.0, 21.5 * state.hba1c - 40 + rng.normal(0, 10))
    meal = max(fasting + 10, fasting + rng.normal(42, 12))
    total = state.ldl + state.hdl + state.triglycerides / 5 + rng.normal(0, 5)
    creatinine = max(0.4, patient.muscle / state.egfr + rng.normal(0, 0.05))
    return {
        "patient_id": patient.identifier,
        "visit_date": day.isoformat(),
        "age_years": f"{patient.age_on(day)}",
        "weight_kg": f"{state.weight:.1f}",
        "bmi": f"{state.weight / patient.height_m**2:.1f}",
        "systolic_bp_mmHg": f"{state.systolic:.0f}",
        "diastolic_bp_mmHg": f"{state.diastolic:.0f}",
        "heart_rate_bpm": f"{state.heart_rate:.0f}",
        "body_temp_C": f"{36.8 + 0.4 * state.uti + rng.normal(0, 0.1):.1f}",
        "fasting_glucose_mg_dL": f"{fasting:.0f}",
        "postprandial_glucose_mg_dL": f"{meal:.0f}",
        "hba1c_percent": f"{state.hba1c:.2f}",
        "ldl_mg_dL": f"{state.ldl:.0f}",
        "hdl_mg_dL": f"{state.hdl:.0f}",
        "triglycerides_mg_dL": f"{state.triglycerides:.0f}",
        "total_cholesterol_mg_dL": f"{total:.0f}",
        "egfr_mL_min_1.73m2": f"{state.egfr:.0f}",
        "creatinine_mg_dL": f"{creatinine:.2f}",
        "alt_u_L": f"{state.alt:.0f}",
        "ast_u_L": f"{state.ast:.0f}",
        "urine_albumin_creatinine_ratio_mg_g": f"{state.albumin_ratio:.0f}",
        "medications": listed(state.medications),
        "adherence_score_0_100": f"{state.adherence:.0f}",
        "daily_steps": f"{state.steps:.0f}",
        "diet_quality_score_0_100": f"{state.diet:.0f}",
        "sleep_hours": f"{state.sleep:.1f}",
        "exercise_sessions_per_week": f"{state.exercise:.0f}",
        "alcohol_units_per_week": f"{min(40, rng.poisson(patient.alcohol))}",
        "smoking_cigs_per_day": f"{max(1, patient.cigarettes + int(rng.integers(-2, 3))) if patient.cigarettes else 0}",
        "clinical_notes": note,
        "neuropathy": f"{state.neuropathy:d}",
        "retinopathy": f"{state.retinopathy:d}",
        "hypoglycemia": f"{state.hypoglycemia:d}",
        "uti": f"{state.uti:d}",
    }


def _skip(row: dict[str, str], rng: np.random.Generator) -> dict[str, str]:
    """Return a row without the values that this visit does not measure."""
    glucose, liver, albumin = rng.random(3)
    draws = (glucose, liver, liver, albumin)
    skipped = {name for (name, rate), draw in zip(SKIPPED.items(), draws, strict=True) if draw < rate}
    return {name: "" if name in skipped else cell for name, cell in row.items()}
