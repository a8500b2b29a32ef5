"""Train on synthetic, test on real (TSTR): predictions for held-out patients, and their AUROC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from common.arrays import Floats, Integers
from common.evaluation.statistics.codes import MOST_CATEGORIES, is_numeric_by_value
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate, from_resamples, resampled
from common.evaluation.statistics.resampling import MOST_FITTED, certain, sampled, sampled_rows
from common.evaluation.statistics.values import Labels, labels
from common.evaluation.utility.learners import LEARNERS, Prediction, predict, scored_classes
from common.evaluation.utility.scoring import area, patient_seed, resamples_of

CORE_LEARNERS = {"auc_lr": "lr", "auc_gb": "gb"}
"""The two core measures of utility, and the learner behind each; trained on at most `MOST_FITTED` rows."""

MOST_TRAINED = 10_000
"""Most rows that other learners are trained on: a fixed random sample of a larger table."""

MOST_TESTED = 20_000
"""Most held-out patients on whom learners are compared: a fixed random sample of more.

The interval of an AUROC is then about 0.01 wide. Core measures, and comparisons of hospitals or groups, use all."""

CHANCE = 0.5
"""AUROC of guessing."""


def why_no_prediction(data: EvaluationData) -> str | None:
    """Return why prediction cannot be measured on these tables, as a sentence; None if it can."""
    target = data.target
    if is_numeric_by_value(data.train[target]):
        return f"The target '{target}' has more than {MOST_CATEGORIES} distinct numbers; only classes can be predicted."
    if data.holdout.empty:
        return "No rows were held out, so there is no patient to test a prediction on."
    if len(set(labels(data.holdout[target]))) < 2:
        return f"All held-out rows have the same '{target}', so there is nothing to tell apart."
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions for held-out patients by learner, trained on synthetic rows (TSTR) and on real ones (TRTR).

    Attributes:
        rows: indices of these patients among the held-out ones.
        truth: the patients' true class, shape (patients,).
        synthetic, real: predictions by learner; empty where the table has a single class, so that there was nothing to
            learn.
    """

    rows: Integers
    truth: Labels
    synthetic: Mapping[str, Prediction]
    real: Mapping[str, Prediction]

    def at(self, rows: Integers) -> Predictions:
        """Return the predictions for some of the patients."""
        synthetic, real = (
            {name: prediction.at(rows) for name, prediction in side.items()} for side in (self.synthetic, self.real)
        )
        return Predictions(self.rows[rows], self.truth[rows], synthetic=synthetic, real=real)


def tested_rows(data: EvaluationData) -> Integers:
    """Return the indices of the held-out patients on whom learners are compared, at most `MOST_TESTED`."""
    return sampled_rows(len(data.holdout), MOST_TESTED, "tested")


def train_core(data: EvaluationData, *, on_synthetic: bool) -> dict[str, Prediction]:
    """Train the core measures' learners on at most `MOST_FITTED` synthetic rows or real training rows."""
    table = sampled(data.synthetic if on_synthetic else data.train, MOST_FITTED, "core-learners")
    return predict(table, data.train, data.holdout, data.target, tuple(CORE_LEARNERS.values()))


def train_others(data: EvaluationData, rows: Integers, *, on_synthetic: bool) -> dict[str, Prediction]:
    """Train the learners of `LEARNERS` that no core measure rests on, on at most `MOST_TRAINED` rows.

    Args:
        data: the tables.
        rows: indices of the held-out patients to predict for.
        on_synthetic: train on synthetic rows; if not, on real ones.
    """
    others = tuple(name for name in LEARNERS if name not in CORE_LEARNERS.values())
    table = sampled(data.synthetic if on_synthetic else data.train, MOST_TRAINED, "learnt")
    return predict(table, data.train, data.holdout.iloc[rows], data.target, others)


def auroc_on_held_out(prediction: Prediction | None, truth: Labels) -> Estimate:
    """Return the AUROC of a prediction with its interval over resampled patients.

    Args:
        prediction: prediction for each patient; None where there was nothing to learn, which counts as guessing.
        truth: the patients' true class.

    Returns:
        The mean over the classes seen on both sides, one against the rest: 0.5 is chance, 1.0 best.
    """
    value = value_on_held_out(prediction, truth)
    classes = [] if prediction is None else scored_classes(truth, prediction.classes)
    if prediction is None or not classes:
        return certain(value, len(truth))
    statistic, patients = area(truth, prediction, classes), len(truth)
    drawn = resampled(statistic, patients, seed=patient_seed(patients), resamples=resamples_of(patients))
    return from_resamples(value, drawn, patients)


def value_on_held_out(prediction: Prediction | None, truth: Labels) -> float:
    """Return the value of `auroc_on_held_out` without an interval."""
    if prediction is None:
        return CHANCE
    return macro_auroc(truth, prediction.probabilities, list(prediction.classes))


def macro_auroc(truth: Labels, probabilities: Floats, classes: list[str]) -> float:
    """Return the mean one-against-the-rest AUROC over the classes that both sides have; 0.5 if they share none.

    Args:
        truth: labels of shape (patients,), at least two different ones.
        probabilities: predicted probability of each class, shape (patients, classes).
        classes: the learner's classes, in the order of the columns of `probabilities`.
    """
    shared = scored_classes(truth, classes)
    scores = [roc_auc_score(truth == label, probabilities[:, classes.index(label)]) for label in shared]
    return float(np.mean(scores)) if scores else CHANCE
