"""Evidence: everything that a report shows about a synthetic table, as aggregates, made once and frozen.

Evidence is computed from real rows without noise. It is a disclosure of its own, outside epsilon: make it in
a simulation, or at a hospital for that hospital's own eyes, and never send it anywhere.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.evaluation.columns import MISSING, Floats, Labels, encode, labels, numbers
from common.evaluation.fidelity import association, bootstrap_floor, column_scores
from common.evaluation.metrics import evaluate, rounded
from common.evaluation.utility import predict_held_out, why_no_utility
from common.evaluation.verdict import Verdict, judge
from common.schema import Categorical, Numeric, Schema

REPORT_VERSION = 1
MOST_BINS = 24
MOST_CATEGORIES = 16
"""A chart names at most this many categories; the rarest in the real rows are shown as one."""

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ColumnEvidence:
    """One column's real and synthetic distribution, as shares of all rows.

    Numeric columns have `edges` (one more than bins; the end bins include everything beyond) and no
    `categories`; categorical columns have it the other way round. `score` is 1.0 when both are identical.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    unit: str | None
    score: float | None
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    missing_real: float
    missing_synthetic: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured. `real_scores` are the learners trained on real rows, `floor` a resample of real rows.

    `association_real` and `association_synthetic` are Cramer's V, rows and columns in the order of `columns`.
    """

    target: str
    train_rows: int
    holdout_rows: int
    synthetic_rows: int
    verdict: Verdict
    scores: dict[str, float | None]
    real_scores: dict[str, float | None]
    floor: dict[str, float | None]
    notes: tuple[str, ...]
    columns: tuple[ColumnEvidence, ...]
    association_real: Matrix
    association_synthetic: Matrix

    def to_json(self) -> str:
        """The text of `report.json`; its keys are described in docs/report.md."""
        return json.dumps({"version": REPORT_VERSION} | asdict(self), indent=1, allow_nan=False) + "\n"


def assess(
    train: pd.DataFrame, holdout: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, *, target: str
) -> Evidence:
    """Measure a synthetic table against real training and held-out rows.

    Args:
        train: conformed real rows that the synthesizer learnt from; columns of the schema.
        holdout: conformed real rows that it never saw; may be empty.
        synthetic: the table under test.
        schema: its bounds, decimals and categories give the charts their axes.
        target: the column to predict.

    Raises:
        DataError: a column is absent from a table, or the training or the synthetic table has no rows.
    """
    train = train[list(schema.names)]
    scores = evaluate(train, holdout, synthetic, target)
    real_scores = {name: rounded(score) for name, score in predict_held_out(train, train, holdout, target).items()}
    codes = encode(train, synthetic)
    floor = {name: rounded(score) for name, score in bootstrap_floor(codes).items()}
    closeness = column_scores(train, synthetic)
    reason = why_no_utility(train, holdout, target)
    return Evidence(
        target=target,
        train_rows=len(train),
        holdout_rows=len(holdout),
        synthetic_rows=len(synthetic),
        verdict=judge(scores, real_scores, floor),
        scores=scores,
        real_scores=real_scores,
        floor=floor,
        notes=() if reason is None else (reason,),
        columns=tuple(
            _describe(column, train[column.name], synthetic[column.name], rounded(closeness[column.name]))
            for column in schema.each()
        ),
        association_real=_matrix(association(codes.real, codes.sizes)),
        association_synthetic=_matrix(association(codes.synthetic, codes.sizes)),
    )


def _describe(
    column: Numeric | Categorical, real: pd.Series[Any], synthetic: pd.Series[Any], score: float | None
) -> ColumnEvidence:
    if isinstance(column, Numeric):
        cells = [numbers(real), numbers(synthetic)]
        edges = histogram_edges(column, cells[0])
        shares = [_bin_shares(values, edges) for values in cells]
        missing = [float(np.isnan(values).mean()) for values in cells]
        names: tuple[str, ...] = ()
    else:
        words = [labels(real), labels(synthetic)]
        groups = category_groups(column, words[0])
        names, edges = tuple(groups), ()
        shares = [_group_shares(values, groups) for values in words]
        missing = [float((values == MISSING).mean()) for values in words]
    return ColumnEvidence(
        name=column.name,
        kind=column.kind,
        unit=column.unit if isinstance(column, Numeric) else None,
        score=score,
        edges=edges,
        categories=names,
        real=shares[0],
        synthetic=shares[1],
        missing_real=round(missing[0], 4),
        missing_synthetic=round(missing[1], 4),
    )


def histogram_edges(column: Numeric, real: Floats) -> tuple[float, ...]:
    """Edges of at most 24 equal bins, each a whole number of the column's smallest step wide.

    They run over the declared bounds, narrowed to the 1st to 99th percentile of the real rows so that a generous
    bound or an extreme patient does not squeeze everybody else into one bar. They lie half a step beside the
    values that can occur, so no value falls on an edge.
    """
    step = 10.0**-column.decimals
    present = real[~np.isnan(real)]
    low, high = column.lower, column.upper
    if len(present):
        inner = np.quantile(present, [0.01, 0.99])
        low, high = max(low, math.floor(inner[0] / step) * step), min(high, math.ceil(inner[1] / step) * step)
    steps = max(1, round((high - low) / step) + 1)
    steps_per_bin = math.ceil(steps / MOST_BINS)
    bins = math.ceil(steps / steps_per_bin)
    return tuple(round(low + (place * steps_per_bin - 0.5) * step, column.decimals + 1) for place in range(bins + 1))


def _bin_shares(values: Floats, edges: tuple[float, ...]) -> tuple[float, ...]:
    places = np.searchsorted(edges[1:-1], values[~np.isnan(values)], side="right")
    return _rounded(np.bincount(places, minlength=len(edges) - 1) / len(values))


def category_groups(column: Categorical, real: Labels) -> dict[str, frozenset[str]]:
    """What each bar of a categorical chart counts: its name and the labels behind it, in the schema's order.

    The rarest categories of a long list share one bar, and so do labels that the schema does not list.
    """
    by_label = dict(zip(labels(pd.Series(column.categories, dtype=object)), column.categories, strict=True))
    counts = pd.Series(real).value_counts()
    common = sorted(by_label, key=lambda label: -int(counts.get(label, 0)))
    if len(common) > MOST_CATEGORIES:
        common = common[: MOST_CATEGORIES - 1]
    groups = {name: frozenset({label}) for label, name in by_label.items() if label in common}
    rest = frozenset(by_label) - frozenset(common)
    return groups | ({f"{len(rest)} others": rest} if rest else {})


def _group_shares(values: Labels, groups: dict[str, frozenset[str]]) -> tuple[float, ...]:
    counts = pd.Series(values).value_counts()
    sums = [sum(int(counts.get(label, 0)) for label in group) for group in groups.values()]
    return _rounded(np.array(sums) / len(values))


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _matrix(values: Floats) -> Matrix:
    return tuple(_rounded(row) for row in values)
