"""The verdict on a table: what the numbers mean for a reader who wants to use it, in plain words.

It judges fidelity and utility; epsilon promises privacy and attacks test it, never these numbers.
"""

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
from common.evaluation.utility.learners import LEARNERS
from common.evaluation.utility.train_on_synthetic import CORE_LEARNERS

Values = Mapping[str, float | None]

HEADLINES: dict[Grade, str] = {
    "close": "Close to the real rows in pairs of columns and in predicting the target.",
    "care": "Usable with care: good for developing and rehearsing an analysis, not for reading off its results.",
    "unfit": "Not fit for use: conclusions drawn from this table would mislead.",
}


def judge(values: Values, references: Values) -> Verdict:
    """Grade a table by its worst finding.

    Args:
        values: measures of the synthetic table by key; None where not measured.
        references: values that real rows reach: resampled rows for distances, learners trained on real rows for
            predictions.
    """
    pairs = _judge_pairs(values["tvd2"], references["tvd2"])
    return verdict_of((pairs, _judge_learners(values, references)), HEADLINES)


def _judge_pairs(distance: float | None, floor: float | None) -> Judgment:
    if distance is None or floor is None:
        return Judgment("care", "Relations between columns could not be measured.")
    measured = f"Two-way tables differ from the real ones by {distance:.0%} of the patients on average"
    measured += f" (a resample of the real rows: {floor:.0%})."
    return judge_distance(
        measured,
        distance,
        floor,
        unfit="That is too much for any count or cross-table.",
        care="Check relations that matter to you against the pictures below.",
    )


def _judge_learners(values: Values, references: Values) -> Judgment:
    """Judge by the learner that does worst: a shuffled table can suit one of them by accident."""
    measured = [
        (synthetic, real, name)
        for name in CORE_LEARNERS
        if (synthetic := values[name]) is not None and (real := references[name]) is not None
    ]
    if not measured:
        unknown = "Whether a prediction learned from this table holds for real patients could not be measured."
        return Judgment("care", unknown)
    synthetic, real, name = min(measured)
    learner = LEARNERS[CORE_LEARNERS[name]].title
    text = f"{learner} trained on this table reaches AUROC {synthetic:.2f} on real held-out patients, "
    return judge_prediction(f"{text}trained on real rows {real:.2f}.", synthetic, real)
