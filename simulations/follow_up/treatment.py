"""What the invented patients take, and when a clinic adds or stops a medication."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from simulations.follow_up.state import State


@dataclass(frozen=True, slots=True)
class Medication:
    """A medication and its effect at full adherence.

    Attributes:
        text: as it stands in the column `medications`.
        hba1c: lowering of HbA1c, in percentage points.
        systolic: lowering of the systolic blood pressure, in mmHg.
        ldl: factor on LDL cholesterol.
        weight_per_month: change of the weight, in kg per month.
    """

    text: str
    hba1c: float = 0.0
    systolic: float = 0.0
    ldl: float = 1.0
    weight_per_month: float = 0.0


METFORMIN = Medication("Metformin 1000 mg BID", hba1c=1.1)
RAMIPRIL = Medication("Ramipril 5 mg QD", systolic=9.0)
ATORVASTATIN = Medication("Atorvastatin 20 mg QHS", ldl=0.62)
DAPAGLIFLOZIN = Medication("Dapagliflozin 10 mg QD", hba1c=0.7, systolic=3.0, weight_per_month=-0.35)
SEMAGLUTIDE = Medication("Semaglutide 0.5 mg QW", hba1c=1.1, weight_per_month=-0.8)
INSULIN = Medication("Insulin glargine 10 U QHS", hba1c=1.6, weight_per_month=0.3)
AMLODIPINE = Medication("Amlodipine 5 mg QD", systolic=8.0)
VITAMIN_D = Medication("Vitamin D3 2000 IU QD")
ANTIBIOTIC = Medication("Short course: Amoxicillin-Clavulanate 625 mg TID x5d")

MEDICATIONS = (
    METFORMIN, RAMIPRIL, ATORVASTATIN, DAPAGLIFLOZIN, SEMAGLUTIDE, INSULIN, AMLODIPINE, VITAMIN_D, ANTIBIOTIC
)  # fmt: skip
"""All medications in the order in which a cell lists them."""

SEPARATOR = ", "
"""Between two medications in a cell."""

GLUCOSE_STEPS = (METFORMIN, DAPAGLIFLOZIN, SEMAGLUTIDE, INSULIN)
"""What is added, one at a time, while HbA1c stays above target."""

WINTER = (12, 1, 2)
"""Months in which a clinic may add vitamin D."""


def prescribe(state: State, day: date, *, is_first: bool) -> frozenset[str]:
    """Return the texts of what the patient takes after a visit: a function of the visit and of what was taken before.

    Args:
        state: the values of the visit, and the medications taken until then.
        day: date of the visit.
        is_first: whether it is the first visit, at which treatment begins.
    """
    taken = set(state.medications) - {ANTIBIOTIC.text}
    if is_first or (state.hba1c > 7.5 and state.hba1c_before > 7.5):
        untried = [step for step in GLUCOSE_STEPS if step.text not in taken and _is_allowed(step, state.egfr)]
        taken |= {step.text for step in untried[:1]}
    if state.systolic > 140:
        taken.add(AMLODIPINE.text if RAMIPRIL.text in taken else RAMIPRIL.text)
    if state.ldl > 100:
        taken.add(ATORVASTATIN.text)
    if state.egfr < 30:
        taken -= {METFORMIN.text, DAPAGLIFLOZIN.text}
    if day.month in WINTER and state.low_vitamin_d:
        taken.add(VITAMIN_D.text)
    elif day.month not in WINTER:
        taken.discard(VITAMIN_D.text)
    if state.uti:
        taken.add(ANTIBIOTIC.text)
    return frozenset(taken)


def _is_allowed(medication: Medication, egfr: float) -> bool:
    return egfr >= 30 or medication not in (METFORMIN, DAPAGLIFLOZIN)


def listed(taken: frozenset[str]) -> str:
    """Return the cell of `medications`."""
    return SEPARATOR.join(medication.text for medication in MEDICATIONS if medication.text in taken)


def effect_of(taken: frozenset[str]) -> Medication:
    """Return the sum of the effects of what is taken, as one medication."""
    active = [medication for medication in MEDICATIONS if medication.text in taken]
    ldl = 1.0
    for medication in active:
        ldl *= medication.ldl
    return Medication(
        listed(taken),
        hba1c=sum(medication.hba1c for medication in active),
        systolic=sum(medication.systolic for medication in active),
        ldl=ldl,
        weight_per_month=sum(medication.weight_per_month for medication in active),
    )
