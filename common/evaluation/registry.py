"""The yardstick: eight numbers that every synthetic table is measured with, and how to read each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from common.evaluation.fidelity.marginals import OTHER_GRIDS, c2st, mean_tvd, mean_tvd_over
from common.evaluation.statistics.values import encode
from common.evaluation.utility.train_on_synthetic import predict_held_out

DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Metric:
    """How to read one number. `direction` says which way is better, seen from the worst useful value.

    `low` and `high` bound what it can be. A gauge runs from `worst`, where a table is of no use, to `best`.
    """

    name: str
    label: str
    best: float
    direction: Literal["lower", "higher"]
    low: float
    high: float
    meaning: str
    worst: float


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "tvd1",
            "Single columns",
            best=0.0,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="Share of patients who would have to change category for one column to match, on average.",
            worst=0.5,
        ),
        Metric(
            "tvd2",
            "Pairs of columns",
            best=0.0,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="The same for two columns at once: whether relations between columns are kept.",
            worst=0.5,
        ),
        Metric(
            "tvd3",
            "Triples of columns",
            best=0.0,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="The same for three columns at once; few rows alone make it large.",
            worst=0.75,
        ),
        Metric(
            "tvd2g",
            "Pairs on other grids",
            best=0.0,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="Pairs of columns with numbers cut into 10, 13, 20 and 27 bins instead of 16, mean of the four.",
            worst=0.5,
        ),
        Metric(
            "tvd3g",
            "Triples on other grids",
            best=0.0,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="Triples of columns on the same four grids, mean of the four.",
            worst=0.75,
        ),
        Metric(
            "auc_lr",
            "Logistic regression",
            best=1.0,
            direction="higher",
            low=0.0,
            high=1.0,
            meaning="AUROC on real held-out patients of a model trained on synthetic rows; 0.5 is chance.",
            worst=0.5,
        ),
        Metric(
            "auc_gb",
            "Gradient boosting",
            best=1.0,
            direction="higher",
            low=0.0,
            high=1.0,
            meaning="The same for a learner that also uses interactions; 0.5 is chance.",
            worst=0.5,
        ),
        Metric(
            "c2st",
            "Told apart",
            best=0.5,
            direction="lower",
            low=0.0,
            high=1.0,
            meaning="AUROC of a classifier that tells real from synthetic rows; far below 0.5 hints at copied rows.",
            worst=1.0,
        ),
    )
}


def _rising(name: str, label: str, meaning: str, *, worst: float, high: float = 1.0) -> Metric:
    return Metric(name, label, best=1.0, direction="higher", low=0.0, high=high, meaning=meaning, worst=worst)


def _falling(name: str, label: str, meaning: str, *, worst: float, high: float = 1.0) -> Metric:
    return Metric(name, label, best=0.0, direction="lower", low=0.0, high=high, meaning=meaning, worst=worst)


MEASURES: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _rising(
            "coverage",
            "Coverage",
            "Share of real patients who have a synthetic one among their nearest neighbours: is everybody represented?",
            worst=0.0,
        ),
        _rising(
            "density",
            "Density",
            "How crowded the real neighbourhoods are that synthetic rows fall into: are rows plausible? Above 1 they "
            "crowd in the middle.",
            worst=0.0,
            high=float("inf"),
        ),
        _rising(
            "similarity",
            "Cross-tables",
            "Agreement of the cross-table of two columns, mean over all pairs (contingency similarity).",
            worst=0.5,
        ),
        _falling(
            "pearson",
            "Correlation",
            "Change of Pearson's correlation of two numbers, mean over pairs, without its sign.",
            worst=0.5,
            high=2.0,
        ),
        _falling(
            "spearman", "Rank correlation", "The same for ranks, which outliers do not move.", worst=0.5, high=2.0
        ),
        _falling(
            "correlation_ratio",
            "Number by category",
            "Change of the correlation ratio: how much of a number's spread a category explains.",
            worst=0.5,
        ),
        _falling(
            "cramers_v",
            "Category by category",
            "Change of Cramér's V: how much one category tells about another.",
            worst=0.5,
        ),
        _falling(
            "missing_rate",
            "Missing values",
            "Change of the share of missing cells, mean over the columns that have any.",
            worst=0.25,
        ),
        _falling(
            "missing_pair",
            "Missing together",
            "The same for two columns that are missing in the same patient, mean over pairs.",
            worst=0.25,
        ),
        _rising(
            "quality",
            "SDMetrics quality",
            "The library's Quality Report: likeness of single columns and of pairs.",
            worst=0.5,
        ),
        _rising(
            "diagnostic",
            "SDMetrics diagnostic",
            "The library's Diagnostic Report: do values stay within those of real rows? Declared bounds allow more.",
            worst=0.5,
        ),
        _rising(
            "same_order",
            "Choice of learner",
            "Share of pairs of learners that synthetic and real rows put in the same order; 0.5 is chance.",
            worst=0.0,
        ),
        _falling("curve_distance", "Survival curves", "Mean gap of the two Kaplan-Meier curves.", worst=0.25),
        _rising(
            "concordance",
            "Concordance",
            "How often a hazard model taught with synthetic rows ranks two real patients rightly; 0.5 is chance.",
            worst=0.5,
        ),
    )
}
"""The measures that have no place in the yardstick, and how to read each of them in `Evidence.measures`."""


def evaluate(
    train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, target: str
) -> dict[str, float | None]:
    """Every metric of `METRICS`, rounded to four decimals.

    Args:
        train: the real rows that the synthesizer learnt from; they fix columns, bins and categories.
        holdout: real rows that it never saw; may be empty.
        synthetic: the table under test; its surplus columns are ignored.
        target: the column that the utility metrics predict.

    Returns:
        None for a metric that these tables cannot answer: no held-out rows, a continuous target, too few columns.

    Raises:
        DataError: a column is absent from a table, or a table has no rows.
    """
    codes = encode(train, synthetic)
    scores = {f"tvd{k}": mean_tvd(codes, k) for k in (1, 2, 3)}
    grids = [encode(train, synthetic, bins) for bins in OTHER_GRIDS]
    scores |= {f"tvd{k}g": mean_tvd_over(grids, k) for k in (2, 3)}
    scores |= predict_held_out(synthetic, train, holdout, target)
    scores |= {"c2st": c2st(train, synthetic)}
    return {name: rounded(scores[name]) for name in METRICS}


def rounded(score: float | None) -> float | None:
    """The score as it is printed and stored."""
    return None if score is None else round(score, DECIMALS)
