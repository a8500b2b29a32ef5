"""Learners that a table is tried out with, and what they predict for real patients who were kept aside."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from common.evaluation.statistics.values import Floats, Labels, features, is_numeric, labels

EARLY_STOPPING_ROWS = 10_000
"""Above this many rows gradient boosting sets some aside, which needs two rows of every class."""


@dataclass(frozen=True, slots=True)
class Learner:
    """A way to learn a prediction. `make` gives it untrained, with its seed fixed."""

    name: str
    label: str
    make: Callable[[], Any]


LEARNERS: dict[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner("lr", "Logistic regression", lambda: LogisticRegression(max_iter=1000)),
        Learner("gb", "Gradient boosting", lambda: HistGradientBoostingClassifier(max_iter=100, random_state=0)),
        Learner(
            "rf",
            "Random forest",
            lambda: RandomForestClassifier(n_estimators=100, min_samples_leaf=3, random_state=0),
        ),
        Learner("nb", "Naive Bayes", lambda: NaiveBayes()),
        Learner(
            "dt",
            "Decision tree",
            lambda: DecisionTreeClassifier(max_depth=5, min_samples_leaf=10, random_state=0),
        ),
        Learner("nn", "25 nearest neighbours", lambda: Neighbours()),
    )
}


class Neighbours(KNeighborsClassifier):  # type: ignore[misc]
    """The 25 nearest neighbours, or as many as there are rows."""

    def __init__(self) -> None:
        super().__init__(n_neighbors=25)

    def fit(self, x: Floats, y: Any) -> Neighbours:
        self.n_neighbors = min(25, len(x))
        return super().fit(x, y)  # type: ignore[no-any-return]


class NaiveBayes(GaussianNB):  # type: ignore[misc]
    """Gaussian naive Bayes; where no feature varies, the shares of the classes instead of 0 / 0."""

    def __init__(self) -> None:
        super().__init__(var_smoothing=1e-2)

    def fit(self, x: Floats, y: Any) -> NaiveBayes:
        super().fit(x, y)
        if self.epsilon_ == 0:  # the variance added to every feature: 1 % of the largest
            self.var_ = np.ones((len(self.classes_), x.shape[1]))
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Probabilities for held-out patients: shape (patients, classes), columns in the order of `classes`."""

    classes: tuple[str, ...]
    probabilities: Floats

    def of(self, label: str) -> Floats:
        """The probability of one class; zero if the learner never saw it."""
        if label not in self.classes:
            return np.zeros(len(self.probabilities))
        return np.asarray(self.probabilities[:, self.classes.index(label)])

    def at(self, rows: npt.NDArray[np.int64]) -> Prediction:
        """The prediction for some of the patients."""
        return Prediction(self.classes, self.probabilities[rows])


def predict(
    learnt: pd.DataFrame,
    train: pd.DataFrame,
    patients: pd.DataFrame,
    target: str,
    learners: Sequence[str] = tuple(LEARNERS),
) -> dict[str, Prediction]:
    """What learners trained on `learnt` predict for `patients`, by the learner's name.

    Args:
        learnt: the rows to learn from, synthetic or real.
        train: real training rows; they decide which columns are numbers.
        patients: the rows to predict `target` for; missing is a class of its own.

    Returns:
        Empty if `learnt` has fewer than two classes: there is nothing to learn.
    """
    classes = pd.Series(labels(learnt[target]))
    if len(classes) > EARLY_STOPPING_ROWS:
        classes = classes[classes.map(classes.value_counts()) > 1]
    if classes.nunique() < 2:
        return {}
    x = features(train, learnt, without=[target]).loc[classes.index]
    x_of_patients = features(train, patients, without=[target])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unseen categories, columns without a value, lbfgs out of steps
        prepare = preparation(train, x).fit(x)
        x, x_of_patients = prepare.transform(x), prepare.transform(x_of_patients)
        models = {name: LEARNERS[name].make().fit(x, classes) for name in learners}
        return {
            name: Prediction(tuple(str(label) for label in model.classes_), model.predict_proba(x_of_patients))
            for name, model in models.items()
        }


def preparation(train: pd.DataFrame, x: pd.DataFrame) -> Any:
    """Means for missing numbers, then unit variance; one indicator per category."""
    numeric = [name for name in x.columns if is_numeric(train[name])]
    categorical = [name for name in x.columns if name not in numeric]
    scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    indicate = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((scale, numeric), (indicate, categorical))


def judged_classes(truth: Labels, classes: Sequence[str]) -> list[str]:
    """The classes that a learner is judged on, one against the rest: those on both sides, one of two."""
    judged = [label for label in classes if label in set(truth)]
    if len(classes) == 2 and set(classes) == set(truth):
        return list(classes[1:])  # the other class gives the same number
    return judged
