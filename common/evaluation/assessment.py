"""Evidence: everything that a report shows about a synthetic table, as aggregates, computed once and frozen.

Evidence is computed from real rows without noise. It is a disclosure of its own, outside epsilon: compute it in a
simulation, or at a hospital for that hospital's own eyes, and never send it anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from threadpoolctl import threadpool_limits

from common.arrays import Floats
from common.evaluation.attacks.conclusions import privacy_of
from common.evaluation.attacks.results import PrivacyEvidence
from common.evaluation.fairness.compare import assess_fairness
from common.evaluation.fairness.measures import attack_measures, fidelity_measures, utility_measures
from common.evaluation.fairness.results import FairnessEvidence, PatientMeasure, TableMeasure
from common.evaluation.fidelity.association import association
from common.evaluation.fidelity.by_hospital import HospitalFidelity, RuleCheck, check_rules, compare_hospitals
from common.evaluation.fidelity.density import Density
from common.evaluation.fidelity.distributions import ColumnFidelity, compare_columns
from common.evaluation.fidelity.missingness import Missingness
from common.evaluation.fidelity.relations import Pair
from common.evaluation.fidelity.sdmetrics_scores import SdmetricsScores
from common.evaluation.images.evidence import ImageEvidence
from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.registry import CORE_MEASURES, MEASURES
from common.evaluation.measures.rounds import compare_rounds
from common.evaluation.measures.sampling import sampling_notes
from common.evaluation.measures.verdict import judge
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.rounds_effect import RoundsEffect
from common.evaluation.utility.grades import Verdict
from common.evaluation.utility.prediction import PredictionUtility
from common.evaluation.utility.survival import Survival
from common.run_events.events import Emit, Progressed, ignore

REPORT_VERSION = 7
"""Layout of report.json; docs/report.md describes it."""

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """The value of a measure with its interval, and what real rows reach; `MEASURES` says how to read it.

    `has_interval` is False for a value without one: `low` and `high` then equal it.
    """

    estimate: Estimate
    reference: float | None
    has_interval: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was measured about a synthetic table.

    Attributes:
        target: the column that was predicted.
        measures: every measure of `MEASURES` by its key; None where these tables do not define it.
        notes: sentences that say why something was not measured, and what was measured on a sample of the rows or of
            the pairs of columns.
        pairs: the pairs of columns, at most `MOST_PAIRS`, that changed most.
        rounds: what training rounds changed; None for a run without any.
        association_real, association_synthetic: Cramer's V, rows and columns in the order of `columns`.
        prediction, survival, sdmetrics, density, missingness, images, fairness: results of these parts; None where
            they could not be measured or were not asked for.
    """

    target: str
    train_rows: int
    holdout_rows: int
    synthetic_rows: int
    verdict: Verdict
    measures: dict[str, Measured | None]
    notes: tuple[str, ...]
    rounds: RoundsEffect | None
    columns: tuple[ColumnFidelity, ...]
    association_real: Matrix
    association_synthetic: Matrix
    pairs: tuple[Pair, ...]
    density: Density | None
    missingness: Missingness | None
    sdmetrics: SdmetricsScores | None
    rules: tuple[RuleCheck, ...]
    hospitals: tuple[HospitalFidelity, ...]
    prediction: PredictionUtility | None
    survival: Survival | None
    images: ImageEvidence | None
    privacy: PrivacyEvidence
    fairness: FairnessEvidence | None

    def to_json(self) -> str:
        """Return the text of `report.json`; its keys are described in docs/report.md."""
        parts = {
            "images": self.images and self.images.as_document(),
            "privacy": self.privacy.as_document(),
            "fairness": self.fairness and self.fairness.as_document(),
        }
        document = {"version": REPORT_VERSION, "handling": HANDLING} | asdict(self) | parts
        return json.dumps(_shortened(document), indent=1, allow_nan=False) + "\n"


def _shortened(value: Any) -> Any:
    """Return a document with every number rounded to the stored digits: further digits are noise."""
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case list() | tuple():
            return [_shortened(item) for item in value]
        case _:
            return value


def assess(data: EvaluationData, *, emit: Emit = ignore) -> Assessment:
    """Measure a synthetic table against real training and held-out rows.

    Args:
        data: the tables, and what the study asks.
        emit: takes the progress after every measure and attack.
    """
    steps = _Steps(emit, len(MEASURES) + 2)
    with threadpool_limits(1):  # results and time then depend neither on the number of processors nor on their load
        analysis = Analysis(data, emit=emit)
        measures = _measure(analysis, steps)
        evidence = Assessment(
            target=data.target,
            train_rows=len(data.train),
            holdout_rows=len(data.holdout),
            synthetic_rows=len(data.synthetic),
            verdict=_judge(measures),
            measures=measures,
            notes=(*filter(None, [analysis.why_no_prediction]), *sampling_notes(data)),
            rounds=compare_rounds(data, _core_estimates(measures)),
            columns=compare_columns(data),
            association_real=_matrix(association(data.codes.real, data.codes.sizes)),
            association_synthetic=_matrix(association(data.codes.synthetic, data.codes.sizes)),
            pairs=analysis.pairs.pairs,
            density=analysis.density,
            missingness=analysis.missingness,
            sdmetrics=analysis.sdmetrics,
            rules=check_rules(data),
            hospitals=compare_hospitals(data),
            prediction=analysis.prediction,
            survival=analysis.survival,
            images=analysis.images,
            privacy=privacy_of(data, analysis.attempts),
            fairness=_fairness(analysis),
        )
        steps.finish()
        return evidence


def _measure(analysis: Analysis, after_each: Callable[[], None]) -> dict[str, Measured | None]:
    measures: dict[str, Measured | None] = {}
    for key, measure in MEASURES.items():
        estimate = measure.compute(analysis)
        if estimate is None:
            measures[key] = None
        else:
            measures[key] = Measured(estimate, measure.reference(analysis), measure.has_interval)
        after_each()
    return measures


def _core_estimates(measures: Mapping[str, Measured | None]) -> dict[str, Estimate | None]:
    return {key: None if (measured := measures[key]) is None else measured.estimate for key in CORE_MEASURES}


def _judge(measures: Mapping[str, Measured | None]) -> Verdict:
    return judge(
        {key: None if measured is None else measured.estimate.value for key, measured in measures.items()},
        {key: None if measured is None else measured.reference for key, measured in measures.items()},
    )


def _fairness(analysis: Analysis) -> FairnessEvidence | None:
    """Compare groups by every measure; None where the study names no sensitive column."""
    data = analysis.data
    if not data.sensitive:
        return None
    measures: list[TableMeasure | PatientMeasure] = [
        *fidelity_measures(data),
        *utility_measures(analysis.core_predictions, data.holdout),
        *attack_measures(analysis.attempts, data),
    ]
    return assess_fairness(data, measures)


class _Steps:
    """Reports how many steps are done each time that it is called."""

    def __init__(self, emit: Emit, total: int) -> None:
        self.emit, self.done, self.total = emit, 0, total
        self._show()

    def __call__(self) -> None:
        self.done += 1
        self._show()

    def finish(self) -> None:
        self.done = self.total
        self._show()

    def _show(self) -> None:
        self.emit(Progressed(task="evaluation", done=self.done, total=self.total))


def _matrix(values: Floats) -> Matrix:
    return tuple(tuple(round(float(value), 4) for value in row) for row in values)
