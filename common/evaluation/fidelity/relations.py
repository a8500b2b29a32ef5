"""Relations between columns: correlation, correlation ratio, Cramer's V, and how alike two-way tables are.

All pairs are computed at once from products of whole matrices, so that a resample costs as little as the table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from common.arrays import AnyIntegers, Floats
from common.evaluation.fidelity.association import association_of, column_members, one_hot_of, summed_by_pair, two_way
from common.evaluation.statistics.codes import CodedTables, encode
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.resampling import (
    FEW_RESAMPLES,
    MOST_ROWS,
    measured,
    measured_each,
    resamples,
    sampled,
)
from common.evaluation.statistics.values import numbers

PairKind = Literal["numeric", "mixed", "categorical"]
PairMeasure = Literal["pearson", "correlation_ratio", "cramers_v"]

MEASURE_OF_PAIR: dict[PairKind, PairMeasure] = {
    "numeric": "pearson",
    "mixed": "correlation_ratio",
    "categorical": "cramers_v",
}


MOST_PAIRS = 1_000
"""Most pairs that are listed, those that changed most: all of 45 columns. Means are over all pairs, however many."""


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

    def __init__(
        self, table: pd.DataFrame, codes: AnyIntegers, sizes: tuple[int, ...], numeric: Collection[str]
    ) -> None:
        self.rows, self.codes, self.sizes = len(table), codes, sizes
        self.is_number = np.array([name in numeric for name in table.columns])
        names = [name for name in table.columns if name in numeric]
        values = np.column_stack([numbers(table[name]) for name in names]) if names else np.zeros((len(table), 0))
        self.present = (~np.isnan(values)).astype(np.float64)
        self.numbers, self.ranks = _standard(values), _standard(_ranks(values))
        self.one_hot = one_hot_of(codes, sizes)
        self.label_sizes = tuple(size for size, number in zip(sizes, self.is_number, strict=True) if not number)
        self.labels = one_hot_of(codes[:, ~self.is_number], self.label_sizes)

    def relations(self, weights: Floats) -> Relations:
        """Return every relation of the table whose row i counts `weights[i]` times."""
        return Relations(
            self._widened(_correlation(self.numbers, self.present, weights), self.is_number),
            self._widened(_correlation(self.ranks, self.present, weights), self.is_number),
            self._correlation_ratio(weights),
            self._widened(association_of(two_way(self.labels, weights), self.label_sizes), ~self.is_number),
        )

    def _widened(self, values: Floats, applies: npt.NDArray[np.bool_]) -> Floats:
        widened = np.full((len(self.sizes), len(self.sizes)), np.nan)
        widened[np.ix_(applies, applies)] = values
        return widened

    def _correlation_ratio(self, weights: Floats) -> Floats:
        """Return sqrt(variance between categories / variance) of every number, for every column that is a category."""
        weighted = self.present * weights[:, None]
        n = self.labels.T @ weighted
        total = self.labels.T @ (self.numbers * weighted)
        means = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
        count = np.maximum(weighted.sum(axis=0), 1e-12)
        overall = (self.numbers * weighted).sum(axis=0) / count
        spread = (self.numbers**2 * weighted).sum(axis=0) / count - overall**2
        between = column_members(self.label_sizes).T @ (n * (means - overall) ** 2)
        ratio = np.sqrt(
            np.clip(np.divide(between / count, spread, out=np.zeros_like(between), where=spread > 1e-12), 0, 1)
        )
        ratios = np.full((len(self.sizes), len(self.sizes)), np.nan)
        ratios[np.ix_(~self.is_number, self.is_number)] = ratio
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


class TwoWayTables:
    """The two-way tables of two tables, whose agreement is measured for any weights of the rows."""

    def __init__(self, real: PairTable, synthetic: PairTable) -> None:
        self.rows, self.sizes = (real.rows, synthetic.rows), real.sizes
        self.one_hot = sparse.vstack([real.one_hot, synthetic.one_hot], format="csr")

    def similarity(self, real: Floats, synthetic: Floats) -> Floats:
        """Return one minus the total variation distance of every two-way table, shape (columns, columns).

        Args:
            real, synthetic: how often each row counts, as many in sum as the table has rows.
        """
        weights = np.concatenate([self.rows[1] * real, -self.rows[0] * synthetic])  # whole numbers: sums are exact
        counts = two_way(self.one_hot, weights)
        np.abs(counts.data, out=counts.data)  # abs(counts) would sort the cells first, which takes half of the time
        gaps = summed_by_pair(counts, self.sizes)
        return np.asarray(1.0 - gaps / (2 * self.rows[0] * self.rows[1]))


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
    """The pairs of columns that changed most, the means over all pairs, and those means for resampled real rows.

    Attributes:
        compared: number of all pairs; `pairs` holds at most `MOST_PAIRS` of them.
    """

    pairs: tuple[Pair, ...]
    compared: int
    summary: PairSummary
    reference: PairSummary


def compare_pairs(data: EvaluationData) -> PairComparison:
    """Compare the relation of every pair of columns, on at most `MOST_ROWS` rows of each table."""
    real, synthetic = (
        sampled(table, MOST_ROWS, "pairs", name)
        for table, name in ((data.train, "real"), (data.synthetic, "synthetic"))
    )
    codes = encode(real, synthetic, numeric=data.numeric)
    real_pairs = PairTable(real, codes.real, codes.sizes, data.numeric)
    synthetic_pairs = PairTable(synthetic, codes.synthetic, codes.sizes, data.numeric)
    weights = [
        np.vstack([np.ones(side.rows), resamples(side.rows, FEW_RESAMPLES, "pairs")])
        for side in (real_pairs, synthetic_pairs)
    ]
    relations = [
        [side.relations(row) for row in rows] for side, rows in zip((real_pairs, synthetic_pairs), weights, strict=True)
    ]
    both, few = TwoWayTables(real_pairs, synthetic_pairs), 1 + FEW_RESAMPLES // 4
    alike = [both.similarity(*rows) for rows in zip(weights[0][:few], weights[1][:few], strict=True)]
    # As many real rows as there are synthetic ones, drawn with replacement.
    drawn = np.bincount(
        np.random.default_rng(0).choice(real_pairs.rows, synthetic_pairs.rows), minlength=real_pairs.rows
    ).astype(float)
    scaled = drawn * (real_pairs.rows / synthetic_pairs.rows)
    floor = TwoWayTables(real_pairs, real_pairs).similarity(weights[0][0], scaled)
    size = min(real_pairs.rows, synthetic_pairs.rows)
    return PairComparison(
        _pairs(codes, real_pairs.is_number, relations, alike[0]),
        len(codes.names) * (len(codes.names) - 1) // 2,
        _summary(relations[0], relations[1], alike, size),
        _summary(relations[0][:1], [real_pairs.relations(drawn)], [floor], size),
    )


def _summary(
    real: Sequence[Relations], synthetic: Sequence[Relations], alike: Sequence[Floats], size: int
) -> PairSummary:
    """Return means over pairs.

    Args:
        real, synthetic: relations in the tables as they are (first) and in resamples.
        alike: similarities, the same way.
        size: rows that the means rest on.
    """
    pairs = np.tril_indices(len(alike[0]), -1)
    means: dict[str, Estimate | None] = {}
    for field in fields(Relations):
        gaps = [
            np.abs(getattr(theirs, field.name) - getattr(ours, field.name))[pairs]
            for ours, theirs in zip(real, synthetic, strict=True)
        ]
        applies = ~np.isnan(gaps[0])
        values = [float(gap[applies].mean()) for gap in gaps] if applies.any() else []
        means[field.name] = measured(values[0], values[1:], size, within=(0, np.inf)) if values else None
    similar = [float(matrix[pairs].mean()) for matrix in alike] if len(pairs[0]) else []
    return PairSummary(**means, similarity=measured(similar[0], similar[1:], size, within=(0, 1)) if similar else None)


def _pairs(
    codes: CodedTables, is_number: npt.NDArray[np.bool_], relations: Sequence[Sequence[Relations]], alike: Floats
) -> tuple[Pair, ...]:
    """Return at most `MOST_PAIRS` pairs, those that changed most, in the order of the columns.

    Args:
        codes: both tables.
        is_number: of each column.
        relations: of the real and of the synthetic table, as it is (first) and in resamples.
        alike: similarities of the tables as they are.
    """
    second, first = np.tril_indices(len(codes.sizes), -1)
    numbers_of_pair = is_number[first].astype(int) + is_number[second]
    kinds: tuple[PairKind, ...] = ("categorical", "mixed", "numeric")
    values = [np.zeros((len(side), len(first))) for side in relations]
    for count, kind in enumerate(kinds):
        chosen = np.flatnonzero(numbers_of_pair == count)
        for side, matrices in zip(values, relations, strict=True):
            for row, matrix in zip(side, matrices, strict=True):
                row[chosen] = getattr(matrix, MEASURE_OF_PAIR[kind])[second[chosen], first[chosen]]
    change = values[1] - values[0]
    kept = np.sort(np.argsort(-np.abs(change[0]), kind="stable")[:MOST_PAIRS])
    size = min(len(codes.real), len(codes.synthetic))
    changes = measured_each(change[0, kept], change[1:, kept], size, within=(-2, 2))
    return tuple(
        Pair(
            first=codes.names[first[pair]],
            second=codes.names[second[pair]],
            kind=(kind := kinds[numbers_of_pair[pair]]),
            measure=MEASURE_OF_PAIR[kind],
            real=round(float(values[0][0, pair]), 4),
            synthetic=round(float(values[1][0, pair]), 4),
            change=estimate,
            similarity=round(float(alike[second[pair], first[pair]]), 4),
        )
        for pair, estimate in zip(kept, changes, strict=True)
    )
