"""Prediction: how well learners that were trained on synthetic rows predict real patients, learner by learner.

Every learner predicts the target for the same held-out patients, so differences are paired: one resample of patients
gives both numbers. Learners are not trained again for a resample; intervals are about these patients, not about another
synthetic table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import LEVEL, Estimate, resampled, wilson
from common.evaluation.statistics.values import MISSING, Labels, labels
from common.evaluation.utility.augmentation import Augmentation, augment
from common.evaluation.utility.hospital_gains import HospitalGain, hospital_gains
from common.evaluation.utility.learners import LEARNERS, Prediction
from common.evaluation.utility.model_choice import ModelChoice, choose_model
from common.evaluation.utility.scoring import (
    Score,
    area,
    brier,
    calibration_error,
    calibration_noise,
    estimate,
    over_classes,
    patient_seed,
    probability_groups,
    resamples_of,
)
from common.evaluation.utility.train_on_synthetic import Predictions


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One group of patients of like predicted probability: the mean prediction, and the fraction with the outcome."""

    predicted: float
    observed: Estimate


@dataclass(frozen=True, slots=True)
class LearnerComparison:
    """One learner, trained on synthetic and on real rows. `gap` is synthetic minus real AUROC, paired."""

    name: str
    title: str
    auroc_synthetic: Estimate
    auroc_real: Estimate
    gap: Estimate
    brier_synthetic: Estimate
    brier_real: Estimate
    calibration_error_synthetic: Estimate
    calibration_error_real: Estimate
    calibration_synthetic: tuple[CalibrationBin, ...]
    calibration_real: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class HospitalPrediction:
    """Logistic regression tested on one hospital's held-out patients; None where they are all of one class.

    `gap`: trained on the synthetic table minus trained on all hospitals' real rows, paired.
    """

    name: str
    patients: int
    auroc_synthetic: Estimate | None
    auroc_real: Estimate | None
    gap: Estimate | None


@dataclass(frozen=True, slots=True)
class PredictionUtility:
    """How useful the synthetic table is for predicting the target.

    Attributes:
        classes: classes that learners are scored on, each against the rest; of two classes only one.
        minority_class: the rarest class of the training rows, and `minority_fraction` its fraction of them.
        added_rows: synthetic rows that augmentation added to the real ones.
        taking_part: what synthetic rows bring the classifier of each hospital; empty where hospitals are not known.
    """

    target: str
    patients: int
    classes: tuple[str, ...]
    learners: tuple[LearnerComparison, ...]
    model_choice: ModelChoice | None
    hospitals: tuple[HospitalPrediction, ...]
    minority_class: str
    minority_fraction: float
    added_rows: int
    augmentation: tuple[Augmentation, ...]
    taking_part: tuple[HospitalGain, ...]


def compare_predictions(data: EvaluationData, core: Predictions, predictions: Predictions) -> PredictionUtility | None:
    """Score all learners, and try two uses of the table: choosing among learners, and adding its rows to real ones.

    Args:
        data: the tables.
        core: predictions of the core measures' learners for all held-out patients, of which hospitals are compared.
        predictions: predictions of all learners of `LEARNERS`, for the patients on whom learners are compared.

    Returns:
        None where a table has a single class, so that nothing could be learned.
    """
    truth, real, synthetic = predictions.truth, predictions.real, predictions.synthetic
    classes = _shared_classes(truth, labels(data.train[data.target]))
    if not real or not synthetic or not classes:
        return None
    counts = _class_counts(data)
    present = sorted(label for label in counts if label in set(truth))
    minority = min(present or counts, key=counts.__getitem__)
    augmentation, added_rows = augment(data, minority, predictions, classes)
    return PredictionUtility(
        target=data.target,
        patients=len(truth),
        classes=tuple(classes),
        learners=tuple(_compare(name, truth, synthetic[name], real[name], classes) for name in LEARNERS),
        model_choice=choose_model(data, predictions, classes),
        hospitals=() if data.hospitals is None else _by_hospital(data.hospitals.holdout, core),
        minority_class=minority,
        minority_fraction=counts[minority] / len(data.train),
        added_rows=added_rows,
        augmentation=augmentation,
        taking_part=hospital_gains(data, core),
    )


def _shared_classes(truth: Labels, trained: Labels) -> list[str]:
    """Return the classes that held-out patients and training rows share, sorted; of two, one."""
    shared = sorted(set(truth) & set(trained))
    return shared[1:] if len(shared) == 2 and len(set(truth)) == 2 else shared


def _compare(
    name: str, truth: Labels, synthetic: Prediction, real: Prediction, classes: Sequence[str]
) -> LearnerComparison:
    patients, sides = len(truth), (synthetic, real)
    areas = [Score(area(truth, side, classes), patients) for side in sides]
    squares = [estimate(over_classes(brier, truth, side, classes), patients) for side in sides]
    errors = [_calibration_error(truth, side, classes) for side in sides]
    bins = [_calibration_bins(truth, side, classes) for side in sides]
    return LearnerComparison(
        name=name,
        title=LEARNERS[name].title,
        auroc_synthetic=areas[0].estimate(),
        auroc_real=areas[1].estimate(),
        gap=areas[0].minus(areas[1]),
        brier_synthetic=squares[0],
        brier_real=squares[1],
        calibration_error_synthetic=errors[0],
        calibration_error_real=errors[1],
        calibration_synthetic=bins[0],
        calibration_real=bins[1],
    )


def _calibration_error(truth: Labels, prediction: Prediction, classes: Sequence[str]) -> Estimate:
    """Return the calibration error; its interval begins at the error minus the 95th percentile of the chance error."""
    patients = len(truth)
    error = estimate(over_classes(calibration_error, truth, prediction, classes), patients)
    noise = over_classes(calibration_noise, truth, prediction, classes)
    drawn = resampled(noise, patients, seed=patient_seed(patients), resamples=resamples_of(patients))
    least = error.value - float(np.nanquantile(drawn, LEVEL))
    return Estimate(error.value, max(0.0, least), error.high, patients)


def _calibration_bins(truth: Labels, prediction: Prediction, classes: Sequence[str]) -> tuple[CalibrationBin, ...]:
    """Return the points of a calibration plot, for two classes only: more would need several plots."""
    if len(classes) != 1:
        return ()
    happened, predicted = truth == classes[0], prediction.of(classes[0])
    return tuple(
        CalibrationBin(float(predicted[rows].mean()), wilson(int(happened[rows].sum()), len(rows)))
        for rows in probability_groups(predicted)
    )


def _by_hospital(hospital_of: Labels, predictions: Predictions) -> tuple[HospitalPrediction, ...]:
    synthetic, real = predictions.synthetic["lr"], predictions.real["lr"]
    results = []
    for name in sorted(set(hospital_of)):
        rows = np.flatnonzero(hospital_of == name)
        own = predictions.truth[rows]
        classes = [label for label in sorted(set(own)) if label in real.classes]
        classes = classes[1:] if len(classes) == 2 and len(set(own)) == 2 else classes
        scores = None
        if len(set(own)) > 1 and classes:
            areas = [Score(area(own, side.at(rows), classes), len(rows)) for side in (synthetic, real)]
            scores = (areas[0].estimate(), areas[1].estimate(), areas[0].minus(areas[1]))
        results.append(HospitalPrediction(str(name), len(rows), *(scores or (None, None, None))))
    return tuple(results)


def _class_counts(data: EvaluationData) -> dict[str, int]:
    """Return training rows per class, without missing unless all are missing."""
    names, counts = np.unique(labels(data.train[data.target]).astype(str), return_counts=True)
    by_class = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    return {name: count for name, count in by_class.items() if name != MISSING} or by_class
