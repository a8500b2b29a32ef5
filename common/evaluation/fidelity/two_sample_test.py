"""Classifier two-sample test: can gradient boosting tell training rows from synthetic rows?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from common.arrays import Floats
from common.evaluation.statistics.codes import features, numeric_by_value
from common.evaluation.statistics.intervals import Estimate, from_resamples, resampled, weighted_auroc
from common.evaluation.statistics.resampling import MOST_FITTED, RESAMPLES
from common.seeds import seed_for

TRAINED_FRACTION = 0.7
"""Fraction of the rows that the classifier is trained on; it is tested on the others."""


@dataclass(frozen=True, slots=True, eq=False)
class TestedRows:
    """The rows that a classifier is tested on: which are synthetic, and its probability of that; shape (rows,)."""

    is_synthetic: npt.NDArray[np.bool_]
    probabilities: Floats

    def area(self) -> float:
        """Return the AUROC: 0.5 is best, 1.0 fully told apart."""
        return float(roc_auc_score(self.is_synthetic, self.probabilities))


def c2st(train: pd.DataFrame, synthetic: pd.DataFrame) -> Estimate | None:
    """Return the AUROC with its interval over resampled rows; None if there are too few rows to test on.

    Source: Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests", ICLR.
    """
    tested = tell_apart(train, synthetic)
    if tested is None:
        return None
    statistic = weighted_auroc(tested.is_synthetic, tested.probabilities)
    seed, rows = seed_for(0, "bootstrap", "c2st"), len(tested.probabilities)
    drawn = resampled(statistic, rows, seed=seed, resamples=RESAMPLES)
    return from_resamples(tested.area(), drawn, rows)


def tell_apart(train: pd.DataFrame, synthetic: pd.DataFrame) -> TestedRows | None:
    """Train on 70 % of equally many rows of both tables and predict the others, with fixed seeds.

    At most `MOST_FITTED` rows of either table are used. Column types are those of the training rows' values: below that
    limit the result must equal a yardstick that knows no schema.
    """
    rows, numeric = min(len(train), len(synthetic), MOST_FITTED), numeric_by_value(train)
    halves = [features(table.sample(rows, random_state=0), numeric) for table in (train, synthetic[train.columns])]
    x = pd.concat(halves, ignore_index=True)
    for name in x.columns:
        if x[name].dtype == object:
            x[name] = pd.factorize(x[name], sort=True)[0]
    is_synthetic = np.repeat([False, True], rows)
    is_trained = np.random.RandomState(0).rand(2 * rows) < TRAINED_FRACTION
    if min(len(np.unique(is_synthetic[is_trained])), len(np.unique(is_synthetic[~is_trained]))) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(
            x[is_trained], is_synthetic[is_trained]
        )
        return TestedRows(is_synthetic[~is_trained], model.predict_proba(x[~is_trained])[:, 1])
