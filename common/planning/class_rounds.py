"""How many rounds of latent classes a run has, and why: from public facts alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from common.planning.sizing import Outlook
from common.study.study import Study

CLASS_ROUNDS = 24
"""Rounds of latent classes where the study does not say how many. Fewer end before the classes have settled."""

CLASSES_FROM = 12_000.0
"""Signal-to-noise ratio from which rounds of latent classes find a dependence of four columns. See
docs/adversary.md."""


class ClassRoundsReason(StrEnum):
    """Why a run has the rounds of latent classes that it has."""

    NO_CLASSES = "no-classes"
    """The synthesizer has no latent classes."""
    STUDY = "study"
    """The study says how many rounds."""
    SIGNAL = "signal"
    """The signal-to-noise ratio reaches `CLASSES_FROM`."""
    NOISE = "noise"
    """It does not."""


@dataclass(frozen=True, slots=True)
class ClassRoundsChoice:
    """How often patients are put in latent classes and counted, and why."""

    rounds: int
    reason: ClassRoundsReason


def choose_class_rounds(study: Study, outlook: Outlook) -> ClassRoundsChoice:
    """Return the rounds of latent classes: as many as the study says, or where they find what no table shows."""
    if not study.synthesizer.latent_classes:
        return ClassRoundsChoice(0, ClassRoundsReason.NO_CLASSES)
    if study.training.rounds is not None:
        return ClassRoundsChoice(study.training.rounds, ClassRoundsReason.STUDY)
    if outlook.signal_to_noise >= CLASSES_FROM:
        return ClassRoundsChoice(CLASS_ROUNDS, ClassRoundsReason.SIGNAL)
    return ClassRoundsChoice(0, ClassRoundsReason.NOISE)
