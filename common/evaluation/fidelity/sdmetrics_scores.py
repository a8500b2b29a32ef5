"""SDMetrics' Quality and Diagnostic reports as the library computes them, on metadata made from the schema.

The library is an extra, since it needs `copulas`, whose license is not open source (docs/decisions/0012).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.resampling import sampled
from common.seeds import seed_for
from common.study.schema import Schema

MOST_SCORED = 10_000
"""Most rows of a table that the library is given: a fixed random sample of a larger table."""

MOST_SCORED_PAIRS, MOST_GROUPED_PAIRS = 1_000, 500
"""Most pairs of columns for the library to score all of them, those of 45 columns; and about how many it scores of a
wider table: those within groups."""


@dataclass(frozen=True, slots=True)
class SdmetricsScores:
    """Scores of SDMetrics, from 0.0 to 1.0, which is best; None where not applicable. It gives no intervals.

    Attributes:
        version: version of the library.
        quality: mean of `column_shapes` and `column_pair_trends`.
        quality_of_real: quality of as many real rows drawn with replacement.
        diagnostic: mean of `data_validity` and `data_structure`.
    """

    version: str
    quality: float | None
    column_shapes: float | None
    column_pair_trends: float | None
    quality_of_real: float | None
    diagnostic: float | None
    data_validity: float | None
    data_structure: float | None


def sdmetrics_scores(data: EvaluationData) -> SdmetricsScores | None:
    """Run both reports on at most `MOST_SCORED` rows of each table; None where the library is not installed."""
    if find_spec("sdmetrics") is None:
        return None
    from sdmetrics.reports import DiagnosticReport, QualityReport

    real, synthetic = (
        sampled(table, MOST_SCORED, "library", name)
        for table, name in ((data.train, "real"), (data.synthetic, "synthetic"))
    )
    again = real.sample(len(synthetic), replace=True, random_state=0).reset_index(drop=True)
    quality, floor = (_quality(QualityReport, real, other, data.schema) for other in (synthetic, again))
    diagnostic = _scores(_run(DiagnosticReport(), real, synthetic, data.schema))
    return SdmetricsScores(
        version=version("sdmetrics"),
        quality=quality["Overall"],
        column_shapes=quality.get("Column Shapes"),
        column_pair_trends=quality.get("Column Pair Trends"),
        quality_of_real=floor["Overall"],
        diagnostic=diagnostic["Overall"],
        data_validity=diagnostic.get("Data Validity"),
        data_structure=diagnostic.get("Data Structure"),
    )


def scored_groups(columns: int) -> int:
    """Return into how many groups the columns of a table are divided, so that few enough pairs are within groups."""
    groups = 1
    if math.comb(columns, 2) <= MOST_SCORED_PAIRS:
        return groups
    while groups < columns // 2 and groups * math.comb(math.ceil(columns / groups), 2) > MOST_GROUPED_PAIRS:
        groups += 1
    return groups


def _quality(make_report: Any, real: pd.DataFrame, other: pd.DataFrame, schema: Schema) -> dict[str, float | None]:
    """Return the scores of the Quality Report; of a wide table with the pairs of columns within fixed random groups.

    Every column is scored either way. Scores over groups are the library's own means: of columns, and of the pairs that
    depend on each other in the real rows by more than its threshold.
    """
    groups = scored_groups(len(schema.names))
    if groups == 1:
        return _scores(_run(make_report(), real, other, schema))
    order = np.random.default_rng(seed_for(0, "library", "groups")).permutation(len(schema.names))
    reports = []
    for columns in np.array_split(order, groups):
        part = Schema(columns=tuple(schema[schema.names[column]] for column in sorted(columns)))
        reports.append(_run(make_report(), real[list(part.names)], other[list(part.names)], part))
    shapes, trends = (
        pd.concat([report.get_details(name, table_name="patients") for report in reports])
        for name in ("Column Shapes", "Column Pair Trends")
    )
    means = shapes["Score"].mean(), trends.loc[trends["Meets Threshold?"].fillna(False), "Score"].mean()
    scores = {"Column Shapes": means[0], "Column Pair Trends": means[1], "Overall": pd.Series(means).mean()}
    return _known(scores)


def _run(report: Any, real: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema) -> Any:
    """Return the report, generated."""
    columns = {
        column.name: {"sdtype": "categorical" if column.grid is None else "numerical"} for column in schema.each()
    }
    metadata = {"tables": {"patients": {"columns": columns}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant columns, columns without a value
        report.generate({"patients": real}, {"patients": synthetic}, metadata, verbose=False)
    return report


def _scores(report: Any) -> dict[str, float | None]:
    """Return the report's properties and its overall score by name."""
    properties = report.get_properties()
    scores = dict(zip(properties["Property"], properties["Score"], strict=True)) | {"Overall": report.get_score()}
    return _known(scores)


def _known(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {str(name): None if pd.isna(score) else float(score) for name, score in scores.items()}
