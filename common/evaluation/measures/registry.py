"""The table of measures: for each its key, how to read it, and the function that computes it.

To add a measure, write a function that takes an `Analysis` and returns an `Estimate`, and add an entry to
`FURTHER_MEASURES`. Tests run over the table; the report shows every entry.
"""

from __future__ import annotations

from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.measure import (
    Measure,
    auroc_measure,
    change_measure,
    distance_measure,
    field_of,
    one_grid,
    other_grids,
    reference_of,
    value_of,
    without_interval,
)
from common.evaluation.statistics.data import EvaluationData

DECIMALS = 4
"""Decimals of the core measures in results files, as the yardstick prints them."""

CORE_MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        distance_measure(
            "tvd1",
            "Single columns",
            "Fraction of patients who would have to change category for one column to match, on average.",
            grids=one_grid,
            columns=1,
        ),
        distance_measure(
            "tvd2",
            "Pairs of columns",
            "The same for two columns at once: whether relations between columns are kept.",
            grids=one_grid,
            columns=2,
        ),
        distance_measure(
            "tvd3",
            "Triples of columns",
            "The same for three columns at once; it is large wherever rows are few.",
            grids=one_grid,
            columns=3,
        ),
        distance_measure(
            "tvd2g",
            "Pairs on other grids",
            "Pairs of columns with numbers cut into 10, 13, 20 and 27 bins instead of 16, mean of the four.",
            grids=other_grids,
            columns=2,
        ),
        distance_measure(
            "tvd3g",
            "Triples on other grids",
            "Triples of columns on the same four grids, mean of the four.",
            grids=other_grids,
            columns=3,
        ),
        auroc_measure(
            "auc_lr",
            "Logistic regression",
            "AUROC on real held-out patients of a model trained on synthetic rows; 0.5 is chance.",
        ),
        auroc_measure(
            "auc_gb", "Gradient boosting", "The same for a learner that also uses interactions; 0.5 is chance."
        ),
        Measure(
            "c2st",
            "Told apart",
            "AUROC of a classifier that tells real from synthetic rows; far below 0.5 hints at copied rows.",
            best=0.5,
            worst=1.0,
            compute=lambda analysis: analysis.told_apart,
            reference_title="chance, which is best here",
        ),
    )
}
"""The measures that equal an independent yardstick and that benchmarks compare; they ignore the schema's types."""

FURTHER_MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure(
            "coverage",
            "Coverage",
            "Fraction of real patients with a synthetic one among their nearest neighbors: whether all are shown.",
            best=1.0,
            worst=0.0,
            compute=field_of(lambda analysis: analysis.density, lambda density: density.coverage),
            reference=reference_of(lambda analysis: analysis.density, lambda density: density.coverage_of_real),
            reference_title="another half of the real rows",
        ),
        Measure(
            "density",
            "Density",
            "How crowded the real neighborhoods are that synthetic rows fall into: are rows plausible? Above 1 they "
            "crowd in the middle.",
            best=1.0,
            worst=0.0,
            high=float("inf"),
            compute=field_of(lambda analysis: analysis.density, lambda density: density.density),
            reference=reference_of(lambda analysis: analysis.density, lambda density: density.density_of_real),
            reference_title="another half of the real rows",
        ),
        Measure(
            "similarity",
            "Cross-tables",
            "Agreement of the cross-table of two columns, mean over all pairs (contingency similarity).",
            best=1.0,
            worst=0.5,
            compute=lambda analysis: analysis.pairs.summary.similarity,
            reference=lambda analysis: value_of(analysis.pairs.reference.similarity),
        ),
        change_measure(
            "pearson",
            "Correlation",
            "Change of Pearson's correlation of two numbers, mean over pairs, without its sign.",
            lambda summary: summary.pearson,
            high=2.0,
        ),
        change_measure(
            "spearman",
            "Rank correlation",
            "The same for ranks, which outliers do not move.",
            lambda summary: summary.spearman,
            high=2.0,
        ),
        change_measure(
            "correlation_ratio",
            "Number by category",
            "Change of the correlation ratio: how much of a number's spread a category explains.",
            lambda summary: summary.correlation_ratio,
        ),
        change_measure(
            "cramers_v",
            "Category by category",
            "Change of Cramér's V: how well one category predicts another.",
            lambda summary: summary.cramers_v,
        ),
        Measure(
            "missing_rate",
            "Missing values",
            "Change of the fraction of missing cells, mean over the columns that have any.",
            best=0.0,
            worst=0.25,
            compute=field_of(lambda analysis: analysis.missingness, lambda missing: missing.rate_change),
        ),
        Measure(
            "missing_pair",
            "Missing together",
            "The same for two columns that are missing in the same patient, mean over pairs.",
            best=0.0,
            worst=0.25,
            compute=field_of(lambda analysis: analysis.missingness, lambda missing: missing.pair_change),
        ),
        Measure(
            "quality",
            "SDMetrics quality",
            "The library's Quality Report: likeness of single columns and of pairs.",
            best=1.0,
            worst=0.5,
            compute=field_of(lambda analysis: analysis.sdmetrics, lambda scores: without_interval(scores.quality)),
            reference=reference_of(
                lambda analysis: analysis.sdmetrics, lambda scores: without_interval(scores.quality_of_real)
            ),
            has_interval=False,
        ),
        Measure(
            "diagnostic",
            "SDMetrics diagnostic",
            "The library's Diagnostic Report: do values stay within those of real rows? Declared bounds allow more.",
            best=1.0,
            worst=0.5,
            compute=field_of(lambda analysis: analysis.sdmetrics, lambda scores: without_interval(scores.diagnostic)),
            has_interval=False,
        ),
        Measure(
            "same_order",
            "Choice of learner",
            "Fraction of pairs of learners that synthetic and real rows put in the same order; 0.5 is chance.",
            best=1.0,
            worst=0.0,
            compute=field_of(lambda analysis: analysis.model_choice, lambda choice: choice.same_order),
        ),
        Measure(
            "curve_distance",
            "Survival curves",
            "Mean gap of the two Kaplan-Meier curves.",
            best=0.0,
            worst=0.25,
            compute=field_of(lambda analysis: analysis.survival, lambda survival: survival.curve_distance),
            reference=reference_of(
                lambda analysis: analysis.survival, lambda survival: survival.curve_distance_of_real
            ),
            reference_title="held-out patients",
        ),
        Measure(
            "concordance",
            "Concordance",
            "How often a hazard model trained on synthetic rows ranks two real patients correctly; 0.5 is chance.",
            best=1.0,
            worst=0.5,
            compute=field_of(lambda analysis: analysis.survival, lambda survival: survival.concordance_synthetic),
            reference=reference_of(lambda analysis: analysis.survival, lambda survival: survival.concordance_real),
            reference_title="trained on real rows",
        ),
    )
}
"""The other measures of a report. Column types are those of the schema."""

MEASURES: dict[str, Measure] = CORE_MEASURES | FURTHER_MEASURES


def core_values(data: EvaluationData) -> dict[str, float | None]:
    """Return every core measure rounded to `DECIMALS`; None for one that these tables do not define."""
    analysis = Analysis(data)
    values = {key: value_of(measure.compute(analysis)) for key, measure in CORE_MEASURES.items()}
    return {key: None if value is None else round(value, DECIMALS) for key, value in values.items()}
