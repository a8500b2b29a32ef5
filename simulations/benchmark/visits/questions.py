"""The question asked of a case of visits: how much do synthetic histories look like real ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.from_study import layout_of, measured_visits
from common.evaluation.visits.measures import VISIT_MEASURES, visit_values
from common.study.study import Study
from common.tables.visits import visit_rows
from simulations.benchmark.questions import TEST_FRACTION, CaseOptions, Question, study_of, with_costs
from simulations.benchmark.results import COSTS, KEYS, Case
from simulations.benchmark.synthesis import SynthesisTask
from simulations.benchmark.tables import TableSource, load
from simulations.benchmark.visits.arms import VISIT_ARMS


@dataclass(frozen=True, slots=True, eq=False)
class PatientSplit:
    """One split of a table of visits by patient.

    Attributes:
        train, test: kept visits as `visit_rows` returns them.
        study: the study at the case's epsilon, without hospitals.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    study: Study

    @classmethod
    def of(cls, source: TableSource, case: Case, options: CaseOptions) -> PatientSplit:
        """Split the patients of the case's table: the same split for every arm and epsilon."""
        import torch

        torch.set_num_threads(1)
        loaded = load(source)
        rows = visit_rows(loaded.frame, loaded.study.declared)
        patients, _ = pd.factorize(rows[loaded.study.declared.patient])
        drawn = np.random.default_rng(case.seed).permutation(patients.max() + 1)
        is_test = np.isin(patients, drawn[: round(TEST_FRACTION * len(drawn))])
        study = study_of(case, loaded.study, options)
        return cls(rows[~is_test].reset_index(drop=True), rows[is_test].reset_index(drop=True), study)


def measure_visits(source: TableSource, case: Case, options: CaseOptions) -> dict[str, Any]:
    """Train the case's arm on its split and measure the visits that it makes."""
    split = PatientSplit.of(source, case, options)
    arm = VISIT_ARMS[case.arm]
    synthesized, costs = with_costs(lambda: arm.run(SynthesisTask(split.train, split.study, case.seed, options.peers)))
    train, test, synthetic = (measured_visits(rows, split.study) for rows in (split.train, split.test, synthesized))
    analysis = VisitAnalysis.of(train, test, synthetic, layout_of(split.study))
    values = {key: None if value is None else round(value, 4) for key, value in visit_values(analysis).items()}
    return values | costs | {"delta": split.study.privacy.delta if arm.has_budget else None}


VISITS = Question(measure_visits, "visits.csv", (*KEYS, *VISIT_MEASURES, *COSTS))
