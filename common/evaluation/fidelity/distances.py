"""Distances of one column's two distributions: Kolmogorov-Smirnov, Wasserstein, total variation; all with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, Weights, certain, measured, resamples
from common.evaluation.statistics.values import Floats, Ints


@dataclass(frozen=True, slots=True)
class Distances:
    """How far a column's synthetic values lie from its real ones; 0.0 is identical, which other real rows are not.

    `ks`: the largest gap between the two distribution functions. `wasserstein`: how far a value has to move on
    average, as a share of the declared range. Both are None for categories and ignore missing values. `tvd`: the share
    of patients who would have to change bin or category, missing being one of them.
    """

    ks: Estimate | None
    wasserstein: Estimate | None
    tvd: Estimate


class Resampled:
    """Weights of the resamples of two tables: the first row is all ones, one pass gives value and replicates."""

    def __init__(self, real: int, synthetic: int) -> None:
        self.real = np.vstack([np.ones(real), resamples(real, FEW_RESAMPLES, "real")])
        self.synthetic = np.vstack([np.ones(synthetic), resamples(synthetic, FEW_RESAMPLES, "synthetic")])


def number_distances(real: Floats, synthetic: Floats, span: float, weights: Resampled) -> tuple[Estimate, Estimate]:
    """KS distance, and Wasserstein-1 distance over `span`; NaN is missing. Nothing present on a side: both are 1."""
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


def _distribution(weights: tuple[Weights, Weights], order: Ints, first: Ints) -> Floats:
    """The weighted distribution function at every distinct value, shape (resamples, values)."""
    summed = np.add.reduceat(np.hstack(weights)[:, order], first, axis=1).cumsum(axis=1)
    total = summed[:, -1:]
    return np.asarray(np.divide(summed, total, out=np.zeros_like(summed), where=total > 0))


def code_distance(real: Ints, synthetic: Ints, size: int, weights: Resampled) -> Estimate:
    """Total variation distance of two columns of codes below `size`."""
    shares = [
        np.stack([np.bincount(codes, row, minlength=size) / len(codes) for row in rows])
        for codes, rows in ((real, weights.real), (synthetic, weights.synthetic))
    ]
    found = 0.5 * np.abs(shares[0] - shares[1]).sum(axis=1)
    return measured(found[0], found[1:], min(len(real), len(synthetic)), least=0, most=1)
