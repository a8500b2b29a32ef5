"""Relations between columns: correlation, correlation ratio, Cramer's V, and how alike two-way tables are.

All pairs are computed at once from products of whole matrices, so that a resample costs as little as the table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from common.arrays import Floats, Integers
from common.evaluation.fidelity.association import association_of, two_way
from common.evaluation.statistics.codes import CodedTables, encode
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import FEW_RESAMPLES, MOST_ROWS, measured, resamples, sampled
from common.evaluation.statistics.values import numbers

PairKind = Literal["numeric", "mixed", "categorical"]
PairMeasure = Literal["pearson", "correlation_ratio", "cramers_v"]

MEASURE_OF_PAIR: dict[PairKind, PairMeasure] = {
    "numeric": "pearson",
    "mixed": "correlation_ratio",
    "categorical": "cramers_v",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of columns.

    Attributes:
        measure: what `real` and `synthetic` hold: Pearson's r of two numbers, the correlation ratio of a number and a
            category, Cramer's V of two categories.
        change: synthetic minus real.
        similarity: one minus the total variation distance of the pair's two-way table, numbers in bins (SDMetrics'
            contingency similarity).
    """

    first: str
    second: str
    kind: PairKind
    measure: PairMeasure
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


class PairTable:
    """A table's columns as matrices: numbers and ranks with zero for missing, presence, and one-hot codes."""

    def __init__(self, table: pd.DataFrame, codes: Integers, sizes: tuple[int, ...], numeric: Collection[str]) -> None:
        self.rows, self.codes, self.sizes = len(table), codes, sizes
        self.is_number = np.array([name in numeric for name in table.columns])
        names = [name for name in table.columns if name in numeric]
        values = np.column_stack([numbers(table[name]) for name in names]) if names else np.zeros((len(table), 0))
        self.present = (~np.isnan(values)).astype(np.float64)
        self.numbers, self.ranks = _standard(values), _standard(_ranks(values))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        at = (np.arange(len(table)).repeat(codes.shape[1]), (codes + starts[:-1]).ravel())
        self.one_hot = sparse.csr_matrix((np.ones(codes.size), at), shape=(len(table), starts[-1]))
        self.column_of = np.arange(codes.shape[1]).repeat(sizes)

    def relations(self, weights: Floats) -> Relations:
        """Return every relation of the table whose row i counts `weights[i]` times."""
        counts = two_way(self.one_hot, weights)
        return Relations(
            self._widened(_correlation(self.numbers, self.present, weights)),
            self._widened(_correlation(self.ranks, self.present, weights)),
            self._correlation_ratio(weights),
            association_of(counts, self.sizes),
        )

    def _widened(self, values: Floats) -> Floats:
        widened = np.full((len(self.sizes), len(self.sizes)), np.nan)
        widened[np.ix_(self.is_number, self.is_number)] = values
        return widened

    def _correlation_ratio(self, weights: Floats) -> Floats:
        """Return sqrt(variance between categories / variance) of every number, for every column that is a category."""
        weighted = self.present * weights[:, None]
        n = self.one_hot.T @ weighted
        total = self.one_hot.T @ (self.numbers * weighted)
        means = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
        count = np.maximum(weighted.sum(axis=0), 1e-12)
        overall = (self.numbers * weighted).sum(axis=0) / count
        spread = (self.numbers**2 * weighted).sum(axis=0) / count - overall**2
        parts = n * (means - overall) ** 2
        between = np.zeros((len(self.sizes), parts.shape[1]))  # no columns if no number
        for index, part in enumerate(parts.T):
            between[:, index] = np.bincount(self.column_of, part, minlength=len(self.sizes))
        ratio = np.sqrt(
            np.clip(np.divide(between / count, spread, out=np.zeros_like(between), where=spread > 1e-12), 0, 1)
        )
        ratios = np.full((len(self.sizes), len(self.sizes)), np.nan)
        ratios[np.ix_(~self.is_number, self.is_number)] = ratio[~self.is_number]
        return np.where(np.isnan(ratios), ratios.T, ratios)


def _standard(values: Floats) -> Floats:
    """Return mean 0 and deviation 1 over what is present, 0.0 for missing: sums of products then lose no digits."""
    present = ~np.isnan(values)
    count = np.maximum(present.sum(axis=0), 1)
    centered = np.where(present, values - np.where(present, values, 0.0).sum(axis=0) / count, 0.0)
    spread = np.sqrt((centered**2).sum(axis=0) / count)
    return np.asarray(np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 0))


def _ranks(values: Floats) -> Floats:
    """Return average ranks among what is present in the column."""
    return np.asarray(rankdata(values, axis=0, nan_policy="omit")) if values.size else values


def _correlation(values: Floats, present: Floats, weights: Floats) -> Floats:
    """Return Pearson's r of every two columns over the rows where both are present."""
    weighted = present * weights[:, None]
    n = np.maximum(present.T @ weighted, 1e-12)
    mean = (values.T @ weighted) / n  # of the row's column where the column's column is present
    square = ((values**2).T @ weighted) / n - mean**2
    product = (values.T @ (values * weights[:, None])) / n - mean * mean.T
    scale = np.sqrt(np.clip(square * square.T, 0, None))
    return np.asarray(np.clip(np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-9), -1, 1))


def similarity(real: Floats, synthetic: Floats, sizes: tuple[int, ...]) -> Floats:
    """Return one minus the total variation distance of every two-way table.

    Args:
        real, synthetic: proportions of every two-way table, shape (codes, codes).
        sizes: number of codes of each column.

    Returns:
        One value per pair of columns, shape (columns, columns).
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    gaps = np.abs(real - synthetic)
    return np.asarray(1.0 - 0.5 * np.add.reduceat(np.add.reduceat(gaps, starts, axis=0), starts, axis=1))


@dataclass(frozen=True, slots=True)
class PairSummary:
    """Means over all pairs that a measure applies to; 1.0 is best for `similarity`, 0.0 for the mean changes.

    Other real rows reach neither: changes count without their sign, so chance adds up. Compare with the reference.
    """

    pearson: Estimate | None
    spearman: Estimate | None
    correlation_ratio: Estimate | None
    cramers_v: Estimate | None
    similarity: Estimate | None


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Every pair of columns, the means over pairs, and those means for a resample of the real rows."""

    pairs: tuple[Pair, ...]
    summary: PairSummary
    reference: PairSummary


@dataclass(frozen=True, slots=True, eq=False)
class _Repeated:
    """What a table gives as it is (first) and on resamples: relations, and fractions of rows in every two-way cell."""

    relations: list[Relations]
    fractions: list[Floats]


def compare_pairs(data: EvaluationData) -> PairComparison:
    """Compare the relation of every pair of columns, on at most `MOST_ROWS` rows of each table."""
    real, synthetic = (
        sampled(table, MOST_ROWS, "pairs", name)
        for table, name in ((data.train, "real"), (data.synthetic, "synthetic"))
    )
    codes = encode(real, synthetic, numeric=data.numeric)
    ours = PairTable(real, codes.real, codes.sizes, data.numeric)
    theirs = PairTable(synthetic, codes.synthetic, codes.sizes, data.numeric)
    first, second = _repeat(ours), _repeat(theirs)
    again = resamples(ours.rows, FEW_RESAMPLES, "pairs", "floor")
    drawn = np.random.default_rng(0).choice(ours.rows, theirs.rows)
    again[0] = np.bincount(drawn, minlength=ours.rows)  # as many as there are synthetic rows
    floor = _Repeated([ours.relations(again[0])], [_cell_fractions(ours, again[0])])
    size = min(ours.rows, theirs.rows)
    return PairComparison(
        _pairs(codes, ours.is_number, first, second),
        _summary(first, second, codes.sizes, size),
        _summary(_Repeated(first.relations[:1], first.fractions[:1]), floor, codes.sizes, size),
    )


def _repeat(table: PairTable) -> _Repeated:
    weights = np.vstack([np.ones(table.rows), resamples(table.rows, FEW_RESAMPLES, "pairs")])
    return _Repeated(
        [table.relations(row) for row in weights],
        [_cell_fractions(table, row) for row in weights[: 1 + FEW_RESAMPLES // 4]],
    )


def _cell_fractions(table: PairTable, weights: Floats) -> Floats:
    return np.asarray(two_way(table.one_hot, weights).toarray() / weights.sum())


def _summary(real: _Repeated, synthetic: _Repeated, sizes: tuple[int, ...], size: int) -> PairSummary:
    pairs = np.tril_indices(len(sizes), -1)
    means: dict[str, Estimate | None] = {}
    for field in fields(Relations):
        gaps = [
            np.abs(getattr(theirs, field.name) - getattr(ours, field.name))[pairs]
            for ours, theirs in zip(real.relations, synthetic.relations, strict=True)
        ]
        if field.name == "cramers_v":  # of two categories; numbers in bins are covered by the other measures
            whole = real.relations[0]
            applies = np.isnan(whole.pearson[pairs]) & np.isnan(whole.correlation_ratio[pairs])
        else:
            applies = ~np.isnan(gaps[0])
        values = [float(gap[applies].mean()) for gap in gaps] if applies.any() else []
        means[field.name] = measured(values[0], values[1:], size, least=0) if values else None
    alike = [similarity(*fractions, sizes) for fractions in zip(real.fractions, synthetic.fractions, strict=True)]
    similar = [float(matrix[pairs].mean()) for matrix in alike] if len(pairs[0]) else []
    return PairSummary(
        **means, similarity=measured(similar[0], similar[1:], size, least=0, most=1) if similar else None
    )


def _pairs(
    codes: CodedTables, is_number: npt.NDArray[np.bool_], real: _Repeated, synthetic: _Repeated
) -> tuple[Pair, ...]:
    alike = similarity(real.fractions[0], synthetic.fractions[0], codes.sizes)
    size = min(len(codes.real), len(codes.synthetic))
    pairs = []
    for second, first in zip(*np.tril_indices(len(codes.sizes), -1), strict=True):
        kind: PairKind = ("categorical", "mixed", "numeric")[int(is_number[first]) + int(is_number[second])]
        measure = MEASURE_OF_PAIR[kind]
        ours, theirs = (
            np.array([getattr(relations, measure)[second, first] for relations in side.relations])
            for side in (real, synthetic)
        )
        change = theirs - ours
        pairs.append(
            Pair(
                first=codes.names[first],
                second=codes.names[second],
                kind=kind,
                measure=measure,
                real=round(float(ours[0]), 4),
                synthetic=round(float(theirs[0]), 4),
                change=measured(float(change[0]), change[1:], size, least=-2, most=2),
                similarity=round(float(alike[second, first]), 4),
            )
        )
    return tuple(pairs)
