"""Distances of one column's two distributions: Kolmogorov-Smirnov, Wasserstein, total variation; all with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Integers
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, certain, measured, resamples


@dataclass(frozen=True, slots=True)
class Distances:
    """How far a column's synthetic values are from its real ones; 0.0 is identical, which other real rows are not.

    Attributes:
        ks: largest gap between the two distribution functions; None for categories, missing values left out.
        wasserstein: how far a value has to move on average, as a share of the declared range; None for categories,
            missing values left out.
        tvd: share of patients who would have to change bin or category, missing being one of them.
    """

    ks: Estimate | None
    wasserstein: Estimate | None
    tvd: Estimate


class Resampled:
    """Floats of the resamples of two tables: the first row is all ones, one pass gives value and replicates."""

    def __init__(self, real: int, synthetic: int) -> None:
        self.real = np.vstack([np.ones(real), resamples(real, FEW_RESAMPLES, "real")])
        self.synthetic = np.vstack([np.ones(synthetic), resamples(synthetic, FEW_RESAMPLES, "synthetic")])


def number_distances(real: Floats, synthetic: Floats, span: float, weights: Resampled) -> tuple[Estimate, Estimate]:
    """Return the KS distance, and the Wasserstein-1 distance over `span`; both are 1 if a side has no value.

    Args:
        real, synthetic: values, shape (rows,); NaN is missing.
        span: length of the declared range, in the column's unit.
        weights: resamples of both tables.
    """
    here, there = ~np.isnan(real), ~np.isnan(synthetic)
    if not here.any() or not there.any():
        return certain(1.0, 0), certain(1.0, 0)
    values = np.concatenate([real[here], synthetic[there]])
    order = np.argsort(values, kind="stable")
    places, first = np.unique(values[order], return_index=True)
    ours = weights.real[:, here], np.zeros((len(weights.real), int(there.sum())))
    theirs = np.zeros((len(weights.real), int(here.sum()))), weights.synthetic[:, there]
    gaps = np.abs(_distribution(ours, order, first) - _distribution(theirs, order, first))
    ks = gaps.max(axis=1)
    moved = (gaps[:, :-1] * np.diff(places)).sum(axis=1) / span
    size = min(int(here.sum()), int(there.sum()))
    return measured(ks[0], ks[1:], size, least=0, most=1), measured(moved[0], moved[1:], size, least=0)


def _distribution(weights: tuple[Floats, Floats], order: Integers, first: Integers) -> Floats:
    """Return the weighted distribution function at every distinct value, shape (resamples, values)."""
    summed = np.add.reduceat(np.hstack(weights)[:, order], first, axis=1).cumsum(axis=1)
    total = summed[:, -1:]
    return np.asarray(np.divide(summed, total, out=np.zeros_like(summed), where=total > 0))


def code_distance(real: Integers, synthetic: Integers, size: int, weights: Resampled) -> Estimate:
    """Return the total variation distance of two columns.

    Args:
        real, synthetic: codes of shape (rows,), all below `size`.
        weights: resamples of both tables.
    """
    shares = [
        np.stack([np.bincount(codes, row, minlength=size) / len(codes) for row in rows])
        for codes, rows in ((real, weights.real), (synthetic, weights.synthetic))
    ]
    distances = 0.5 * np.abs(shares[0] - shares[1]).sum(axis=1)
    return measured(distances[0], distances[1:], min(len(real), len(synthetic)), least=0, most=1)
