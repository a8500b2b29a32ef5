"""The table of measures of visits: for each its key, how to read it, and the function that computes it.

Distances are to the training patients, as those of the core measures; predictions are for held-out patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.scales import Scale
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.coding import CodedHistories
from common.evaluation.visits.distances import (
    cross_transition_distance,
    ends_distance,
    gap_distance,
    length_distance,
    state_transition_error,
    static_distance,
    transition_distance,
)
from common.evaluation.visits.membership import history_membership
from common.evaluation.visits.persistence import persistence_change
from common.evaluation.visits.summaries import history_c2st

Compute = Callable[[VisitAnalysis], Estimate | None]
Compare = Callable[[CodedHistories, CodedHistories], Estimate | None]


@dataclass(frozen=True, slots=True)
class VisitMeasure(Scale):
    """One number about synthetic visits.

    Attributes:
        compute: returns the value with its interval, or None where the tables do not define it.
        reference: returns what real patients reach.
        reference_title: what the reference is, in a few words.
        without: why the tables may not define it, in a few words.
    """

    compute: Compute
    reference: Compute
    reference_title: str
    without: str


def _compared(analysis: VisitAnalysis, *, compare: Compare) -> Estimate | None:
    return compare(analysis.real, analysis.coded)


def _compared_real(analysis: VisitAnalysis, *, compare: Compare) -> Estimate | None:
    return compare(analysis.real, analysis.resampled)


def _distance(
    key: str, title: str, meaning: str, compare: Compare, without: str = "no patient returns, real or synthetic"
) -> VisitMeasure:
    """Return a distance of two tables, with that of resampled training patients as its reference.

    Args:
        key: name in report.json and in results files.
        title: a few words for a heading.
        meaning: a sentence for readers.
        compare: computes it from real and synthetic histories.
        without: why there may be no value.
    """
    return VisitMeasure(
        key,
        title,
        meaning,
        best=0.0,
        worst=0.5,
        compute=partial(_compared, compare=compare),
        reference=partial(_compared_real, compare=compare),
        reference_title="real patients, resampled",
        without=without,
    )


VISIT_MEASURES: dict[str, VisitMeasure] = {
    measure.key: measure
    for measure in (
        _distance(
            "transition_error",
            "State transitions",
            "How far the distribution of a column at the next visit, given its value at a visit, is from the real one: "
            "a total variation distance, averaged over values as often as real patients have them and over columns.",
            state_transition_error,
        ),
        _distance(
            "transitions",
            "Transitions",
            "Fraction of steps from visit to visit that would have to change for (a column now, the same at the next "
            "visit) to match.",
            transition_distance,
        ),
        _distance(
            "cross_transitions",
            "Transitions across columns",
            "The same for (a column now, another column at the next visit).",
            cross_transition_distance,
        ),
        _distance(
            "visits_per_patient",
            "Visits per patient",
            "Fraction of patients who would have to have another number of visits.",
            length_distance,
        ),
        _distance(
            "gaps",
            "Time between visits",
            "Fraction of steps whose time until the next visit would have to change, in 16 groups of real gaps.",
            gap_distance,
        ),
        _distance(
            "persistence",
            "Persistence",
            "Change of how much a value says about the next one: correlation of numbers, agreement of labels.",
            persistence_change,
        ),
        _distance(
            "static_visit",
            "Patient by visit",
            "Fraction of visits that would have to change for (a column of the patient, one of the visit) to match.",
            static_distance,
            "no column is of the patient, or none of the visit",
        ),
        _distance(
            "first_last",
            "First and last visit",
            "Fraction of returning patients who would have to change for (a column at the first visit, at the last) "
            "to match.",
            ends_distance,
        ),
        VisitMeasure(
            "history_c2st",
            "C2ST of whole histories",
            "AUROC of a classifier that tells real from synthetic patients by a summary of the whole history; far "
            "below 0.5 hints at copied patients.",
            best=0.5,
            worst=1.0,
            compute=partial(_compared, compare=history_c2st),
            reference=lambda analysis: history_c2st(analysis.real, analysis.unseen),
            reference_title="held-out patients",
            without="too few patients, real or synthetic",
        ),
        VisitMeasure(
            "history_membership",
            "Membership of whole histories",
            "AUROC of an attack that knows all visits of a patient and tells from the closest synthetic history if the "
            "patient was trained on; 0.5 is chance.",
            best=0.5,
            worst=1.0,
            compute=lambda analysis: history_membership(analysis.real, analysis.unseen, analysis.coded),
            reference=lambda analysis: history_membership(analysis.real, analysis.unseen, analysis.resampled),
            reference_title="a table that copies training patients",
            without="too few patients, real or synthetic",
        ),
        VisitMeasure(
            "next_visit_auroc",
            "Next visit",
            "AUROC on held-out patients of gradient boosting that learned from synthetic patients what a visit says "
            "about the target at the next one; 0.5 is chance.",
            best=1.0,
            worst=0.5,
            compute=lambda analysis: analysis.trained_on_synthetic,
            reference=lambda analysis: analysis.trained_on_real,
            reference_title="trained on real patients",
            without="the target is not of the visit, no held-out patient returns, or all have the same target",
        ),
    )
}
"""The measures of longitudinal fidelity, the ones that decide first."""


def visit_values(analysis: VisitAnalysis) -> dict[str, float | None]:
    """Return the value of every measure by its key; None where it is not defined."""
    values = {key: measure.compute(analysis) for key, measure in VISIT_MEASURES.items()}
    return {key: None if estimate is None else estimate.value for key, estimate in values.items()}
