"""The verdict: what the numbers mean for a reader who wants to use the table, in plain words.

The thresholds are conventions, chosen so that a table passes only where a reader would not be misled. They judge
fidelity and utility; epsilon promises privacy and attacks test it, never these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from common.evaluation.utility.learners import LEARNERS
from common.evaluation.utility.train_on_synthetic import CHANCE, CORE_LEARNERS

Values = Mapping[str, float | None]
Grade = Literal["close", "care", "unfit"]

UNFIT_TVD2 = 0.30
"""Almost a third of the patients are in the wrong cell of an average two-way table: counts cannot be trusted."""

CLOSE_TVD2_EXCESS = 0.05
"""Two-way tables at most this much farther away than a resample of the real rows count as close."""

NEAR_CHANCE_AUROC = 0.60
"""AUROC below which a prediction learned from the table is of no use to a patient."""

PREDICTABLE_AUROC = 0.65
"""Real rows must reach this before a synthetic table is blamed for not predicting the target."""

KEPT_LIFT = 0.80
"""A table keeps the prediction if it retains this fraction of the real rows' AUROC above chance."""

HEADLINES: dict[Grade, str] = {
    "close": "Close to the real rows in pairs of columns and in predicting the target.",
    "care": "Usable with care: good for developing and rehearsing an analysis, not for reading off its results.",
    "unfit": "Not fit for use: conclusions drawn from this table would mislead.",
}


@dataclass(frozen=True, slots=True)
class Judgment:
    """The grade of one question and the sentence behind it."""

    grade: Grade
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade, the sentence that says it, and the findings behind it, worst first.

    `parts` are the same findings in a fixed order: closeness, then usefulness.
    """

    grade: Grade
    headline: str
    findings: tuple[str, ...]
    parts: tuple[Judgment, ...]


def judge(values: Values, references: Values) -> Verdict:
    """Grade a table by its worst finding.

    Args:
        values: measures of the synthetic table by key; None where not measured.
        references: values that real rows reach: resampled rows for distances, learners trained on real rows for
            predictions.
    """
    parts = (
        Judgment(*_judge_pairs(values["tvd2"], references["tvd2"])),
        Judgment(*_judge_prediction(values, references)),
    )
    order: tuple[Grade, ...] = ("unfit", "care", "close")
    judged = sorted(parts, key=lambda part: order.index(part.grade))
    grade = judged[0].grade
    return Verdict(grade, HEADLINES[grade], tuple(part.text for part in judged), parts)


def _judge_pairs(distance: float | None, floor: float | None) -> tuple[Grade, str]:
    if distance is None or floor is None:
        return "care", "Relations between columns could not be measured."
    measured = f"Two-way tables differ from the real ones by {distance:.0%} of the patients on average"
    measured += f" (a resample of the real rows: {floor:.0%})."
    if distance >= UNFIT_TVD2:
        return "unfit", f"{measured} That is too much for any count or cross-table."
    if distance - floor > CLOSE_TVD2_EXCESS:
        return "care", f"{measured} Check relations that matter to you against the pictures below."
    return "close", measured


def _judge_prediction(values: Values, references: Values) -> tuple[Grade, str]:
    """Judge by the learner that does worst: a shuffled table can suit one of them by accident."""
    measured = [
        (synthetic, real, name)
        for name in CORE_LEARNERS
        if (synthetic := values[name]) is not None and (real := references[name]) is not None
    ]
    if not measured:
        return "care", "Whether a prediction learned from this table holds for real patients could not be measured."
    synthetic, real, name = min(measured)
    learner = LEARNERS[CORE_LEARNERS[name]].title
    text = f"{learner} trained on this table reaches AUROC {synthetic:.2f} on real held-out patients, "
    text += f"trained on real rows {real:.2f}."
    if real < PREDICTABLE_AUROC:
        return "care", f"{text} Even real rows hardly predict the target, so this says little."
    if synthetic < NEAR_CHANCE_AUROC:
        return "unfit", f"{text} That is close to guessing ({CHANCE}): what predicts the target was lost."
    if synthetic - CHANCE < KEPT_LIFT * (real - CHANCE):
        return "care", f"{text} Part of what predicts the target was lost."
    return "close", text
