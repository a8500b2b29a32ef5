"""Fidelity: how close the synthetic table is to the real training rows, from single columns to whole rows."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, measured, resamples
from common.evaluation.statistics.values import (
    Codes,
    Floats,
    Ints,
    check_comparable,
    encode,
    features,
    is_numeric,
    numbers,
)

MOST_COLUMN_SETS = 60
COLUMN_SETS_SEED = 1
OTHER_GRIDS = (10, 13, 20, 27)
"""Numbers of quantile bins: a synthesizer that cuts columns into as many bins as one grid gains nothing on the rest."""

DENSE_CELLS = 1 << 20
"""Marginals with more cells than this are counted by sorting instead of by indexing."""


def column_sets(columns: int, k: int) -> list[tuple[int, ...]]:
    """The sets of `k` columns that are compared: all of them, or `MOST_COLUMN_SETS` drawn with a fixed seed."""
    total = math.comb(columns, k)
    every = itertools.combinations(range(columns), k)
    if total <= MOST_COLUMN_SETS:
        return list(every)
    drawn = np.random.default_rng(COLUMN_SETS_SEED).choice(total, MOST_COLUMN_SETS, replace=False)
    chosen = set(drawn.tolist())
    return [columns_of_set for place, columns_of_set in enumerate(every) if place in chosen]


def tvd(codes: Codes, columns: tuple[int, ...]) -> float:
    """Total variation distance of the joint distribution of `columns`: 0.0 is identical, 1.0 disjoint.

    Half the sum over all cells of |share of real rows - share of synthetic rows|.
    """
    cells = math.prod(codes.sizes[column] for column in columns)
    real, synthetic = (_cell_numbers(table, codes.sizes, columns) for table in (codes.real, codes.synthetic))
    if cells > DENSE_CELLS:
        seen, dense = np.unique(np.concatenate([real, synthetic]), return_inverse=True)
        cells, real, synthetic = len(seen), dense[: len(real)], dense[len(real) :]
    difference = np.bincount(real, minlength=cells) / len(real) - np.bincount(synthetic, minlength=cells) / len(
        synthetic
    )
    return 0.5 * float(np.abs(difference).sum())


def _cell_numbers(table: Ints, sizes: tuple[int, ...], columns: tuple[int, ...]) -> Ints:
    """One integer per row: its codes in `columns`, read as the digits of a mixed-radix number."""
    cell = np.zeros(len(table), dtype=np.int64)
    for column in columns:
        cell = cell * sizes[column] + table[:, column]
    return cell


def mean_tvd(codes: Codes, k: int) -> float | None:
    """Mean `tvd` over the sets of `k` columns; None if the table has fewer columns. Lower is better."""
    sets = column_sets(len(codes.names), k)
    return float(np.mean([tvd(codes, columns) for columns in sets])) if sets else None


def mean_tvd_over(grids: Sequence[Codes], k: int) -> float | None:
    """Mean `mean_tvd` over several codings of the same two tables; None if they have fewer than `k` columns."""
    distances = [distance for codes in grids if (distance := mean_tvd(codes, k)) is not None]
    return float(np.mean(distances)) if distances else None


def tvd_estimate(grids: Sequence[Codes], k: int, *, fixed_synthetic: bool = False) -> Estimate | None:
    """Return `mean_tvd_over` with its interval over resampled patients; None if there are fewer than `k` columns.

    Chance adds to a distance, to that of three columns more than to that of one: read it beside `resampled_rows`,
    not beside 0.

    Args:
        grids: codings of the same two tables, on one or several grids.
        k: columns at once.
        fixed_synthetic: resample the patients of the real table only.
    """
    rows = len(grids[0].real), len(grids[0].synthetic)
    sets = column_sets(len(grids[0].names), k)
    if not sets:
        return None
    real, synthetic = (
        np.column_stack([np.ones(count), resamples(count, FEW_RESAMPLES, "tvd", str(count)).T]) for count in rows
    )
    if fixed_synthetic:
        synthetic = np.repeat(synthetic[:, :1], 1 + FEW_RESAMPLES, axis=1)
    weights = np.vstack([rows[1] * real, -rows[0] * synthetic])  # whole numbers, whose sums are exact
    distances = [_weighted_distance(codes, columns, weights) for codes in grids for columns in sets]
    values = np.mean(distances, axis=0) / (2 * rows[0] * rows[1])
    return measured(float(values[0]), values[1:], min(rows), least=0, most=1)


def _weighted_distance(codes: Codes, columns: tuple[int, ...], weights: Floats) -> Floats:
    """Sum over the cells of |weight of the rows in it|, shape (resamples,).

    Args:
        weights: shape (real and then synthetic rows, resamples); those of synthetic rows are negative.
    """
    cells = np.concatenate([_cell_numbers(table, codes.sizes, columns) for table in (codes.real, codes.synthetic)])
    order = np.argsort(cells)
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    return np.asarray(np.abs(np.add.reduceat(weights[order], starts, axis=0)).sum(axis=0))


def resampled_rows(codes: Codes) -> Codes:
    """The real rows beside as many of them, drawn with replacement, as there are synthetic rows.

    Their distance is what sampling error alone costs: a synthetic table cannot be expected to come much closer.
    """
    drawn = np.random.default_rng(0).integers(len(codes.real), size=len(codes.synthetic))
    return Codes(codes.names, codes.real, codes.real[drawn], codes.sizes)


def c2st(train: pd.DataFrame, synthetic: pd.DataFrame) -> float | None:
    """AUROC of gradient boosting that tells training rows from synthetic rows; 0.5 is best, 1.0 fully told apart.

    Equally many rows of both, 70 % of them to learn from and 30 % to be judged on, fixed seeds. A
    classifier two-sample test (Lopez-Paz and Oquab 2017). None if there are too few rows to judge.
    """
    judged = tell_apart(train, synthetic)
    return None if judged is None else float(roc_auc_score(*judged))


def tell_apart(train: pd.DataFrame, synthetic: pd.DataFrame) -> tuple[Ints, Floats] | None:
    """The rows that `c2st` is judged on: 1 if synthetic, and the classifier's probability that they are."""
    rows = min(len(train), len(synthetic))
    halves = [features(train, table.sample(rows, random_state=0)) for table in (train, synthetic)]
    x = pd.concat(halves, ignore_index=True)
    for name in x.columns:
        if x[name].dtype == object:
            x[name] = pd.factorize(x[name], sort=True)[0]
    y = np.repeat([0, 1], rows)
    learn = np.random.RandomState(0).rand(2 * rows) < 0.7
    if min(len(np.unique(y[learn])), len(np.unique(y[~learn]))) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(x[learn], y[learn])
        return y[~learn], model.predict_proba(x[~learn])[:, 1]


def column_scores(train: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float | None]:
    """Per column, how alike its distributions are: 1.0 is identical, 0.0 disjoint.

    Numeric columns: `ks_complement`. Other columns: one minus the total variation distance of the labels.
    """
    check_comparable(train, synthetic, "synthetic")
    codes = encode(train, synthetic)
    return {
        name: ks_complement(numbers(train[name]), numbers(synthetic[name]))
        if is_numeric(train[name])
        else 1.0 - tvd(codes, (place,))
        for place, name in enumerate(codes.names)
    }


def ks_complement(real: Floats, synthetic: Floats) -> float | None:
    """One minus the two-sample Kolmogorov-Smirnov distance; 1.0 is identical. Missing values are dropped.

    None if one side has nothing but missing values.
    """
    real, synthetic = real[~np.isnan(real)], synthetic[~np.isnan(synthetic)]
    if not len(real) or not len(synthetic):
        return None
    return 1.0 - float(ks_2samp(real, synthetic, method="asymp").statistic)


def association(table: Ints, sizes: tuple[int, ...]) -> Floats:
    """Cramer's V of every pair of columns, not corrected for bias: 0.0 unrelated, 1.0 one tells the other.

    Args:
        table: codes of shape (rows, columns), `Codes.real` or `Codes.synthetic`.
        sizes: `Codes.sizes`.

    Returns:
        A symmetric matrix of shape (columns, columns). A column with one value is related to nothing: 0.0.

    With X the one-hot table, n = X^T X holds every two-way table at once, and
    V^2 = (sum n_ij^2 / (n_i n_j) - 1) / (min(categories) - 1), from Cramer 1946, chapter 21.
    """
    rows, columns = table.shape
    starts = np.concatenate([[0], np.cumsum(sizes)])
    places = (np.arange(rows).repeat(columns), (table + starts[:-1]).ravel())
    one_hot = sparse.csr_matrix((np.ones(rows * columns), places), shape=(rows, starts[-1]))
    return association_of(two_way(one_hot, np.ones(rows)), sizes)


def two_way(one_hot: Any, weights: Floats) -> Any:
    """Every two-way table at once, X^T diag(weights) X, as a sparse matrix of shape (cells, cells)."""
    return one_hot.T @ one_hot.multiply(weights[:, None]).tocsr()


def association_of(counts: Any, sizes: tuple[int, ...]) -> Floats:
    """`association` of the table that `two_way` counted."""
    columns, pairs = len(sizes), counts.tocoo()
    totals = counts.diagonal()
    column_of = np.arange(columns).repeat(sizes)
    categories = np.bincount(column_of[totals > 0], minlength=columns)
    expected = totals[pairs.row] * totals[pairs.col]
    weights = np.divide(pairs.data**2, expected, out=np.zeros_like(expected), where=expected > 0)
    blocks = column_of[pairs.row] * columns + column_of[pairs.col]
    excess = np.bincount(blocks, weights, minlength=columns**2).reshape(columns, columns) - 1.0
    smaller = np.minimum.outer(categories, categories) - 1
    squared = np.divide(excess, smaller, out=np.zeros_like(excess), where=smaller > 0)
    return np.asarray(np.sqrt(np.clip(squared, 0.0, 1.0)), dtype=np.float64)
