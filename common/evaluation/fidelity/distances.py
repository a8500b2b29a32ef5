"""Distances of one column's two distributions: Kolmogorov-Smirnov, Wasserstein, total variation; all with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import AnyIntegers, Floats, Integers
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import (
    FEW_RESAMPLES,
    MOST_ROWS,
    certain,
    measured,
    narrowing,
    resamples,
    sampled_rows,
)


@dataclass(frozen=True, slots=True)
class Distances:
    """How far a column's synthetic values are from its real ones; 0.0 is identical, which other real rows are not.

    Attributes:
        ks: largest gap between the two distribution functions; None for categories, missing values left out.
        wasserstein: how far a value has to move on average, as a fraction of the declared range; None for categories,
            missing values left out.
        tvd: fraction of patients who would have to change bin or category, missing being one of them.
    """

    ks: Estimate | None
    wasserstein: Estimate | None
    tvd: Estimate


class Resampled:
    """Which rows of two tables are resampled, at most `MOST_ROWS` of either, and how often each resample drew them.

    Attributes:
        rows: indices of the real and of the synthetic rows.
        weights: of these rows, each of shape (resamples, rows).
        narrowed: factor from the spread on these rows to that on the whole tables.
    """

    def __init__(self, real: int, synthetic: int) -> None:
        self.rows = sampled_rows(real, MOST_ROWS, "real"), sampled_rows(synthetic, MOST_ROWS, "synthetic")
        kept = len(self.rows[0]), len(self.rows[1])
        self.weights = resamples(kept[0], FEW_RESAMPLES, "real"), resamples(kept[1], FEW_RESAMPLES, "synthetic")
        self.narrowed = narrowing((kept[0], real), (kept[1], synthetic))


def number_distances(real: Floats, synthetic: Floats, span: float, drawn: Resampled) -> tuple[Estimate, Estimate]:
    """Return the KS distance, and the Wasserstein-1 distance over `span`; both are 1 if a side has no value.

    Args:
        real, synthetic: values, shape (rows,); NaN is missing.
        span: length of the declared range, in the column's unit.
        drawn: resamples of both tables.
    """
    known_real, known_synthetic = (int(np.count_nonzero(~np.isnan(side))) for side in (real, synthetic))
    if not known_real or not known_synthetic:
        return certain(1.0, 0), certain(1.0, 0)
    ks, moved = _gaps(real, synthetic, (np.ones((1, len(real))), np.ones((1, len(synthetic)))))
    some_ks, some_moved = _gaps(real[drawn.rows[0]], synthetic[drawn.rows[1]], drawn.weights)
    size, narrowed = min(known_real, known_synthetic), drawn.narrowed
    return (
        measured(ks[0], some_ks, size, within=(0, 1), narrowed=narrowed),
        measured(moved[0] / span, some_moved / span, size, within=(0, np.inf), narrowed=narrowed),
    )


def _gaps(real: Floats, synthetic: Floats, weights: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return the largest gap of the distribution functions and the area between them, shape (resamples,).

    NaN where a side has no value.
    """
    is_known_real, is_known_synthetic = ~np.isnan(real), ~np.isnan(synthetic)
    if not is_known_real.any() or not is_known_synthetic.any():
        return np.full(len(weights[0]), np.nan), np.full(len(weights[0]), np.nan)
    values = np.concatenate([real[is_known_real], synthetic[is_known_synthetic]])
    order = np.argsort(values, kind="stable")
    places, first = np.unique(values[order], return_index=True)
    real_weights = weights[0][:, is_known_real], np.zeros((len(weights[0]), int(is_known_synthetic.sum())))
    synthetic_weights = np.zeros((len(weights[1]), int(is_known_real.sum()))), weights[1][:, is_known_synthetic]
    gaps = np.abs(_distribution(real_weights, order, first) - _distribution(synthetic_weights, order, first))
    return gaps.max(axis=1), (gaps[:, :-1] * np.diff(places)).sum(axis=1)


def _distribution(weights: tuple[Floats, Floats], order: Integers, first: Integers) -> Floats:
    """Return the weighted distribution function at every distinct value, shape (resamples, values)."""
    summed = np.add.reduceat(np.hstack(weights)[:, order], first, axis=1).cumsum(axis=1)
    total = summed[:, -1:]
    return np.asarray(np.divide(summed, total, out=np.zeros_like(summed), where=total > 0))


def code_distance(real: AnyIntegers, synthetic: AnyIntegers, size: int, drawn: Resampled) -> Estimate:
    """Return the total variation distance of two columns.

    Args:
        real, synthetic: codes of shape (rows,), all below `size`.
        drawn: resamples of both tables.
    """
    value = 0.5 * float(np.abs(_fractions(real, None, size) - _fractions(synthetic, None, size)).sum())
    sides = zip((real, synthetic), drawn.rows, drawn.weights, strict=True)
    of_real, of_synthetic = (
        np.stack([_fractions(codes[rows], row, size) for row in weights]) for codes, rows, weights in sides
    )
    distances = 0.5 * np.abs(of_real - of_synthetic).sum(axis=1)
    return measured(value, distances, min(len(real), len(synthetic)), within=(0, 1), narrowed=drawn.narrowed)


def _fractions(codes: AnyIntegers, weights: Floats | None, size: int) -> Floats:
    return np.asarray(np.bincount(codes, weights, minlength=size) / len(codes))
