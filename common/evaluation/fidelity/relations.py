"""Relations between columns: correlation, correlation ratio, Cramer's V, and how alike two-way tables are.

All pairs are computed at once from products of whole matrices, so that a resample costs as little as the table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from common.evaluation.fidelity.marginals import association_of, two_way
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, measured, resamples
from common.evaluation.statistics.values import Codes, Floats, Ints, is_numeric, numbers

PairKind = Literal["numeric", "mixed", "categorical"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of columns; `change` is synthetic minus real.

    `measure` is what `real` and `synthetic` hold: Pearson's r of two numbers, the correlation ratio of a number and a
    category, Cramer's V of two categories. `similarity` is one minus the total variation distance of the pair's two-way
    table (SDMetrics' contingency similarity; numbers in bins).
    """

    first: str
    second: str
    kind: PairKind
    measure: Literal["pearson", "correlation_ratio", "cramers_v"]
    real: float
    synthetic: float
    change: Estimate
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Relations:
    """Square matrices over all columns: NaN where a measure does not apply, 0.0 where a column is constant."""

    pearson: Floats
    spearman: Floats
    correlation_ratio: Floats
    cramers_v: Floats


class View:
    """A table's columns as matrices: numbers and ranks with zero for missing, presence, and one-hot codes."""

    def __init__(self, real: pd.DataFrame, table: pd.DataFrame, codes: Ints, sizes: tuple[int, ...]) -> None:
        self.rows, self.codes, self.sizes = len(table), codes, sizes
        self.is_number = np.array([is_numeric(real[name]) for name in real.columns])
        names = [name for name, is_number in zip(real.columns, self.is_number, strict=True) if is_number]
        values = np.column_stack([numbers(table[name]) for name in names]) if names else np.zeros((len(table), 0))
        self.present = (~np.isnan(values)).astype(np.float64)
        self.numbers, self.ranks = _standard(values), _standard(_ranks(values))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        at = (np.arange(len(table)).repeat(codes.shape[1]), (codes + starts[:-1]).ravel())
        self.one_hot = sparse.csr_matrix((np.ones(codes.size), at), shape=(len(table), starts[-1]))
        self.column_of = np.arange(codes.shape[1]).repeat(sizes)

    def relations(self, weights: Floats) -> Relations:
        """Every relation of the table whose row i counts `weights[i]` times."""
        counts = two_way(self.one_hot, weights)
        return Relations(
            self._widened(_correlation(self.numbers, self.present, weights)),
            self._widened(_correlation(self.ranks, self.present, weights)),
            self._correlation_ratio(weights),
            association_of(counts, self.sizes),
        )

    def _widened(self, values: Floats) -> Floats:
        whole = np.full((len(self.sizes), len(self.sizes)), np.nan)
        whole[np.ix_(self.is_number, self.is_number)] = values
        return whole

    def _correlation_ratio(self, weights: Floats) -> Floats:
        """sqrt(variance between categories / variance) of every number, for every column that is a category."""
        weighted = self.present * weights[:, None]
        n = self.one_hot.T @ weighted
        total = self.one_hot.T @ (self.numbers * weighted)
        means = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
        count = np.maximum(weighted.sum(axis=0), 1e-12)
        overall = (self.numbers * weighted).sum(axis=0) / count
        spread = (self.numbers**2 * weighted).sum(axis=0) / count - overall**2
        parts = n * (means - overall) ** 2
        between = np.zeros((len(self.sizes), parts.shape[1]))  # no columns if no number
        for place, part in enumerate(parts.T):
            between[:, place] = np.bincount(self.column_of, part, minlength=len(self.sizes))
        ratio = np.sqrt(
            np.clip(np.divide(between / count, spread, out=np.zeros_like(between), where=spread > 1e-12), 0, 1)
        )
        whole = np.full((len(self.sizes), len(self.sizes)), np.nan)
        whole[np.ix_(~self.is_number, self.is_number)] = ratio[~self.is_number]
        return np.where(np.isnan(whole), whole.T, whole)


def _standard(values: Floats) -> Floats:
    """Mean 0 and deviation 1 over what is present, 0.0 for missing: sums of products then lose no digits."""
    present = ~np.isnan(values)
    count = np.maximum(present.sum(axis=0), 1)
    centred = np.where(present, values - np.where(present, values, 0.0).sum(axis=0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0))


def _ranks(values: Floats) -> Floats:
    """Average ranks among what is present in the column."""
    return np.asarray(rankdata(values, axis=0, nan_policy="omit")) if values.size else values


def _correlation(values: Floats, present: Floats, weights: Floats) -> Floats:
    """Pearson's r of every two columns over the rows where both are present."""
    weighted = present * weights[:, None]
    n = np.maximum(present.T @ weighted, 1e-12)
    mean = (values.T @ weighted) / n  # of the row's column where the column's column is present
    square = ((values**2).T @ weighted) / n - mean**2
    product = (values.T @ (values * weights[:, None])) / n - mean * mean.T
    scale = np.sqrt(np.clip(square * square.T, 0, None))
    return np.asarray(np.clip(np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-9), -1, 1))


def similarity(real: Floats, synthetic: Floats, sizes: tuple[int, ...]) -> Floats:
    """One minus the total variation distance of every two-way table, from `two_way` over the number of rows."""
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    gaps = np.abs(real - synthetic)
    return np.asarray(1.0 - 0.5 * np.add.reduceat(np.add.reduceat(gaps, starts, axis=0), starts, axis=1))


@dataclass(frozen=True, slots=True)
class PairSummary:
    """Means over all pairs that a measure applies to. Of `similarity` 1.0 is best, of the mean changes 0.0.

    Other real rows reach neither: changes count without their sign, so chance adds up. Compare with the floor.
    """

    pearson: Estimate | None
    spearman: Estimate | None
    correlation_ratio: Estimate | None
    cramers_v: Estimate | None
    similarity: Estimate | None


def compare_pairs(
    real: pd.DataFrame, synthetic: pd.DataFrame, codes: Codes
) -> tuple[tuple[Pair, ...], PairSummary, PairSummary]:
    """Every pair of columns, the means over pairs, and those means for a resample of the real rows."""
    ours = View(real, real, codes.real, codes.sizes)
    theirs = View(real, synthetic, codes.synthetic, codes.sizes)
    weights = [np.vstack([np.ones(view.rows), resamples(view.rows, FEW_RESAMPLES, "pairs")]) for view in (ours, theirs)]
    again = resamples(ours.rows, FEW_RESAMPLES, "pairs", "floor")
    drawn = np.random.default_rng(0).choice(ours.rows, theirs.rows)
    again[0] = np.bincount(drawn, minlength=ours.rows)  # as many as there are synthetic rows
    found = [[view.relations(row) for row in rows] for view, rows in zip((ours, theirs), weights, strict=True)]
    shares = [
        [two_way(view.one_hot, row).toarray() / row.sum() for row in rows[: 1 + FEW_RESAMPLES // 4]]
        for view, rows in zip((ours, theirs), weights, strict=True)
    ]
    alike = [similarity(first, second, codes.sizes) for first, second in zip(*shares, strict=True)]
    floor = ours.relations(again[0])
    floor_alike = similarity(shares[0][0], two_way(ours.one_hot, again[0]).toarray() / again[0].sum(), codes.sizes)
    places = np.tril_indices(len(codes.sizes), -1)
    size = min(ours.rows, theirs.rows)
    summary = _summary(found[0], found[1], alike, places, size)
    reference = _summary(found[0][:1], [floor], [floor_alike], places, size)
    return _pairs(codes.names, ours.is_number, found, alike[0], places, size), summary, reference


def _summary(
    real: list[Relations], synthetic: list[Relations], alike: list[Floats], places: tuple[Ints, Ints], size: int
) -> PairSummary:
    means: dict[str, Estimate | None] = {}
    for field in fields(Relations):
        gaps = [
            np.abs(getattr(theirs, field.name) - getattr(ours, field.name))[places]
            for ours, theirs in zip(real, synthetic, strict=True)
        ]
        if field.name == "cramers_v":  # of two categories; numbers in bins are covered by the other measures
            applies = np.isnan(real[0].pearson[places]) & np.isnan(real[0].correlation_ratio[places])
        else:
            applies = ~np.isnan(gaps[0])
        values = [float(gap[applies].mean()) for gap in gaps] if applies.any() else []
        means[field.name] = measured(values[0], values[1:], size, least=0) if values else None
    similar = [float(matrix[places].mean()) for matrix in alike] if len(places[0]) else []
    return PairSummary(
        **means, similarity=measured(similar[0], similar[1:], size, least=0, most=1) if similar else None
    )


def _pairs(
    names: tuple[str, ...],
    is_number: npt.NDArray[np.bool_],
    found: list[list[Relations]],
    alike: Floats,
    places: tuple[Ints, Ints],
    size: int,
) -> tuple[Pair, ...]:
    pairs = []
    for second, first in zip(*places, strict=True):
        kind: PairKind = ("categorical", "mixed", "numeric")[int(is_number[first]) + int(is_number[second])]
        measure = {"numeric": "pearson", "mixed": "correlation_ratio", "categorical": "cramers_v"}[kind]
        real, synthetic = (np.array([getattr(one, measure)[second, first] for one in side]) for side in found)
        change = synthetic - real
        pairs.append(
            Pair(
                names[first],
                names[second],
                kind,
                measure,  # type: ignore[arg-type]
                round(float(real[0]), 4),
                round(float(synthetic[0]), 4),
                measured(float(change[0]), change[1:], size, least=-2, most=2),
                round(float(alike[second, first]), 4),
            )
        )
    return tuple(pairs)
