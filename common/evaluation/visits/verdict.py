"""The verdict on synthetic visits: what their measures mean for a reader who wants to use them, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from common.evaluation.utility.grades import (
    Grade,
    Judgment,
    Verdict,
    judge_distance,
    judge_prediction,
    verdict_of,
)

Values = Mapping[str, float | None]

HEADLINES: dict[Grade, str] = {
    "close": "Close to the real patients in their steps from visit to visit and in predicting the next visit.",
    "care": "Usable with care: good for developing and rehearsing an analysis, not for reading off its results.",
    "unfit": "Not fit for use: conclusions drawn from these visits would mislead.",
}

DISTANCES = {
    "transition_error": "Steps from visit to visit",
    "visits_per_patient": "Numbers of visits",
    "gaps": "Times between visits",
}
"""What each distance that counts is about, by its key."""


def judge_visits(values: Values, references: Values) -> Verdict:
    """Grade synthetic visits by the worst finding.

    Args:
        values: measures by the keys of `VISIT_MEASURES`; None where the tables do not define them.
        references: what real patients reach, by the same keys.
    """
    distances = [_judge_distance(about, values[key], references[key]) for key, about in DISTANCES.items()]
    prediction = _judge_next_visit(values["next_visit_auroc"], references["next_visit_auroc"])
    return verdict_of((*distances, prediction), HEADLINES)


def _judge_distance(about: str, distance: float | None, floor: float | None) -> Judgment:
    if distance is None or floor is None:
        return Judgment("care", f"{about} could not be compared: no patient returns.")
    measured = f"{about} differ from the real ones by {distance:.0%} (a resample of the real patients: {floor:.0%})."
    return judge_distance(
        measured,
        distance,
        floor,
        unfit="That is too much for any conclusion about courses.",
        care="Check courses that matter to you against the pictures below.",
    )


def _judge_next_visit(synthetic: float | None, real: float | None) -> Judgment:
    if synthetic is None or real is None:
        return Judgment("care", "Whether a prediction of the next visit holds for real patients could not be measured.")
    text = f"A prediction of the next visit that was learned from these patients reaches AUROC {synthetic:.2f} on real "
    return judge_prediction(f"{text}held-out patients, learned from real ones {real:.2f}.", synthetic, real)
