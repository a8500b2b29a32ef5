"""Intermediate results that several measures and sections of a report share, each computed when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.evaluation.attacks.catalog import Attempts, run_attacks, why_no_attacks
from common.evaluation.fidelity.density import Density, measure_density
from common.evaluation.fidelity.marginals import OTHER_GRIDS
from common.evaluation.fidelity.missingness import Missingness, measure_missingness
from common.evaluation.fidelity.relations import PairComparison, compare_pairs
from common.evaluation.fidelity.sdmetrics_scores import SdmetricsScores, sdmetrics_scores
from common.evaluation.fidelity.two_sample_test import c2st
from common.evaluation.images.evidence import ImageEvidence, assess_images
from common.evaluation.statistics.codes import CodedTables, encode, encode_on_grids
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.statistics.values import Labels, labels
from common.evaluation.utility.learners import Prediction
from common.evaluation.utility.model_choice import ModelChoice
from common.evaluation.utility.prediction import PredictionUtility, compare_predictions
from common.evaluation.utility.survival import Survival, measure_survival
from common.evaluation.utility.train_on_synthetic import (
    Predictions,
    tested_rows,
    train_core,
    train_others,
    why_no_prediction,
)
from common.run_events.events import Emit, ignore


@dataclass(frozen=True, eq=False)
class Analysis:
    """An evaluation in progress. A measure asks for what it needs; what two measures need is computed once.

    Attributes:
        data: tables under evaluation.
        emit: takes the progress of the attacks.
    """

    data: EvaluationData
    emit: Emit = ignore

    @cached_property
    def core_codes(self) -> CodedTables:
        """Both tables on 16 quantile bins; column types by the values of the training rows, as the yardstick does."""
        return encode(self.data.train, self.data.synthetic)

    @cached_property
    def core_grids(self) -> tuple[CodedTables, ...]:
        """Both tables on each of `OTHER_GRIDS`; column types by the values of the training rows."""
        return encode_on_grids(self.data.train, self.data.synthetic, OTHER_GRIDS)

    @cached_property
    def told_apart(self) -> Estimate | None:
        """The classifier two-sample test."""
        return c2st(self.data.train, self.data.synthetic)

    @cached_property
    def pairs(self) -> PairComparison:
        """Relations between columns."""
        return compare_pairs(self.data)

    @cached_property
    def density(self) -> Density | None:
        """Coverage and density of whole rows."""
        return measure_density(self.data)

    @cached_property
    def missingness(self) -> Missingness | None:
        """Missing values."""
        return measure_missingness(self.data)

    @cached_property
    def sdmetrics(self) -> SdmetricsScores | None:
        """The two reports of SDMetrics; None where the library is not installed."""
        return sdmetrics_scores(self.data)

    @cached_property
    def survival(self) -> Survival | None:
        """Survival curves and concordance; None without a time column."""
        return measure_survival(self.data)

    @cached_property
    def why_no_prediction(self) -> str | None:
        """Why nothing can be predicted, as a sentence; None if it can."""
        return why_no_prediction(self.data)

    @cached_property
    def truth(self) -> Labels:
        """The target of the held-out patients."""
        return labels(self.data.holdout[self.data.target])

    @cached_property
    def trained_on_synthetic(self) -> dict[str, Prediction]:
        """Predictions of the core measures' learners, trained on synthetic rows."""
        return train_core(self.data, on_synthetic=True)

    @cached_property
    def trained_on_real(self) -> dict[str, Prediction]:
        """Predictions of the core measures' learners, trained on real rows."""
        return train_core(self.data, on_synthetic=False)

    @cached_property
    def core_predictions(self) -> Predictions | None:
        """Predictions of the core measures' learners for all held-out patients; None if nothing can be predicted."""
        if self.why_no_prediction is not None:
            return None
        rows = np.arange(len(self.data.holdout))
        return Predictions(rows, self.truth, synthetic=self.trained_on_synthetic, real=self.trained_on_real)

    @cached_property
    def predictions(self) -> Predictions | None:
        """Predictions of all learners for the patients of `tested_rows`; None if nothing can be predicted."""
        if self.core_predictions is None:
            return None
        rows = tested_rows(self.data)
        core = self.core_predictions.at(rows)
        return Predictions(
            rows,
            core.truth,
            synthetic={**core.synthetic, **train_others(self.data, rows, on_synthetic=True)},
            real={**core.real, **train_others(self.data, rows, on_synthetic=False)},
        )

    @cached_property
    def prediction(self) -> PredictionUtility | None:
        """How useful the table is for predicting the target."""
        if self.core_predictions is None or self.predictions is None:
            return None
        return compare_predictions(self.data, self.core_predictions, self.predictions)

    @property
    def model_choice(self) -> ModelChoice | None:
        """Whether the table leads to the right learner."""
        return None if self.prediction is None else self.prediction.model_choice

    @cached_property
    def images(self) -> ImageEvidence | None:
        """Synthetic images against real ones; None for a study without images, or with too few."""
        return None if self.data.images is None else assess_images(self.data.images)

    @cached_property
    def attempts(self) -> Attempts | None:
        """What every attack did; None where there are too few rows."""
        return run_attacks(self.data, emit=self.emit) if why_no_attacks(self.data) is None else None
