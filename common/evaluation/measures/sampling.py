"""What of an evaluation rests on a sample of the rows or of the pairs of columns, in sentences for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.evaluation.attacks.setup import MOST_TARGETS, most_targets
from common.evaluation.fidelity.density import MOST_COMPARED
from common.evaluation.fidelity.relations import MOST_PAIRS
from common.evaluation.fidelity.sdmetrics_scores import MOST_SCORED, scored_groups
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.resampling import MOST_FITTED, MOST_ROWS
from common.evaluation.utility.survival import MOST_PATIENTS
from common.evaluation.utility.train_on_synthetic import MOST_TESTED, MOST_TRAINED


@dataclass(frozen=True, slots=True)
class Sampling:
    """Measures that look at a fixed random sample of a larger table.

    Attributes:
        most: rows of the sample.
        measures: a clause that names them.
    """

    most: int
    measures: str


SAMPLINGS = (
    Sampling(
        MOST_FITTED,
        "logistic regression (auc_lr) and gradient boosting (auc_gb) are trained on {most} rows of a larger table, and "
        "the two-sample test (c2st) compares as many",
    ),
    Sampling(
        MOST_ROWS,
        "measures of pairs of columns (similarity, pearson, spearman, correlation_ratio, cramers_v) are computed on "
        "{most} rows of a larger table",
    ),
    Sampling(
        MOST_ROWS,
        "distances of columns, pairs and triples (tvd1, tvd2, tvd3, tvd2g, tvd3g, each column's, each hospital's) and "
        "missing values are those of all rows; their intervals come from resamples of {most} rows and are scaled to "
        "the whole table",
    ),
    Sampling(
        MOST_TRAINED,
        "the other learners (same_order), augmentation and hazard models (concordance) are trained on {most} rows of a "
        "larger table",
    ),
    Sampling(MOST_SCORED, "SDMetrics (quality, diagnostic) scores {most} rows of a larger table"),
)
"""Limits on training and synthetic rows, largest first."""


def sampling_notes(data: EvaluationData) -> tuple[str, ...]:
    """Return which measures rest on how many rows or pairs of columns, in sentences; empty for small tables."""
    return (*_notes_on_width(len(data.schema.names)), *_notes_on_length(data))


def _notes_on_width(columns: int) -> tuple[str, ...]:
    """Return what of the pairs of columns is not listed or not scored in a wide table."""
    pairs, groups, notes = math.comb(columns, 2), scored_groups(columns), []
    if pairs > MOST_PAIRS:
        notes.append(
            f"Of {pairs:,} pairs of columns the {MOST_PAIRS:,} that changed most are listed; means are over all pairs."
        )
    if groups > 1:
        notes.append(
            f"SDMetrics (quality) scores all {columns:,} columns, and the pairs of columns within {groups:,} fixed "
            "random groups."
        )
    return tuple(notes)


def _notes_on_length(data: EvaluationData) -> tuple[str, ...]:
    """Return which measures rest on how many rows of a long table."""
    longest = max(len(data.train), len(data.synthetic))
    if longest <= min(entry.most for entry in SAMPLINGS):
        return ()
    clauses = [entry.measures.format(most=f"{entry.most:,}") for entry in SAMPLINGS if longest > entry.most]
    if len(data.holdout) > MOST_TESTED:
        clauses.append(
            f"learners are compared on {MOST_TESTED:,} held-out patients; auc_lr, auc_gb, hospitals and groups use all"
        )
    if min(len(data.train) // 2, len(data.synthetic)) > MOST_COMPARED:
        clauses.append(f"coverage and density compare {MOST_COMPARED:,} rows a side")
    if data.time is not None and len(data.holdout) > MOST_PATIENTS:
        clauses.append(f"concordance is tested on {MOST_PATIENTS:,} held-out patients")
    if (targets := most_targets(len(data.synthetic))) < MOST_TARGETS:
        clauses.append(
            f"attacks are tried on at most {targets:,} patients of either arm, with the whole synthetic table"
        )
    return tuple(f"Fixed random samples: {clause}." for clause in clauses)
