"""The phase of private evaluation: when a plan has it, what it may change, and what a person reads about it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from common.arrays import Integers
from common.columns.base import Codes
from common.errors import StudyError, WireError
from common.marginals.queries import Query
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.choice import choose
from common.planning.evaluation import EVALUATION_WEIGHT, EvaluationTables, released_evaluation
from common.planning.phases import EVALUATION, HISTOGRAMS, PublicRun, measurements_of, training_phase, vector_phase
from common.planning.plan import ROUNDS, Plan
from common.planning.planner import make_plan
from tests.testbeds.clinic import clinic_study
from tests.testbeds.evaluating import a_classifier, evaluating_study, released_histograms
from tests.testbeds.marginals import random_codes

STUDY = evaluating_study()
PHASE = vector_phase(EVALUATION)
WEIGHT: dict[str, dict[str, object]] = {"budget": {"evaluation": EVALUATION_WEIGHT}}


class HeldOut:
    """Records of which only held-out rows may be read."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes

    def histograms(self, cells: int) -> Integers:
        raise AssertionError("training rows were read")

    def encoded(self, public: PublicRun) -> Codes:
        raise AssertionError("training rows were read")

    def held_out(self, public: PublicRun) -> Codes:
        return self.codes


class TestPlan:
    @pytest.mark.slow
    def test_has_it_where_the_study_asks_and_last(self) -> None:
        assert make_plan(STUDY).phases[-1] == EVALUATION
        rounds = make_plan(evaluating_study(training={"rounds": 2}))
        assert rounds.phases[-2:] == (ROUNDS, EVALUATION)
        assert Plan.from_json(rounds.to_json()) == rounds
        assert EVALUATION not in make_plan(evaluating_study(evaluation={"private": False})).phases

    def test_unset_key_leaves_the_fingerprint_of_a_study(self) -> None:
        plain = clinic_study()
        assert plain.amended(evaluation={"private": False}).fingerprint == plain.fingerprint
        assert plain.amended(evaluation={"private": True}).fingerprint != plain.fingerprint

    def test_needs_patients_who_are_held_out(self) -> None:
        with pytest.raises(StudyError, match="private = true needs patients who are held out"):
            clinic_study(evaluation={"private": True, "holdout_fraction": 0.0})

    def test_gets_the_part_that_the_budget_says(self) -> None:
        usual, more = (make_plan(study) for study in (STUDY, evaluating_study(budget={"evaluation": 0.5})))
        assert more.sigma(more.hospitals[0], EVALUATION) < usual.sigma(usual.hospitals[0], EVALUATION)
        assert more.sigma(more.hospitals[0], HISTOGRAMS) > usual.sigma(usual.hospitals[0], HISTOGRAMS)

    def test_its_weight_leaves_those_of_the_others_usual(self) -> None:
        plain: dict[str, dict[str, object]] = {"synthesizer": {"marginal_weight": 0.0}, "training": {"rounds": 1}}
        usual, named = (choose(evaluating_study(**plain, **more)).proportions for more in ({}, WEIGHT))
        assert usual == pytest.approx(named)

    def test_training_needs_nothing_of_it(self) -> None:
        plan = make_plan(evaluating_study(training={"rounds": 2}))
        assert EVALUATION not in training_phase().needs(plan)


class TestTables:
    def test_are_every_column_and_all_of_few_pairs(self) -> None:
        tables = EvaluationTables.planned(STUDY, math.inf)
        assert tables.singles == tuple(Query((column,), 8) for column in range(4))
        assert tables.pairs == tuple(Query(pair, 4) for pair in combinations(range(4), 2))
        # (4 + 6) / 2 = 5, the root of which is about 2; 10 + 2^2 = 14.
        assert (tables.weight, tables.squared_sensitivity) == (2, 14)

    def test_of_columns_are_left_out_where_noise_hides_them(self) -> None:
        every, no_pairs, predictions = EvaluationTables.choices(STUDY)
        assert (no_pairs.pairs, predictions.queries) == ((), ())
        # Predictions alone: 1 cell. With columns: 4 + 1^2 = 5, weight round(sqrt(2)) = 1.
        assert (predictions.squared_sensitivity, predictions.weight) == (1, 1)
        assert (no_pairs.squared_sensitivity, no_pairs.weight) == (5, 1)
        # Feigned at ratio r: 0.798 x 4 x sqrt(5 x 11) / (r / 4) = 94.7 / r, of pairs 0.798 x 8 x sqrt(14 x 11) x 4 / r
        # = 316.9 / r. Above 0.25 they are left out: below ratios of 379 and 1268.
        for ratio, chosen in ((378, predictions), (380, no_pairs), (1267, no_pairs), (1269, every)):
            assert EvaluationTables.planned(STUDY, ratio) == chosen
        assert EvaluationTables.planned(STUDY, math.inf) == every

    def test_are_those_of_the_planned_vector(self) -> None:
        vector = make_plan(STUDY).vector(EVALUATION)
        assert vector is not None
        with pytest.raises(WireError, match="other tables than its study"):
            EvaluationTables.of(STUDY, replace(vector, tables=3))
        for tables in EvaluationTables.choices(STUDY):
            assert EvaluationTables.of(STUDY, replace(vector, tables=tables.count)) == tables

    def test_largest_ones_bound_the_vector(self) -> None:
        public = released_histograms(STUDY)
        length = PHASE.shape(public, a_classifier(public)).length
        bounds = [cells for cells, _ in PHASE.largest(STUDY, public.plan, public.planned(EVALUATION))]
        assert length <= sum(bounds)
        # age, lab with missing, sex, outcome: 6 + 7 + 2 + 2, then pairs of at most 4, 5, 2 and 2, and 2 x 2 classes.
        assert bounds == [6, 7, 2, 2, 20, 8, 8, 10, 10, 4, 4]


class TestAnswer:
    @pytest.mark.parametrize("largest", [0, 9, 2**20])
    def test_one_patient_changes_no_more_than_is_charged(self, largest: int) -> None:
        public = released_histograms(STUDY)
        asked, codes = a_classifier(public, largest=largest), random_codes(60, public.domain)
        shape, planned = PHASE.shape(public, asked), public.planned(EVALUATION)
        assert (shape.squared_sensitivity, shape.largest_weight) == (planned.squared_sensitivity, 2)
        before = PHASE.answer(public, asked, HeldOut(codes))
        assert len(before) == shape.length
        for patient in random_codes(30, public.domain, seed=3):
            change = PHASE.answer(public, asked, HeldOut(np.insert(codes, 20, patient, axis=0))) - before
            assert int((change**2).sum()) == shape.squared_sensitivity
            assert int(np.abs(change).max()) == shape.largest_weight

    def test_of_no_patient_is_zero(self) -> None:
        public = released_histograms(STUDY)
        answer = PHASE.answer(public, a_classifier(public), HeldOut(random_codes(0, public.domain)))
        assert not answer.any()

    def test_refuses_what_is_no_classifier_of_the_study(self) -> None:
        public = released_histograms(STUDY)
        whole = a_classifier(public).weights
        for asked in (
            NOTHING_ASKED,
            Asked(weights=whole[:-1]),
            Asked(weights=whole + 2**21),
            Asked(np.array([0, 1]), whole),
            Asked(weights=whole, candidates=np.array([0])),
        ):
            with pytest.raises(WireError):
                PHASE.shape(public, asked)

    def test_of_the_coordinator_fits_the_phase(self) -> None:
        public = released_histograms(STUDY)
        asked = PHASE.ask(public, lambda public, rows: random_codes(rows, public.domain))
        assert PHASE.shape(public, asked).length > 0


class TestReleased:
    def test_tables_are_read_back(self) -> None:
        public = released_histograms(STUDY)
        asked, codes = a_classifier(public), random_codes(70, public.domain)
        after = public.after(EVALUATION, PHASE.answer(public, asked, HeldOut(codes)), asked)
        counts = released_evaluation(after)
        assert counts is not None
        assert [table.sum() for table in (*counts.singles, *counts.pairs)] == [70] * 10
        assert counts.confusion.shape == (2, 2)
        assert counts.confusion.sum() == 70
        assert counts.confusion_deviation == counts.deviation / 2
        assert released_evaluation(public) is None

    def test_no_measurement_comes_from_it(self) -> None:
        public = released_histograms(STUDY)
        asked = a_classifier(public)
        after = public.after(EVALUATION, np.zeros(PHASE.shape(public, asked).length, dtype=np.int64), asked)
        before, later = measurements_of(public), measurements_of(after)
        assert before is not None
        assert later is not None
        assert later.queries == before.queries


class TestConsent:
    def test_says_whom_it_counts_and_how_precisely(self) -> None:
        plan = make_plan(STUDY)
        north = plan.hospitals[0]
        (line,) = PHASE.sentences(STUDY, plan, north)
        sigma = plan.sigma(north, EVALUATION)
        assert line == (
            "- when the synthetic rows exist, noisy counts of the patients that were held out and trained nothing: by "
            "one column (4 tables), by two columns (6 tables), and by what a classifier that the coordinator sends "
            f"predicts beside what is true; each count is off by about {sigma:.3g} patients, those of the classifier "
            f"by about {sigma / 2:.3g}. This is charged beside the rest, as if every patient were in both"
        )
        shared = replace(plan, honest_hospitals=2)
        assert PHASE.sentences(STUDY, shared, north)[0].startswith("- under masks, when the synthetic rows exist")
