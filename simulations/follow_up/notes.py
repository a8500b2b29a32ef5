"""The note of a visit: sentences that its row and the row before decide, and no others."""

from __future__ import annotations

from datetime import date

from simulations.follow_up.state import State
from simulations.follow_up.treatment import AMLODIPINE, ATORVASTATIN, DAPAGLIFLOZIN, INSULIN, RAMIPRIL, SEMAGLUTIDE

ADDED = {
    DAPAGLIFLOZIN.text: "SGLT2 inhibitor added due to persistent hyperglycemia.",
    SEMAGLUTIDE.text: "GLP-1 agonist added; slow dose increase explained.",
    INSULIN.text: "Basal insulin started; injection technique taught.",
    RAMIPRIL.text: "ACE inhibitor started for blood pressure.",
    AMLODIPINE.text: "Calcium channel blocker added for blood pressure.",
    ATORVASTATIN.text: "Statin started for LDL cholesterol.",
}
"""What the note says about a medication that was added."""

ROUTINE = "Routine follow-up."


def clinical_note(state: State, before: State | None, taken: frozenset[str], day: date) -> str:
    """Return the note of a visit.

    Args:
        state: what the visit finds.
        before: what the visit before found; None at the first visit.
        taken: what the patient takes after the visit.
        day: date of the visit.
    """
    sentences = []
    if before is None:
        control = "poor" if state.hba1c >= 8 else "moderate"
        sentences.append(f"Baseline visit: {control} glycemic control; lifestyle counselling initiated.")
    else:
        if state.neuropathy and not before.neuropathy:
            sentences.append("Reports tingling in feet at night; B12 checked; foot care advised.")
        if state.retinopathy and not before.retinopathy:
            sentences.append("Retinal changes on dilated exam; referred to ophthalmology.")
        sentences.extend(text for name, text in ADDED.items() if name in taken - before.medications)
    if state.uti:
        sentences.append("Urinary symptoms; UA sent; oral fluids advised.")
    if state.hypoglycemia:
        sentences.append("Mild symptomatic hypoglycemia post-exercise; snack guidance provided.")
    if not sentences and day.month in (5, 11) and not state.retinopathy:
        sentences.append("Annual dilated eye exam reminder.")
    return " ".join(sentences) or ROUTINE
