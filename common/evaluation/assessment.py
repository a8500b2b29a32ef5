"""Evidence: everything that a report shows about a synthetic table, as aggregates, made once and frozen.

Evidence is computed from real rows without noise. It is a disclosure of its own, outside epsilon: make it in
a simulation, or at a hospital for that hospital's own eyes, and never send it anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from common.columns.base import Column
from common.columns.value_grid import ValueGrid
from common.evaluation.attacks.groups import attack_measures
from common.evaluation.attacks.results import PrivacyEvidence
from common.evaluation.attacks.run import ATTACKS, evidence_of, run_attacks, why_no_attacks, without_attacks
from common.evaluation.fairness import (
    FairnessEvidence,
    PatientMeasure,
    TableMeasure,
    assess_fairness,
    fidelity_measures,
)
from common.evaluation.fidelity.density import Density, measure_density
from common.evaluation.fidelity.distances import Distances, Resampled, code_distance, number_distances
from common.evaluation.fidelity.hospitals import HospitalFidelity, RuleCheck, Sites, check_rules, compare_hospitals
from common.evaluation.fidelity.marginals import (
    OTHER_GRIDS,
    association,
    column_scores,
    mean_tvd_over,
    resampled_rows,
    tell_apart,
    tvd_estimate,
)
from common.evaluation.fidelity.missingness import Missingness, measure_missingness
from common.evaluation.fidelity.relations import Pair, PairSummary, compare_pairs
from common.evaluation.fidelity.sdmetrics_scores import LibraryReports, library_reports
from common.evaluation.registry import MEASURES, METRICS, rounded
from common.evaluation.report.verdict import Verdict, judge
from common.evaluation.statistics.intervals import Estimate, bootstrap, weighted_auroc
from common.evaluation.statistics.resampling import MOST_ROWS, RESAMPLES, certain, sampled
from common.evaluation.statistics.values import MISSING, Codes, Floats, Ints, Labels, encode, labels, numbers
from common.evaluation.utility.survival import Survival, measure_survival
from common.evaluation.utility.train_on_synthetic import YARDSTICK, why_no_utility
from common.evaluation.utility.trials import Balanced, Trials, run_trials, teach, utility_measures
from common.seeds import seed_for
from common.study.rules import Rule
from common.study.schema import Schema

REPORT_VERSION = 2
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
    distances: Distances | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its interval where it has one, and what real rows reach: see `MEASURES` for how to read it."""

    estimate: Estimate
    reference: Estimate | None
    has_interval: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured. `real_scores` are the learners trained on real rows, `floor` a resample of real rows.

    `association_real` and `association_synthetic` are Cramer's V, rows and columns in the order of `columns`.
    `intervals` holds the intervals of `scores`, `measures` the further measures of `MEASURES`. `trials`, `survival`,
    `privacy` and `fairness` are None where they could not be measured or were not asked for; `notes` say why.
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
    intervals: dict[str, Estimate | None]
    measures: dict[str, Measure | None]
    pairs: tuple[Pair, ...]
    density: Density | None
    missingness: Missingness | None
    library: LibraryReports | None
    rules: tuple[RuleCheck, ...]
    hospitals: tuple[HospitalFidelity, ...]
    trials: Trials | None
    survival: Survival | None
    privacy: PrivacyEvidence
    fairness: FairnessEvidence | None

    def to_json(self) -> str:
        """The text of `report.json`; its keys are described in docs/report.md."""
        parts = {"privacy": self.privacy.as_document(), "fairness": self.fairness and self.fairness.as_document()}
        document = {"version": REPORT_VERSION} | asdict(self) | parts
        return json.dumps(_shortened(document), indent=1, allow_nan=False) + "\n"


def _shortened(value: Any) -> Any:
    """The document with every number as it is stored: more digits than that are noise."""
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case list() | tuple():
            return [_shortened(item) for item in value]
        case _:
            return value


Progress = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done and how much there is."""


def assess(
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: Schema,
    *,
    target: str,
    time: str | None = None,
    rules: Sequence[Rule] = (),
    sensitive: Sequence[str] = (),
    sites: Sites | None = None,
    balanced: Balanced | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> Evidence:
    """Measure a synthetic table against real training and held-out rows.

    Args:
        train: conformed real rows that the synthesizer learnt from; columns of the schema.
        holdout: conformed real rows that it never saw; may be empty.
        synthetic: the table under test.
        schema: its bounds, decimals and categories give the charts their axes.
        target: the column to predict.
        time: the column that says when the target's event happened, where it is a survival outcome.
        rules: declared rules, whose violations are counted.
        sensitive: columns whose groups are compared.
        sites: the hospital of every real row, where it is known.
        balanced: draws synthetic rows with equally many of each class of the target.
        epsilon, delta: what the release promises each patient, for the bounds beside the attacks; None if nothing.

    Raises:
        DataError: a column is absent from a table, or the training or the synthetic table has no rows.
    """
    train = train[list(schema.names)]
    with threadpool_limits(1):  # results and time then depend neither on the machine's processors nor on its load
        reason = why_no_utility(train, holdout, target)
        codes = encode(train, synthetic)
        step = _Steps(progress, 8 + len(ATTACKS) + 2)
        grids = [encode(train, synthetic, bins) for bins in OTHER_GRIDS]
        tables = {f"tvd{k}": ([codes], k) for k in (1, 2, 3)} | {f"tvd{k}g": (grids, k) for k in (2, 3)}
        intervals = {name: tvd_estimate(*table) for name, table in tables.items()}
        scores = {name: None if estimate is None else estimate.value for name, estimate in intervals.items()}
        floor = {
            name: rounded(mean_tvd_over([resampled_rows(codes) for codes in table], k))
            for name, (table, k) in tables.items()
        }
        columns = _columns(train, synthetic, schema, codes)
        step()
        judged = tell_apart(train, synthetic)
        scores["c2st"], intervals["c2st"] = (None, None) if judged is None else _told_apart(*judged)
        step()
        found_pairs = compare_pairs(*_sampled(train, synthetic))
        step()
        density, missingness = measure_density(train, synthetic), measure_missingness(train, synthetic, schema)
        step()
        library = library_reports(train, synthetic, schema)
        step()
        hospitals = () if sites is None else compare_hospitals(codes, sites.training)
        survival = measure_survival(train, holdout, synthetic, schema, target=target, time=time) if time else None
        step()
        taught = teach(train, holdout, synthetic, target)
        step()
        utility, real_utility = taught.yardstick() if taught else (dict.fromkeys(YARDSTICK), dict.fromkeys(YARDSTICK))
        intervals |= taught.intervals() if taught else dict.fromkeys(YARDSTICK)
        hospital_of = None if sites is None else sites.holdout
        trials = (
            run_trials(taught, train, holdout, synthetic, target, balanced=balanced, hospital_of=hospital_of)
            if taught
            else None
        )
        step()
        measures: list[TableMeasure | PatientMeasure] = [*fidelity_measures(train, synthetic)]
        measures += utility_measures(taught, holdout) if taught else []
        no_attacks = why_no_attacks(len(train), len(holdout), len(synthetic))
        if no_attacks is not None:
            privacy = without_attacks(no_attacks, epsilon, delta)
        else:
            attempts = run_attacks(train, holdout, synthetic, schema, progress=step.within(8))
            privacy = evidence_of(attempts, epsilon=epsilon, delta=delta)
            measures += attack_measures(attempts, train, holdout)
        fairness = assess_fairness(train, synthetic, schema, sensitive, measures) if sensitive else None
        step.finish()
        scores = {name: rounded((scores | utility)[name]) for name in METRICS}
        real_scores = {name: rounded(score) for name, score in real_utility.items()}
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
            columns=columns,
            association_real=_matrix(association(codes.real, codes.sizes)),
            association_synthetic=_matrix(association(codes.synthetic, codes.sizes)),
            intervals={name: intervals[name] for name in METRICS},
            measures=_measures(density, missingness, library, found_pairs[1], found_pairs[2], trials, survival),
            pairs=found_pairs[0],
            density=density,
            missingness=missingness,
            library=library,
            rules=check_rules(train, synthetic, rules),
            hospitals=hospitals,
            trials=trials,
            survival=survival,
            privacy=privacy,
            fairness=fairness,
        )


class _Steps:
    """Tells how many of the steps are done, each time that it is called."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total
        progress("evaluation", 0, total)

    def __call__(self) -> None:
        self.done += 1
        self.progress("evaluation", self.done, self.total)

    def finish(self) -> None:
        self.progress("evaluation", self.total, self.total)

    def within(self, start: int) -> Callable[[int, int], None]:
        """Tells the steps of a part that begins after `start` of them."""
        return lambda done, steps: self.progress("evaluation", start + done, self.total)


def _sampled(train: pd.DataFrame, synthetic: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, Codes]:
    """Both tables cut to `MOST_ROWS`, and their codes."""
    small = [sampled(table, MOST_ROWS, "pairs", name) for table, name in ((train, "real"), (synthetic, "synthetic"))]
    return small[0], small[1], encode(small[0], small[1])


def _told_apart(truth: Ints, scores: Floats) -> tuple[float, Estimate]:
    statistic = weighted_auroc(truth == 1, scores)
    found = bootstrap(statistic, len(truth), seed=seed_for(0, "bootstrap", "c2st"), resamples=RESAMPLES)
    return float(roc_auc_score(truth, scores)), found


def _measures(
    density: Density | None,
    missingness: Missingness | None,
    library: LibraryReports | None,
    pairs: PairSummary,
    floor: PairSummary,
    trials: Trials | None,
    survival: Survival | None,
) -> dict[str, Measure | None]:
    """Every measure of `MEASURES`, None where it does not apply."""
    found: dict[str, Measure | None] = dict.fromkeys(MEASURES)
    if density is not None:
        found["coverage"] = Measure(density.coverage, density.coverage_of_real)
        found["density"] = Measure(density.density, density.density_of_real)
    for name in ("similarity", "pearson", "spearman", "correlation_ratio", "cramers_v"):
        estimate = getattr(pairs, name)
        found[name] = None if estimate is None else Measure(estimate, getattr(floor, name))
    if missingness is not None:
        found["missing_rate"] = Measure(missingness.rate_change, None)
        found["missing_pair"] = None if missingness.pair_change is None else Measure(missingness.pair_change, None)
    scored = [] if library is None else [
        ("quality", library.quality, library.floor_quality), ("diagnostic", library.diagnostic, None),
    ]  # fmt: skip
    for name, score, reference in scored:
        if score is not None:
            of_real = None if reference is None else certain(reference, 0)
            found[name] = Measure(certain(score, 0), of_real, has_interval=False)
    if trials is not None and trials.agreement is not None:
        found["same_order"] = Measure(trials.agreement.same_order, None)
    if survival is not None:
        found["curve_distance"] = Measure(survival.curve_distance, survival.curve_distance_of_real)
        if survival.concordance_synthetic is not None:
            found["concordance"] = Measure(survival.concordance_synthetic, survival.concordance_real)
    return found


def _columns(train: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, codes: Codes) -> tuple[ColumnEvidence, ...]:
    weights = Resampled(len(train), len(synthetic))
    closeness = column_scores(train, synthetic)
    found = []
    for place, column in enumerate(schema.each()):
        real, made = train[column.name], synthetic[column.name]
        ks = wasserstein = None
        if column.grid is not None:
            span = column.grid.upper - column.grid.lower
            ks, wasserstein = number_distances(numbers(real), numbers(made), span, weights)
        tvd = code_distance(codes.real[:, place], codes.synthetic[:, place], codes.sizes[place], weights)
        distances = Distances(ks, wasserstein, tvd)
        found.append(_describe(column, real, made, rounded(closeness[column.name]), distances))
    return tuple(found)


def _describe(
    column: Column,
    real: pd.Series[Any],
    synthetic: pd.Series[Any],
    score: float | None,
    distances: Distances,
) -> ColumnEvidence:
    if column.grid is not None:
        cells = [numbers(real), numbers(synthetic)]
        edges = histogram_edges(column.grid, cells[0])
        shares = [_bin_shares(values, edges) for values in cells]
        missing = [float(np.isnan(values).mean()) for values in cells]
        names: tuple[str, ...] = ()
    else:
        words = [labels(real), labels(synthetic)]
        groups = category_groups(column.labels, words[0])
        names, edges = tuple(groups), ()
        shares = [_group_shares(values, groups) for values in words]
        missing = [float((values == MISSING).mean()) for values in words]
    return ColumnEvidence(
        name=column.name,
        kind="categorical" if column.grid is None else "numeric",
        unit=None if column.grid is None else column.grid.unit,
        score=score,
        edges=edges,
        categories=names,
        real=shares[0],
        synthetic=shares[1],
        missing_real=round(missing[0], 4),
        missing_synthetic=round(missing[1], 4),
        distances=distances,
    )


def histogram_edges(grid: ValueGrid, real: Floats) -> tuple[float, ...]:
    """Edges of at most 24 equal bins, each a whole number of the column's smallest step wide.

    They run over the declared bounds, narrowed to the 1st to 99th percentile of the real rows so that a generous
    bound or an extreme patient does not squeeze everybody else into one bar. They lie half a step beside the
    values that can occur, so no value falls on an edge.
    """
    step = grid.step
    present = real[~np.isnan(real)]
    low, high = grid.lower, grid.upper
    if len(present):
        inner = np.quantile(present, [0.01, 0.99])
        low, high = max(low, math.floor(inner[0] / step) * step), min(high, math.ceil(inner[1] / step) * step)
    steps = max(1, round((high - low) / step) + 1)
    steps_per_bin = math.ceil(steps / MOST_BINS)
    bins = math.ceil(steps / steps_per_bin)
    return tuple(round(low + (place * steps_per_bin - 0.5) * step, grid.decimals + 1) for place in range(bins + 1))


def _bin_shares(values: Floats, edges: tuple[float, ...]) -> tuple[float, ...]:
    places = np.searchsorted(edges[1:-1], values[~np.isnan(values)], side="right")
    return _rounded(np.bincount(places, minlength=len(edges) - 1) / len(values))


def category_groups(categories: Sequence[str], real: Labels) -> dict[str, frozenset[str]]:
    """What each bar of a categorical chart counts: its name and the labels behind it, in the schema's order.

    The rarest categories of a long list share one bar, and so do labels that the schema does not list.
    """
    by_label = dict(zip(labels(pd.Series(list(categories), dtype=object)), categories, strict=True))
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
