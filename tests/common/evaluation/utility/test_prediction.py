from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.registry import MEASURES
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.evaluation.statistics.intervals import Statistic
from common.evaluation.utility.learners import LEARNERS, Prediction, predict
from common.evaluation.utility.model_choice import regret_of
from common.evaluation.utility.prediction import PredictionUtility, _calibration_error
from common.evaluation.utility.scoring import average_precision, brier, calibration_error, calibration_noise
from common.evaluation.utility.survival import concordance, fit_hazards, kaplan_meier, measure_survival
from common.evaluation.utility.train_on_synthetic import CORE_LEARNERS
from common.study.schema import Schema
from tests.testbeds.evaluation_tables import TARGET, data_of, heart, heart_data, permuted


def once(statistic: Statistic, patients: int) -> float:
    return float(statistic(np.ones((1, patients)))[0])


@pytest.fixture(scope="module")
def of_real_rows() -> PredictionUtility:
    """The training rows as if they were synthetic."""
    train, holdout = heart()
    owners = [np.where(np.arange(len(table)) % 2 == 0, "even", "odd").astype(object) for table in (train, holdout)]
    utility = Analysis(replace(heart_data(train), hospitals=HospitalLabels(owners[0], owners[1]))).prediction
    assert utility is not None
    return utility


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.3
    scores = np.where(truth, 0.2, 0.0) + rng.random(60).round(1) * 0.8
    assert once(average_precision(truth, scores), 60) == pytest.approx(average_precision_score(truth, scores))
    assert once(brier(truth, scores), 60) == pytest.approx(brier_score_loss(truth, scores))


def test_calibration_error_is_the_gap_of_predicted_and_observed() -> None:
    truth = np.array([False, False, False, True] * 5)
    assert once(calibration_error(truth, np.full(20, 0.25)), 20) == 0.0  # five of twenty, as promised
    assert once(calibration_error(truth, np.full(20, 0.75)), 20) == 0.5


def test_calibration_noise_is_what_a_resample_moves() -> None:
    truth = np.array([False, False, False, True])
    # One group; surpluses 1/4, 1/4, 1/4, -3/4. Without the last patient and with the first twice: 1/4 + 3/4 over 4.
    assert calibration_noise(truth, np.full(4, 0.25))(np.array([[2.0, 1.0, 1.0, 0.0]])) == pytest.approx(0.25)
    assert once(calibration_noise(truth, np.full(4, 0.25)), 4) == 0.0


@pytest.mark.parametrize(("shift", "fewest"), [(0.0, 34), (0.15, 34)])
def test_intervals_of_the_calibration_error_hold_the_truth(shift: float, fewest: int) -> None:
    held, rng = 0, np.random.default_rng(0)
    for _ in range(40):
        promised = 0.75 * rng.beta(2, 3, 200)
        truth = np.where(rng.random(200) < promised + shift, "yes", "no").astype(object)
        prediction = Prediction(("no", "yes"), np.column_stack([1 - promised, promised]))
        found = _calibration_error(truth, prediction, ["yes"])
        held += found.low <= shift <= found.high
    assert held >= fewest  # of 40; percentiles held a calibrated learner's 0 in none


def test_regret_allows_any_learner_to_be_the_best() -> None:
    # Three learners on the patients and on two resamples; the first is chosen. Its rivals are ahead by 0.1 and -0.1,
    # on the resamples by 0.15 and -0.2, 0.1 and -0.1: the largest errors are 0.1 and 0, and 95 % of the way is 0.095.
    areas = np.array([[0.7, 0.7, 0.7], [0.8, 0.85, 0.8], [0.6, 0.5, 0.6]])
    found = regret_of(areas, 0, 50)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.005, 0.195))
    nothing_lost = regret_of(areas, 1, 50)
    assert nothing_lost.value == nothing_lost.low == 0.0
    assert nothing_lost.high > 0


def test_scores_weigh_like_repeated_patients() -> None:
    truth, scores = np.array([True, False, False]), np.array([0.4, 0.6, 0.1])
    twice = np.array([0, 0, 1, 2])
    for score in (average_precision, brier, calibration_error):
        weighted = float(score(truth, scores)(np.array([[2.0, 1.0, 1.0]]))[0])
        if score is not calibration_error:  # whose groups are made of the patients as they are
            assert weighted == pytest.approx(once(score(truth[twice], scores[twice]), 4))


def test_core_measures_are_the_areas_of_their_learners() -> None:
    train, _ = heart()
    analysis = Analysis(heart_data(permuted(train)))
    assert analysis.prediction is not None
    by_name = {learner.name: learner for learner in analysis.prediction.learners}
    for key, name in CORE_LEARNERS.items():
        estimate, reference = MEASURES[key].compute(analysis), MEASURES[key].reference(analysis)
        assert estimate is not None
        assert estimate.value == pytest.approx(by_name[name].auroc_synthetic.value)
        assert (estimate.low, estimate.high) == (by_name[name].auroc_synthetic.low, by_name[name].auroc_synthetic.high)
        assert reference == pytest.approx(by_name[name].auroc_real.value)


def test_compare_predictions_of_real_rows_lose_nothing(of_real_rows: PredictionUtility) -> None:
    for trial in of_real_rows.learners:
        assert trial.gap.value == trial.gap.low == trial.gap.high == 0.0
        assert trial.auroc_real.value > 0.8
        assert trial.calibration_real == trial.calibration_synthetic
        assert sum(point.observed.size for point in trial.calibration_real) == of_real_rows.patients
    assert [trial.name for trial in of_real_rows.learners] == list(LEARNERS)


def test_choose_model_is_scored_on_real_patients(of_real_rows: PredictionUtility) -> None:
    found = of_real_rows.model_choice
    assert found is not None
    assert 0.5 <= found.same_order.value <= 1
    assert found.regret.value >= 0
    assert found.best_by_synthetic in {learner.title for learner in LEARNERS.values()}


def test_compare_predictions_score_hospitals_on_their_own(of_real_rows: PredictionUtility) -> None:
    assert [(site.name, site.patients) for site in of_real_rows.hospitals] == [("even", 92), ("odd", 92)]
    assert all(site.gap is not None and site.gap.value == 0.0 for site in of_real_rows.hospitals)


def test_augment_balances_the_classes() -> None:
    train, holdout = heart()
    scarce = pd.concat([train[train[TARGET] == "no"], train[train[TARGET] == "yes"].head(40)], ignore_index=True)
    asked: list[tuple[str, int]] = []

    def of_class(label: str, rows: int) -> pd.DataFrame:
        asked.append((label, rows))
        return train

    found = Analysis(replace(data_of(scarce, train, holdout), draw_class=of_class)).prediction
    assert found is not None
    healthy = int((scarce[TARGET] == "no").sum())
    assert asked == [("yes", healthy - 40)]
    assert found.minority_class == "yes"
    assert found.added_rows == healthy - 40
    gains = {arm.name: arm.auroc_gain for arm in found.augmentation}
    assert gains["gb"].value > 0  # real rows of the scarce outcome, given back, help


def test_predictions_of_one_class_are_empty() -> None:
    train, holdout = heart()
    healthy = train[train[TARGET] == "no"].reset_index(drop=True)
    assert predict(healthy, train, holdout, TARGET) == {}
    analysis = Analysis(heart_data(healthy))
    assert analysis.predictions is not None
    assert analysis.predictions.synthetic == {}
    assert analysis.prediction is None
    assert Analysis(heart_data(train, rows=0)).predictions is None


def test_kaplan_meier_worked_out_by_hand() -> None:
    times, happened = np.array([1.0, 2.0, 2.0, 3.0, 5.0]), np.array([True, True, False, True, False])
    curve = kaplan_meier(times, happened, np.array([0.5, 1.0, 2.0, 3.0, 9.0]), np.ones((1, 5)))
    # 4/5 are left after 1; 4 are at risk at 2 and one falls: 3/5; 2 are at risk at 3 and one falls: 3/10.
    np.testing.assert_allclose(curve[0], [1.0, 0.8, 0.6, 0.3, 0.3])
    twice = kaplan_meier(np.repeat(times, 2), np.repeat(happened, 2), np.array([3.0]), np.ones((1, 10)))
    assert float(twice[0, 0]) == pytest.approx(0.3)


def test_concordance_counts_pairs_whose_order_is_known() -> None:
    times, happened = np.array([1.0, 2.0, 3.0]), np.array([True, False, True])
    # Known: 1 before 2 and 1 before 3. Nobody knows when the second one falls.
    assert once(concordance(times, happened, np.array([3.0, 9.0, 1.0])), 3) == 0.5
    assert once(concordance(times, happened, np.array([3.0, 3.0, 1.0])), 3) == 0.75  # a tie counts half


def test_fit_hazards_recovers_the_coefficients() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    falls = rng.exponential(1 / np.exp(x @ np.array([1.0, -0.5])))
    leaves = rng.exponential(2.0, size=4000)
    found = fit_hazards(x, np.minimum(falls, leaves).round(3), falls <= leaves)
    np.testing.assert_allclose(found, [1.0, -0.5], atol=0.08)


def test_measure_survival_compares_both_tables() -> None:
    schema = Schema(
        columns=(
            Numeric(name="age", lower=0, upper=100),
            Numeric(name="days", lower=0, upper=1000),
            Categorical(name="died", categories=("no", "yes")),
        )
    )

    def patients(seed: int, rows: int, pace: float) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        age = rng.uniform(20, 90, rows).round()
        falls = rng.exponential(pace / np.exp((age - 55) / 20))
        return pd.DataFrame(
            {"age": age, "days": np.minimum(falls, 400).round(), "died": np.where(falls < 400, "yes", "no")}
        )

    train, holdout = patients(0, 500, 300.0), patients(1, 300, 300.0)
    like, slower = (
        measure_survival(EvaluationData(train, holdout, patients(2, 500, pace), schema, "died", time="days"))
        for pace in (300.0, 900.0)
    )
    assert like is not None
    assert slower is not None
    assert slower.curve_distance.low > like.curve_distance.high
    assert like.concordance_synthetic is not None
    assert like.concordance_synthetic.low > 0.6
    assert like.gap is not None
    assert like.gap.low <= 0.02
    nobody = train.assign(died="no")
    assert measure_survival(EvaluationData(train, holdout, nobody, schema, "died", time="days")) is None
    assert measure_survival(EvaluationData(train, holdout, train, schema, "died")) is None
    at_once = train.assign(days=0.0)
    assert measure_survival(EvaluationData(at_once, holdout, train, schema, "died", time="days")) is None
    alive = holdout.assign(died="no")
    without_pairs = measure_survival(EvaluationData(train, alive, train, schema, "died", time="days"))
    assert without_pairs is not None
    assert without_pairs.gap is None
