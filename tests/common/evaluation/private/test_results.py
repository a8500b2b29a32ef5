"""What released counts of held-out patients say, worked out by hand, and the page that says it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from common.columns.base import Codes
from common.evaluation.private.page import NOTHING_KNOWN, figures_of, introduction, to_markdown
from common.evaluation.private.results import PrivateEvaluation, evaluate_privately
from common.planning.phases import EVALUATION, PublicRun, vector_phase
from common.planning.planner import make_plan
from tests.common.planning.test_evaluation import HeldOut
from tests.testbeds.evaluating import a_classifier, evaluating_study, released_histograms
from tests.testbeds.marginals import random_codes

EXACT = evaluating_study(privacy={"delta": 1e-5, "noise": "none"})
PHASE = vector_phase(EVALUATION)


def evaluated(public: PublicRun, patients: Codes, synthetic: Codes) -> PrivateEvaluation:
    """Evaluate a run whose released counts are the exact ones of these patients."""
    asked = a_classifier(public, largest=0)  # of zeros: predicts the first class
    found = evaluate_privately(
        public.after(EVALUATION, PHASE.answer(public, asked, HeldOut(patients)), asked), synthetic
    )
    assert found is not None
    return found


class TestEvaluatePrivately:
    def test_counts_are_compared_table_by_table(self) -> None:
        public = released_histograms(EXACT)
        patients, made = np.zeros((400, 4), np.int16), np.zeros((50, 4), np.int16)
        made[:25, 2] = 1  # half of the synthetic rows have another sex
        found = evaluated(public, patients, made)
        assert (found.patients, found.tables1, found.tables2) == (400, 4, 6)
        # Distance 1/2 in one of four columns, and in three of six pairs.
        assert found.tvd1 is not None
        assert found.tvd2 is not None
        assert found.tvd1.value == pytest.approx(0.125)
        assert found.tvd2.value == pytest.approx(0.25)
        assert {name: estimate.value for name, estimate in found.columns.items()} == pytest.approx(
            {"age": 0.0, "lab": 0.0, "sex": 0.5, "outcome": 0.0}
        )

    def test_predictions_are_rates_by_class(self) -> None:
        public = released_histograms(EXACT)
        patients = random_codes(400, public.domain)
        patients[:, 3] = np.arange(400) >= 300  # 300 no, 100 yes; all are predicted to be no
        found = evaluated(public, patients, random_codes(90, public.domain)).prediction
        assert found is not None
        assert (found.target, found.classes) == ("outcome", ("no", "yes"))
        assert found.accuracy.value == pytest.approx(0.75)
        assert [recall.value for recall in found.recalls] == pytest.approx([1.0, 0.0], abs=1e-9)

    def test_a_run_without_it_has_none(self) -> None:
        public = released_histograms(EXACT)
        assert evaluate_privately(public, random_codes(9, public.domain)) is None

    def test_numbers_have_groups_for_classes(self) -> None:
        study = evaluating_study(
            privacy={"delta": 1e-5, "noise": "none"},
            evaluation={"private": True, "target": "age", "sensitive": ["sex"]},
        )
        public = released_histograms(study)
        found = evaluated(public, random_codes(300, public.domain), random_codes(90, public.domain)).prediction
        assert found is not None
        assert found.classes[0] == f"group 1 of {len(found.classes)}, lowest first"

    def test_nothing_is_said_where_noise_hides_the_patients(self) -> None:
        public = released_histograms(evaluating_study())
        found = evaluated(public, random_codes(0, public.domain), random_codes(90, public.domain))
        assert (found.tvd1, found.tvd2, found.columns, found.prediction) == (None, None, {}, None)
        page = to_markdown(found.as_document(), "clinic")
        assert NOTHING_KNOWN in page
        assert figures_of(found.as_document()) == []

    def test_predictions_alone_need_no_tables(self) -> None:
        study = evaluating_study(privacy={"delta": 1e-5, "epsilon": 0.2})
        plan = make_plan(study)
        vector = plan.vector(EVALUATION)
        assert vector is not None
        assert (vector.tables, vector.squared_sensitivity, vector.largest_weight) == (1, 1, 1)
        public = released_histograms(study)
        found = evaluated(public, random_codes(900, public.domain), random_codes(90, public.domain))
        assert (found.noise, found.tvd1, found.tables1) == (None, None, 0)
        assert found.prediction is not None
        assert "noise would have hidden them" in introduction(found.as_document())


class TestPage:
    def test_shows_intervals_and_no_figure_that_noise_hides(self) -> None:
        public = released_histograms(EXACT)
        found = evaluated(public, random_codes(400, public.domain), random_codes(90, public.domain))
        assert found.tvd1 is not None
        wide = replace(found.tvd1, low=0.0, high=0.9)
        page = to_markdown(replace(found, tvd1=wide).as_document(), "clinic")
        assert "| distance of single columns, mean of 4 | hidden by noise | 0.000 to 0.900 |" in page
        assert f"| specificity: patients of class 'no' who are predicted to be in it | {1:.3f} | " in page
        assert math.isclose(found.noise or 0.0, 0.0)
