"""Utility: whether what is learnt from the synthetic table holds for real patients who were kept aside."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from common.evaluation.statistics.values import NUMERIC_ABOVE, Floats, Labels, check_comparable, is_numeric, labels
from common.evaluation.utility.learners import Prediction, judged_classes, predict

YARDSTICK = {"auc_lr": "lr", "auc_gb": "gb"}
"""The two utility metrics of the yardstick, and the learner behind each."""

CHANCE = 0.5


def why_no_utility(train: pd.DataFrame, holdout: pd.DataFrame, target: str) -> str | None:
    """Why prediction cannot be measured on these tables, in a sentence; None if it can."""
    if is_numeric(train[target]):
        return f"The target '{target}' has more than {NUMERIC_ABOVE} distinct numbers; only classes can be predicted."
    if holdout.empty:
        return "No rows were held out, so there is nobody to test a prediction on."
    if len(set(labels(holdout[target]))) < 2:
        return f"All held-out rows have the same '{target}', so there is nothing to tell apart."
    return None


def predict_held_out(
    learnt: pd.DataFrame, train: pd.DataFrame, holdout: pd.DataFrame, target: str
) -> dict[str, float | None]:
    """AUROC on held-out real rows of the yardstick's learners trained on `learnt`: 0.5 is chance, 1.0 best.

    Args:
        learnt: the rows to learn from. Synthetic rows give TSTR, the training rows themselves TRTR.
        train: real training rows; they decide which columns are numbers.
        holdout: real rows that nothing was trained on.
        target: the column to predict; missing is a class of its own.

    Returns:
        Per learner the mean AUROC, one class against the rest, over the classes seen on both sides. 0.5 if
        `learnt` has one class only; None where `why_no_utility` gives a reason.
    """
    check_comparable(train, learnt, "synthetic")
    if why_no_utility(train, holdout, target) is not None:
        return dict.fromkeys(YARDSTICK)
    check_comparable(train, holdout, "held-out")
    return yardstick_scores(predict(learnt, train, holdout, target, tuple(YARDSTICK.values())), labels(holdout[target]))


def yardstick_scores(predictions: dict[str, Prediction], truth: Labels) -> dict[str, float | None]:
    """The utility metrics of the yardstick, from predictions by learner; chance where nothing could be learnt."""
    return {
        name: macro_auroc(truth, predictions[learner].probabilities, list(predictions[learner].classes))
        if learner in predictions
        else CHANCE
        for name, learner in YARDSTICK.items()
    }


def macro_auroc(truth: Labels, probabilities: Floats, classes: list[str]) -> float:
    """Mean one-against-the-rest AUROC over the classes that `truth` and the learner share; 0.5 if there is none.

    Args:
        truth: labels of shape (rows,), at least two different ones.
        probabilities: shape (rows, classes), columns in the order of `classes`.
    """
    judged = judged_classes(truth, classes)
    scores = [roc_auc_score(truth == label, probabilities[:, classes.index(label)]) for label in judged]
    return float(np.mean(scores)) if scores else CHANCE
