"""What taking part brings each hospital: its classifier with and without the synthetic rows, on its own patients.

It looks at real rows without noise, so it is computed where these are: in a simulation, or at the hospital.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.evaluation.statistics.codes import features
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import sampled, sampled_rows
from common.evaluation.statistics.values import labels
from common.evaluation.utility.learners import Prediction, scored_classes
from common.evaluation.utility.scoring import Score, area
from common.evaluation.utility.taking_part import LEARNER, MOST_ADDED, Examples, train_both
from common.evaluation.utility.train_on_synthetic import MOST_TRAINED, Predictions

Answer = Literal["helps", "no difference shown", "harms", "cannot be tested"]

ANSWERS: dict[Answer, str] = {
    "helps": "It helps",
    "no difference shown": "No difference is shown",
    "harms": "It harms",
    "cannot be tested": "It cannot be tested, with held-out patients of one class",
}
"""The answers as sentences begin with them, in the order in which they are given."""

Way = Literal["own rows", "own and synthetic rows", "synthetic rows alone"]

WAYS: tuple[Way, ...] = ("own rows", "own and synthetic rows", "synthetic rows alone")
"""What a hospital can train on."""

MOST_HOSPITALS = 10
"""Most hospitals that are measured: those with the fewest rows, which have the most to gain."""

THIS = "this hospital"
"""Stands for the hospital where all real rows are those of one."""


@dataclass(frozen=True, slots=True)
class HospitalGain:
    """A logistic regression of one hospital, tested on its own held-out patients.

    Attributes:
        rows: its own training rows, and `patients` its held-out patients.
        factor: what all synthetic rows together weigh beside its own rows, in multiples of these; its own training
            rows decide.
        auroc_own, auroc_both, auroc_synthetic: trained on its own rows, on these and synthetic ones, on synthetic ones
            alone; None where its held-out patients have one class.
        gain: `auroc_both` minus `auroc_own`, paired by patient.
        answer: whether taking part helps, as far as the interval of the gain shows.
        best: the way of the largest AUROC; the first of `WAYS` among equal ones.
        lead: its AUROC minus that of the second best, paired by patient. The same patients choose the two, so the
            lead is larger than on other patients.
    """

    name: str
    rows: int
    patients: int
    factor: float | None
    auroc_own: Estimate | None
    auroc_both: Estimate | None
    auroc_synthetic: Estimate | None
    gain: Estimate | None
    answer: Answer
    best: Way | None
    lead: Estimate | None


@dataclass(frozen=True, slots=True, eq=False)
class _Hospital:
    """Name of a hospital, and the indices of its training rows and of its held-out patients."""

    name: str
    trained: Integers
    tested: Integers


def hospital_gains(data: EvaluationData, core: Predictions) -> tuple[HospitalGain, ...]:
    """Return what taking part brings each hospital; empty where the hospitals of the rows are not known.

    Args:
        data: the tables; at most `MOST_HOSPITALS` hospitals are measured.
        core: predictions of the core measures' learners for all held-out patients.
    """
    hospitals = [hospital for hospital in _smallest(data) if len(hospital.trained)]
    if not hospitals:
        return ()
    synthetic = _examples(data, sampled(data.synthetic, MOST_ADDED, "added"))
    known = sorted(set(labels(data.train[data.target])))
    return tuple(_gain(data, core, hospital, synthetic, known) for hospital in hospitals)


def _smallest(data: EvaluationData) -> list[_Hospital]:
    """Return the hospitals with the fewest training rows, by name."""
    if data.is_one_hospital:
        return [_Hospital(THIS, np.arange(len(data.train)), np.arange(len(data.holdout)))]
    if data.hospitals is None:
        return []
    trained, tested = data.hospitals.training, data.hospitals.holdout
    hospitals = [
        _Hospital(str(name), np.flatnonzero(trained == name), np.flatnonzero(tested == name))
        for name in sorted(set(trained))
    ]
    smallest = sorted(hospitals, key=lambda hospital: len(hospital.trained))[:MOST_HOSPITALS]
    return sorted(smallest, key=lambda hospital: hospital.name)


def _examples(data: EvaluationData, rows: pd.DataFrame) -> Examples:
    """Return rows of one of the tables as classifiers are trained on them."""
    return Examples(features(rows, data.numeric, without=[data.target]), labels(rows[data.target]))


def _gain(
    data: EvaluationData, core: Predictions, hospital: _Hospital, synthetic: Examples, known: Sequence[str]
) -> HospitalGain:
    """Measure one hospital.

    Args:
        data, core: as in `hospital_gains`.
        hospital: the hospital.
        synthetic: the synthetic rows to add.
        known: the classes of the training rows of all hospitals.
    """
    name, rows, patients = hospital.name, len(hospital.trained), len(hospital.tested)
    truth = core.truth[hospital.tested]
    classes = scored_classes(truth, known)
    if len(set(truth)) < 2 or not classes:
        return HospitalGain(name, rows, patients, None, None, None, None, None, "cannot be tested", None, None)
    own = data.train.iloc[hospital.trained[sampled_rows(rows, MOST_TRAINED, "own")]]
    held_out = features(data.holdout.iloc[hospital.tested], data.numeric, without=[data.target])
    trained = train_both(_examples(data, own), synthetic, held_out, data.numeric)
    on_synthetic = core.synthetic.get(LEARNER)
    predictions = trained.own, trained.both, None if on_synthetic is None else on_synthetic.at(hospital.tested)
    alone, both, without = (
        Score(area(truth, prediction or nothing_learned(patients), classes), patients) for prediction in predictions
    )
    gain = both.minus(alone)
    answer: Answer = "helps" if gain.low > 0 else "harms" if gain.high < 0 else "no difference shown"
    best, second = sorted(zip(WAYS, (alone, both, without), strict=True), key=lambda way: -way[1].value)[:2]
    scores = (alone.estimate(), both.estimate(), without.estimate(), gain)
    lead = best[1].minus(second[1])
    return HospitalGain(name, rows, patients, trained.factor, *scores, answer, best[0], lead)


def nothing_learned(patients: int) -> Prediction:
    """Return the prediction of rows of a single class: every patient has the same risk."""
    return Prediction((), np.empty((patients, 0)))


def gains_by_answer(gains: Sequence[HospitalGain]) -> list[tuple[str, list[str]]]:
    """Return the hospitals of every answer that was given, with the words of `ANSWERS`."""
    named = {answer: [gain.name for gain in gains if gain.answer == answer] for answer in ANSWERS}
    return [(ANSWERS[answer], names) for answer, names in named.items() if names]
