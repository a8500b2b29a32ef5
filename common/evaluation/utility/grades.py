"""Grades: what a measure means for a reader who wants to use a table, and the verdict that several lead to.

The thresholds are conventions, chosen so that a table passes only where a reader would not be misled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from common.evaluation.utility.train_on_synthetic import CHANCE

Grade = Literal["close", "care", "unfit"]

UNFIT_DISTANCE = 0.30
"""Almost a third of the patients, or of their steps, are in the wrong cell: counts cannot be trusted."""

CLOSE_EXCESS = 0.05
"""A table at most this much farther away than a resample of the real rows counts as close."""

NEAR_CHANCE_AUROC = 0.60
"""AUROC below which a model that was trained on the synthetic table is too close to guessing to be used."""

PREDICTABLE_AUROC = 0.65
"""Real rows must reach this before a synthetic table is blamed for not predicting the target."""

KEPT_LIFT = 0.80
"""A table keeps the prediction if it retains this fraction of the real rows' AUROC above chance."""


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


def verdict_of(parts: tuple[Judgment, ...], headlines: Mapping[Grade, str]) -> Verdict:
    """Return the verdict with the grade of the worst part."""
    order: tuple[Grade, ...] = ("unfit", "care", "close")
    judged = sorted(parts, key=lambda part: order.index(part.grade))
    grade = judged[0].grade
    return Verdict(grade, headlines[grade], tuple(part.text for part in judged), parts)


def judge_distance(measured: str, distance: float, floor: float, *, unfit: str, care: str) -> Judgment:
    """Judge a distance of synthetic rows to real ones.

    Args:
        measured: sentence with both numbers.
        distance: of the synthetic rows.
        floor: of a resample of the real rows.
        unfit: what such a distance means for a reader, as a sentence.
        care: what a reader should check if the table is not close.
    """
    if distance >= UNFIT_DISTANCE:
        return Judgment("unfit", f"{measured} {unfit}")
    if distance - floor > CLOSE_EXCESS:
        return Judgment("care", f"{measured} {care}")
    return Judgment("close", measured)


def judge_prediction(measured: str, synthetic: float, real: float) -> Judgment:
    """Judge a prediction that was learned from a table.

    Args:
        measured: sentence with both numbers.
        synthetic: AUROC on real held-out patients of a learner that was trained on the table.
        real: the same of one that was trained on real rows.
    """
    if real < PREDICTABLE_AUROC:
        return Judgment("care", f"{measured} Even real rows hardly predict the target, so this says little.")
    if synthetic < NEAR_CHANCE_AUROC:
        return Judgment("unfit", f"{measured} That is close to guessing ({CHANCE}): what predicts the target was lost.")
    if synthetic - CHANCE < KEPT_LIFT * (real - CHANCE):
        return Judgment("care", f"{measured} Part of what predicts the target was lost.")
    return Judgment("close", measured)
