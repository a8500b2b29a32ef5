"""Persistence: how much of a column's value at a visit is left at the next one."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.visits.coding import CodedHistories
from common.evaluation.visits.tables import estimate_of


def persistence_of(side: CodedHistories, column: int) -> Floats:
    """Return the persistence of a visit column, shape (1 + resamples,); NaN where it is not defined.

    For numbers it is the correlation of the value at a visit with that at the next one (lag-1 autocorrelation over
    patients, both known), otherwise the fraction of transitions that keep the label. The n - 1 transitions of a patient
    have weight 1/(n - 1).
    """
    units = side.by_transition
    if column not in side.numbers:
        is_same = side.visit[units.rows, column] == side.visit[units.rows + 1, column]
        return _ratio(is_same.astype(np.float64) @ units.draws, units.draws.sum(axis=0))
    x, y = side.numbers[column][units.rows], side.numbers[column][units.rows + 1]
    is_known = ~np.isnan(x) & ~np.isnan(y)
    return correlation(x[is_known], y[is_known], units.draws[is_known])


def correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return the weighted Pearson correlation for every column of weights; NaN where x or y does not vary.

    Args:
        x, y: values, shape (units,).
        weights: shape (units, 1 + resamples).
    """
    if not len(x):
        return np.full(weights.shape[1], np.nan)
    x, y = ((values - values.mean()) / (values.std() or 1.0) for values in (x, y))  # no digits are lost below
    total = weights.sum(axis=0)
    mean_x, mean_y, xx, yy, xy = (_ratio(values @ weights, total) for values in (x, y, x * x, y * y, x * y))
    variance = (xx - mean_x**2) * (yy - mean_y**2)
    return _ratio(xy - mean_x * mean_y, np.sqrt(np.where(variance > 1e-18, variance, 0.0)))


def persistence_change(real: CodedHistories, synthetic: CodedHistories) -> Estimate | None:
    """Return the mean change of persistence over visit columns, without its sign.

    A column that does not vary among real patients is left out; one that varies among them, and not among synthetic
    ones, has no persistence there. None if no real column has a persistence.
    """
    changes = []
    for column in range(len(real.visit_sizes)):
        of_real, of_synthetic = persistence_of(real, column), persistence_of(synthetic, column)
        if not np.isnan(of_real[0]):
            changes.append(np.abs(of_real - np.nan_to_num(of_synthetic)))
    return estimate_of(changes, real, synthetic) if changes else None


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0))
