from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.evaluation.measures.analysis import Analysis
from common.evaluation.report.html import page_template
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.evaluation.statistics.intervals import Estimate
from common.evaluation.utility.hospital_gains import (
    MOST_HOSPITALS,
    THIS,
    WAYS,
    HospitalGain,
    gains_by_answer,
    hospital_gains,
)
from common.evaluation.utility.taking_part import FACTORS, USUAL, Examples, chosen_factor, row_weights, train_both
from common.evaluation.utility.train_on_synthetic import Predictions, value_on_held_out
from tests.testbeds.evaluation_tables import TARGET, heart, heart_data


def patients(seed: int, rows: int, *, slope: float = 1.0) -> Examples:
    """Patients whose risk grows with one of four numbers; with a slope below 0, it falls."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    is_ill = rng.random(rows) < 1 / (1 + np.exp(-2 * slope * x[:, 0]))
    return Examples(pd.DataFrame(x, columns=list("abcd")), np.where(is_ill, "yes", "no").astype(object))


class TestWeights:
    def test_synthetic_rows_weigh_a_multiple_by_class(self) -> None:
        own = np.array(["no", "no", "no", "yes"], dtype=object)
        synthetic = np.array(["no", "yes", "yes", "yes"], dtype=object)
        # 3 times four own rows are 12, shared as (3 + 1) to (1 + 1): 8 for one row of "no", 4 for three of "yes".
        np.testing.assert_allclose(row_weights(own, synthetic, 3.0), [1, 1, 1, 1, 8, 4 / 3, 4 / 3, 4 / 3])

    @pytest.mark.parametrize(("slope", "expected"), [(-1.0, 0.0), (1.0, USUAL)])
    def test_rows_of_other_people_are_left_out(self, slope: float, expected: float) -> None:
        own, synthetic = patients(0, 300), patients(1, 1000, slope=slope)
        x = np.concatenate([own.features, synthetic.features])
        assert chosen_factor(x, np.concatenate([own.classes, synthetic.classes]), 300) == expected

    def test_one_patient_of_a_class_chooses_nothing(self) -> None:
        own, synthetic = patients(0, 40), patients(1, 200, slope=-1.0)
        own.classes[:] = "no"
        own.classes[0] = "yes"
        x = np.concatenate([own.features, synthetic.features])
        assert chosen_factor(x, np.concatenate([own.classes, synthetic.classes]), 40) == USUAL


class TestTrainBoth:
    def test_good_synthetic_rows_help_twenty_patients(self) -> None:
        own, others, synthetic = patients(0, 20), patients(1, 500), patients(2, 1000)
        found = train_both(own, synthetic, others.features, frozenset("abcd"))
        alone, both = (value_on_held_out(side, others.classes) for side in (found.own, found.both))
        assert both > alone
        assert found.factor in FACTORS

    def test_patients_of_one_class_teach_nothing_alone(self) -> None:
        own, others, synthetic = patients(0, 20), patients(1, 100), patients(2, 1000)
        own.classes[:] = "no"
        found = train_both(own, synthetic, others.features, frozenset("abcd"))
        assert found.own is None
        assert found.both is not None


@pytest.fixture(scope="module")
def core(data: EvaluationData) -> Predictions:
    found = Analysis(data).core_predictions
    assert found is not None
    return found


@pytest.fixture(scope="module")
def data() -> EvaluationData:
    """The training rows as if they were synthetic; a tenth of the patients are of a small hospital."""
    train, holdout = heart()
    owners = [np.where(np.arange(len(table)) % 10 == 0, "small", "large").astype(object) for table in (train, holdout)]
    return replace(heart_data(train), hospitals=HospitalLabels(owners[0], owners[1]))


class TestHospitals:
    def test_each_is_tested_on_its_own_patients(self, data: EvaluationData, core: Predictions) -> None:
        large, small = hospital_gains(data, core)
        assert (large.name, large.rows, large.patients) == ("large", 662, 165)
        assert (small.name, small.rows, small.patients) == ("small", 74, 19)
        assert small.gain is not None
        assert small.auroc_both is not None
        assert small.auroc_own is not None
        assert small.gain.value == pytest.approx(small.auroc_both.value - small.auroc_own.value)

    def test_best_way_leads_the_second(self, data: EvaluationData, core: Predictions) -> None:
        for gain in hospital_gains(data, core):
            scores = (gain.auroc_own, gain.auroc_both, gain.auroc_synthetic)
            ordered = sorted(
                ((score.value, way) for score, way in zip(scores, WAYS, strict=True) if score is not None),
                key=lambda scored: -scored[0],
            )
            assert gain.best == ordered[0][1]
            assert gain.lead is not None
            assert gain.lead.value == pytest.approx(ordered[0][0] - ordered[1][0])
            assert gain.lead.low <= gain.lead.value <= gain.lead.high

    def test_held_out_patients_of_one_class_test_nothing(self, data: EvaluationData, core: Predictions) -> None:
        assert data.hospitals is not None
        owners = np.where(data.holdout[TARGET] == "yes", "small", "large").astype(object)
        found = hospital_gains(replace(data, hospitals=HospitalLabels(data.hospitals.training, owners)), core)
        assert {gain.answer for gain in found} == {"cannot be tested"}
        assert found[0].gain is None

    def test_hospital_that_looks_at_itself_is_one(self, data: EvaluationData, core: Predictions) -> None:
        alone = replace(data, hospitals=None, is_one_hospital=True)
        assert [(gain.name, gain.rows) for gain in hospital_gains(alone, core)] == [(THIS, 736)]
        assert hospital_gains(replace(data, hospitals=None), core) == ()

    def test_of_many_the_smallest_are_measured(self, data: EvaluationData, core: Predictions) -> None:
        names = np.array([f"h{number:02}" for number in range(12)], dtype=object)
        owners = [names[np.minimum(np.arange(len(table)) % 20, 11)] for table in (data.train, data.holdout)]
        found = hospital_gains(replace(data, hospitals=HospitalLabels(owners[0], owners[1])), core)
        assert len(found) == MOST_HOSPITALS
        assert "h11" not in [gain.name for gain in found]  # nine of twenty patients are its own

    def test_answers_are_gathered(self, data: EvaluationData, core: Predictions) -> None:
        large, small = (replace(gain, answer="harms") for gain in hospital_gains(data, core))
        helped = replace(large, name="third", answer="helps")
        assert gains_by_answer([large, small, helped]) == [("It helps", ["third"]), ("It harms", ["large", "small"])]

    def test_page_says_it_per_hospital(self) -> None:
        own, both, alone, gain, lead = (
            Estimate(value, value - 0.1, value + 0.1, 20) for value in (0.7, 0.9, 0.88, 0.2, 0.02)
        )
        found = (
            HospitalGain("north", 80, 20, 4.0, own, both, alone, gain, "helps", WAYS[1], lead),
            HospitalGain("south", 8, 2, None, None, None, None, None, "cannot be tested", None, None),
        )
        page = page_template("taking_part.html.jinja").render(
            prediction={"taking_part": found}, evidence={"target": "ill", "images": None}, gains=gains_by_answer(found),
            usual_factor="4", run=None,
        )  # fmt: skip
        assert "<strong>It helps</strong>: north." in page
        assert "+0.20 (+0.10 to +0.30)" in page
        assert '<td>own and synthetic rows</td><td class="number">+0.02 (-0.08 to +0.12)</td>' in page
        assert "held-out patients of one class</td><td>cannot be tested" in page
