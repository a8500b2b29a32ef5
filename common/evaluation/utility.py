"""Utility: whether what is learnt from the synthetic table holds for real patients who were kept aside."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common.evaluation.columns import NUMERIC_ABOVE, Floats, Labels, check_comparable, features, is_numeric, labels

LEARNERS: dict[str, Callable[[], Any]] = {
    "auc_lr": lambda: LogisticRegression(max_iter=1000),
    "auc_gb": lambda: HistGradientBoostingClassifier(max_iter=100, random_state=0),
}

CHANCE = 0.5
EARLY_STOPPING_ROWS = 10_000
"""Above this many rows gradient boosting sets some aside, which needs two rows of every class."""


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
    """AUROC on held-out real rows of every learner trained on `learnt`: 0.5 is chance, 1.0 best.

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
        return dict.fromkeys(LEARNERS)
    check_comparable(train, holdout, "held-out")
    classes = pd.Series(labels(learnt[target]))
    if len(classes) > EARLY_STOPPING_ROWS:
        classes = classes[classes.map(classes.value_counts()) > 1]
    if classes.nunique() < 2:
        return dict.fromkeys(LEARNERS, CHANCE)
    x = features(train, learnt, without=[target]).loc[classes.index]
    x_held_out = features(train, holdout, without=[target])
    truth = labels(holdout[target])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unseen categories, columns without a value, lbfgs out of steps
        prepare = _preparation(train, x).fit(x)
        x, x_held_out = prepare.transform(x), prepare.transform(x_held_out)
        models = {name: learner().fit(x, classes) for name, learner in LEARNERS.items()}
        return {
            name: macro_auroc(truth, model.predict_proba(x_held_out), [str(label) for label in model.classes_])
            for name, model in models.items()
        }


def _preparation(train: pd.DataFrame, x: pd.DataFrame) -> Any:
    """Means for missing numbers, then unit variance; one indicator per category."""
    numeric = [name for name in x.columns if is_numeric(train[name])]
    categorical = [name for name in x.columns if name not in numeric]
    scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    indicate = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((scale, numeric), (indicate, categorical))


def macro_auroc(truth: Labels, probabilities: Floats, classes: list[str]) -> float:
    """Mean one-against-the-rest AUROC over the classes that `truth` and the learner share; 0.5 if there is none.

    Args:
        truth: labels of shape (rows,), at least two different ones.
        probabilities: shape (rows, classes), columns in the order of `classes`.
    """
    judged = [label for label in classes if label in set(truth)]
    if len(classes) == 2 and set(classes) == set(truth):
        judged = classes[1:]  # the other class gives the same number
    scores = [roc_auc_score(truth == label, probabilities[:, classes.index(label)]) for label in judged]
    return float(np.mean(scores)) if scores else CHANCE
