"""Learners that are trained on a table, and what they predict for held-out real patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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

from common.arrays import Floats, Integers
from common.evaluation.statistics.codes import features, numeric_by_value
from common.evaluation.statistics.values import Labels, labels

EARLY_STOPPING_ROWS = 10_000
"""Above this many rows gradient boosting keeps some for early stopping, which needs two rows of every class."""


@dataclass(frozen=True, slots=True)
class Learner:
    """A way to learn a prediction. `make` returns an untrained scikit-learn classifier with its seed fixed."""

    name: str
    title: str
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
        Learner("nn", "25 nearest neighbors", lambda: Neighbors()),
    )
}


class Neighbors(KNeighborsClassifier):  # type: ignore[misc]
    """The 25 nearest neighbors, or all rows where there are fewer."""

    def __init__(self) -> None:
        super().__init__(n_neighbors=25)

    def fit(self, x: Floats, y: Any) -> Neighbors:
        self.n_neighbors = min(25, len(x))
        return super().fit(x, y)  # type: ignore[no-any-return]


class NaiveBayes(GaussianNB):  # type: ignore[misc]
    """Gaussian naive Bayes; predicts the class frequencies where no feature varies, instead of 0 / 0."""

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

    @classmethod
    def by(cls, model: Any, x_of_patients: Floats) -> Prediction:
        """Return what a trained classifier predicts for patients, from their prepared features."""
        return cls(tuple(str(label) for label in model.classes_), model.predict_proba(x_of_patients))

    def of(self, label: str) -> Floats:
        """Return the probability of one class; zero if the learner never saw it."""
        if label not in self.classes:
            return np.zeros(len(self.probabilities))
        return np.asarray(self.probabilities[:, self.classes.index(label)])

    def at(self, rows: Integers) -> Prediction:
        """Return the prediction for some of the patients."""
        return Prediction(self.classes, self.probabilities[rows])


def predict(
    table: pd.DataFrame,
    train: pd.DataFrame,
    patients: pd.DataFrame,
    target: str,
    learners: Sequence[str] = tuple(LEARNERS),
) -> dict[str, Prediction]:
    """Train learners on a table and return what they predict for patients, by the learner's name.

    Column types are those of the training rows' values: the core measures must equal a yardstick without a schema.

    Args:
        table: the rows to train on, synthetic or real.
        train: real training rows, which decide which columns are numeric.
        patients: the rows to predict `target` for; missing is a class of its own.
        target: the column to predict.
        learners: names in `LEARNERS`.

    Returns:
        Empty if `table` has fewer than two classes: there is nothing to learn.
    """
    classes = pd.Series(labels(table[target]))
    if len(classes) > EARLY_STOPPING_ROWS:
        classes = classes[classes.map(classes.value_counts()) > 1]
    if classes.nunique() < 2:
        return {}
    numeric, columns = numeric_by_value(train), list(train.columns)
    rows = features(table[columns], numeric, without=[target]).loc[classes.index]
    x, x_of_patients = prepared(rows, features(patients[columns], numeric, without=[target]), numeric)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lbfgs out of steps
        models = {name: LEARNERS[name].make().fit(x, classes) for name in learners}
        return {name: Prediction.by(model, x_of_patients) for name, model in models.items()}


def prepared(rows: pd.DataFrame, patients: pd.DataFrame, numeric: Collection[str]) -> tuple[Floats, Floats]:
    """Return the features of training rows and of patients as `preparation`, fitted to the rows, transforms them.

    Args:
        rows: features of the training rows.
        patients: features of the patients to predict for.
        numeric: names of the numeric features.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unseen categories, columns without a value
        prepare = preparation(rows, numeric).fit(rows)
        return prepare.transform(rows), prepare.transform(patients)


def preparation(x: pd.DataFrame, numeric: Collection[str]) -> Any:
    """Return a transformer: means for missing numbers, then unit variance; one indicator per category."""
    scaled = [name for name in x.columns if name in numeric]
    categorical = [name for name in x.columns if name not in numeric]
    scale = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    indicate = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((scale, scaled), (indicate, categorical))


def scored_classes(truth: Labels, classes: Sequence[str]) -> list[str]:
    """Return the classes that a learner is scored on, one against the rest: those on both sides, or one of two."""
    if len(classes) == 2 and set(classes) == set(truth):
        return list(classes[1:])  # the other class gives the same number
    return [label for label in classes if label in set(truth)]
