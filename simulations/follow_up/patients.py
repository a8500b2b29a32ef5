"""Who the invented patients are: their clinic, and what stays the same or what they begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

FIRST_DAY = date(2023, 1, 9)
"""First day on which a patient can come; also the lower bound of `visit_date` in the study."""

ENROLLMENT_DAYS = 420
"""Days after `FIRST_DAY` within which every patient comes for the first time."""

MOST_VISITS = 18
"""Most visits of a patient, as in the example table whose columns the study has."""


@dataclass(frozen=True, slots=True)
class Clinic:
    """A clinic and how its patients differ.

    Attributes:
        name: slug, as in the study.
        patients: number of patients.
        interval_days: usual days between two visits.
        mean_visits: mean number of planned visits.
        age: mean age at the first visit, in years.
        severity: shift of HbA1c before treatment, in percentage points.
    """

    name: str
    patients: int
    interval_days: int
    mean_visits: float
    age: float
    severity: float


CLINICS = (
    Clinic("harbor", 130, interval_days=30, mean_visits=8.0, age=56.0, severity=0.0),
    Clinic("hillside", 110, interval_days=61, mean_visits=6.0, age=61.0, severity=-0.3),
    Clinic("lakeview", 90, interval_days=91, mean_visits=5.0, age=65.0, severity=0.3),
    Clinic("old-town", 70, interval_days=30, mean_visits=7.0, age=52.0, severity=0.8),
)
"""The four clinics, 400 patients in all."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What does not change between a patient's visits, and the values that the first visit starts from.

    Attributes:
        identifier: such as "P-2025-001".
        birth: date of birth; it is in no table.
        first_visit: date of the first visit.
        planned_visits: visits that the patient keeps unless care is broken off.
        interval_days: usual days between two visits.
        height_m: height in meters.
        weight_kg: weight at the first visit.
        untreated_hba1c: HbA1c without medication, in percent.
        untreated_sbp: systolic blood pressure without medication, in mmHg.
        untreated_ldl: LDL cholesterol without medication, in mg/dL.
        egfr: filtration rate at the first visit, in mL/min/1.73 m2.
        egfr_loss: loss of filtration rate per year.
        muscle: factor between filtration rate and creatinine.
        adherence: usual score of taking the medication, 0 to 100.
        activity: usual steps per day.
        cigarettes: usual cigarettes per day; 0 for most.
        alcohol: usual units of alcohol per week.
    """

    identifier: str
    birth: date
    first_visit: date
    planned_visits: int
    interval_days: int
    height_m: float
    weight_kg: float
    untreated_hba1c: float
    untreated_sbp: float
    untreated_ldl: float
    egfr: float
    egfr_loss: float
    muscle: float
    adherence: float
    activity: float
    cigarettes: int
    alcohol: float

    def age_on(self, day: date) -> int:
        """Return the age in whole years."""
        had_birthday = (day.month, day.day) >= (self.birth.month, self.birth.day)
        return day.year - self.birth.year - (not had_birthday)


def draw_patient(clinic: Clinic, number: int, rng: np.random.Generator) -> Patient:
    """Return an invented patient.

    Args:
        clinic: where the patient is treated.
        number: number of the patient among those of all clinics, from 1.
        rng: the patient's own random numbers.
    """
    first = FIRST_DAY + timedelta(days=int(rng.integers(ENROLLMENT_DAYS)))
    age = float(np.clip(rng.normal(clinic.age, 10), 25, 85))
    height = float(np.clip(rng.normal(1.69, 0.09), 1.45, 1.98))
    bmi = float(np.clip(rng.normal(30, 4.5), 20, 46))
    return Patient(
        identifier=f"P-2025-{number:03d}",
        birth=first - timedelta(days=int(age * 365.25)),
        first_visit=first,
        planned_visits=int(np.clip(1 + rng.poisson(clinic.mean_visits), 1, MOST_VISITS)),
        interval_days=clinic.interval_days,
        height_m=height,
        weight_kg=bmi * height**2,
        untreated_hba1c=float(np.clip(rng.normal(9.2 + clinic.severity, 1.0), 7.0, 13.0)),
        untreated_sbp=float(rng.normal(128 + 0.35 * (age - 50), 11)),
        untreated_ldl=float(np.clip(rng.normal(140, 28), 70, 230)),
        egfr=float(np.clip(rng.normal(118 - 0.62 * age, 13), 22, 120)),
        egfr_loss=float(rng.gamma(2.0, 1.2)),
        muscle=float(rng.normal(90, 8)),
        adherence=float(np.clip(100 * rng.beta(7, 1.8), 25, 99)),
        activity=float(np.clip(rng.lognormal(8.5, 0.4), 800, 16_000)),
        cigarettes=int(rng.integers(3, 26)) if rng.random() < 0.2 else 0,
        alcohol=float(rng.gamma(1.0, 2.5)),
    )
