"""What a visit finds, from which the next visit starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """The values of one visit. Units are those of the columns of the table.

    Attributes:
        hba1c_before: HbA1c of the visit before, or of this one at the first visit.
        medications: what the patient takes.
        low_vitamin_d: whether the patient lacks vitamin D.
        neuropathy, retinopathy: complications, which stay once they are there.
        hypoglycemia, uti: events since the visit before.
    """

    weight: float
    systolic: float
    diastolic: float
    heart_rate: float
    hba1c: float
    hba1c_before: float
    ldl: float
    hdl: float
    triglycerides: float
    egfr: float
    alt: float
    ast: float
    albumin_ratio: float
    adherence: float
    steps: float
    diet: float
    sleep: float
    exercise: float
    low_vitamin_d: bool
    neuropathy: bool
    retinopathy: bool
    hypoglycemia: bool
    uti: bool
    medications: frozenset[str]
