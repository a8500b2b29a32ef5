"""Does taking part help a hospital? Its classifier from its own rows, from synthetic rows, and from both.

A few rows of its own drown among thousands of synthetic ones, so the synthetic rows get a weight. The hospital chooses
it from its own training rows alone, by cross-validation: no held-out patient has a say.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from common.arrays import Floats, Integers
from common.evaluation.statistics.values import Labels
from common.evaluation.utility.learners import LEARNERS, Prediction, prepared

FACTORS = (0.0, 1.0, 4.0, 16.0)
"""What all synthetic rows together may weigh, in multiples of the hospital's own rows; 0 does without them."""

USUAL = 4.0
"""The factor, unless a hospital's own rows speak clearly for another one: best on the whole for 20 to 100 rows."""

CLEARLY = 2.0
"""Standard errors by which another factor has to be better."""

FOLDS = 3
"""Most parts of the cross-validation; fewer where the rarest class has fewer rows."""

MOST_ADDED = 2000
"""Most synthetic rows that are added: a fixed random sample of more. Their weight does not depend on their number."""

LEARNER = "lr"
"""Name of the logistic regression in `LEARNERS`."""

LEAST_PROBABILITY = 1e-6
"""A class that a model holds for impossible counts as this probable."""

MOST_ASKED = 1000
"""Most own rows that choose the weight: the first ones of the hospital's."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows that a classifier is trained on.

    Attributes:
        features: one column a feature, as `common.evaluation.statistics.codes.features` returns them.
        classes: the class of every row.
    """

    features: pd.DataFrame
    classes: Labels

    def at(self, rows: Integers) -> Examples:
        """Return some of the rows."""
        return Examples(self.features.iloc[rows], self.classes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What two classifiers predict for patients, trained on a hospital's own rows and on these with synthetic ones.

    `factor` is the weight of the synthetic rows. A prediction is None where the rows have a single class.
    """

    factor: float
    own: Prediction | None
    both: Prediction | None


def train_both(own: Examples, synthetic: Examples, patients: pd.DataFrame, numeric: Collection[str]) -> Trained:
    """Train a logistic regression on a hospital's own rows, and on these with synthetic rows of the chosen weight.

    Args:
        own: the hospital's training rows.
        synthetic: the synthetic rows to add.
        patients: features of the patients to predict for.
        numeric: names of the numeric features.
    """
    alone = train(own, patients, numeric)
    pooled = joined(own, synthetic)
    x, x_of_patients = prepared(pooled.features, patients, numeric)
    factor = chosen_factor(x, pooled.classes, len(own.classes))
    if factor == 0:
        return Trained(factor, alone, alone)
    weights = row_weights(own.classes, synthetic.classes, factor)
    return Trained(factor, alone, _predicted(_fitted(x, pooled.classes, weights), x_of_patients))


def train(rows: Examples, patients: pd.DataFrame, numeric: Collection[str]) -> Prediction | None:
    """Return what a logistic regression that was trained on these rows predicts; None for a single class.

    Args:
        rows: the training rows.
        patients: features of the patients to predict for.
        numeric: names of the numeric features.
    """
    x, x_of_patients = prepared(rows.features, patients, numeric)
    return _predicted(_fitted(x, rows.classes, np.ones(len(rows.classes))), x_of_patients)


def row_weights(own: Labels, synthetic: Labels, factor: float) -> Floats:
    """Return the weight of every row: 1 for the hospital's own; all synthetic ones together weigh `factor` times these.

    Classes of the synthetic rows get the proportions that they have among the hospital's own rows, after one more row
    of each: outcomes are more frequent at one hospital than at another, and this says nothing about who has them.

    Args:
        own, synthetic: class of every row.
        factor: of `FACTORS`.

    Returns:
        Shape (own rows + synthetic rows,).
    """
    names, members = np.unique(synthetic, return_inverse=True)
    wanted = np.array([(own == name).sum() + 1 for name in names], dtype=np.float64)
    each = factor * len(own) * wanted / wanted.sum() / np.bincount(members)
    return np.concatenate([np.ones(len(own)), each[members]])


def chosen_factor(x: Floats, classes: Labels, own_rows: int) -> float:
    """Return the weight of the synthetic rows, chosen on the hospital's own training rows.

    The loss of a factor is the mean negative log probability of a row's class, in parts that were not trained on. The
    factor of least loss is taken if it is better than `USUAL` by `CLEARLY` standard errors, paired by row. Few rows
    tell factors apart badly: the least loss alone chose worse than `USUAL` for 20 rows.

    Args:
        x: features of the hospital's rows, then of the synthetic ones; (rows, features).
        classes: the class of every row.
        own_rows: how many are the hospital's.

    Returns:
        One of `FACTORS`; `USUAL` with fewer than two rows of a class.
    """
    asked = min(own_rows, MOST_ASKED)
    x, classes = np.concatenate([x[:asked], x[own_rows:]]), np.concatenate([classes[:asked], classes[own_rows:]])
    counts = np.unique(classes[:asked], return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        return USUAL
    losses = np.stack([_losses(x, classes, asked, factor) for factor in FACTORS])
    differences = losses - losses[FACTORS.index(USUAL)]
    errors = differences.std(axis=1, ddof=1) / np.sqrt(asked)
    is_clear = differences.mean(axis=1) < -CLEARLY * errors
    return FACTORS[int(np.where(is_clear, losses.mean(axis=1), np.inf).argmin())] if is_clear.any() else USUAL


def joined(own: Examples, synthetic: Examples) -> Examples:
    """Return the hospital's rows, then the synthetic ones."""
    features = pd.concat([own.features, synthetic.features], ignore_index=True)
    return Examples(features, np.concatenate([own.classes, synthetic.classes]))


def _losses(x: Floats, classes: Labels, own_rows: int, factor: float) -> Floats:
    """Return the negative log probability of every own row's class, from parts that it did not train.

    Args:
        x, classes: of the hospital's rows, then of the synthetic ones.
        own_rows: how many are the hospital's.
        factor: what the synthetic rows weigh.
    """
    own, synthetic, losses = classes[:own_rows], classes[own_rows:], np.empty(own_rows)
    folds = min(FOLDS, int(np.unique(own, return_counts=True)[1].min()))
    for trained, left_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(own, own):
        rows, weights = trained, np.ones(len(trained))
        if factor:
            rows = np.concatenate([trained, np.arange(own_rows, len(x))])
            weights = row_weights(own[trained], synthetic, factor)
        model = _fitted(x[rows], classes[rows], weights)
        known = [str(label) for label in model.classes_]
        probability = model.predict_proba(x[left_out])
        chosen = probability[np.arange(len(left_out)), [known.index(str(label)) for label in own[left_out]]]
        losses[left_out] = -np.log(np.maximum(chosen, LEAST_PROBABILITY))
    return losses


def _fitted(x: Floats, classes: Labels, weights: Floats) -> Any:
    """Return a logistic regression; None for a single class."""
    if len(set(classes)) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lbfgs out of steps
        return LEARNERS[LEARNER].make().fit(x, classes, sample_weight=weights)


def _predicted(model: Any, x: Floats) -> Prediction | None:
    return None if model is None else Prediction.by(model, x)
