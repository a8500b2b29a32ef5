from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.registry import MEASURES
from common.evaluation.statistics.values import labels
from common.evaluation.utility.train_on_synthetic import auroc_on_held_out, macro_auroc, train_core, why_no_prediction
from tests.testbeds.evaluation_tables import SYNTHETIC, TARGET, data_of, heart, heart_data


def test_macro_auroc_is_the_share_of_ordered_pairs() -> None:
    truth = np.array(["no", "no", "yes", "yes"], dtype=object)
    yes = np.array([0.1, 0.6, 0.4, 0.8])
    # yes above no: 0.4 > 0.1, 0.8 > 0.1, 0.8 > 0.6, but not 0.4 > 0.6: 3 of 4 pairs
    assert macro_auroc(truth, np.column_stack([1 - yes, yes]), ["no", "yes"]) == 0.75


def test_macro_auroc_averages_over_shared_classes() -> None:
    truth = np.array(["a", "b", "c"], dtype=object)
    probabilities = np.array([[0.8, 0.2, 0.0], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3]])
    # a: 0.8 above 0.1 and 0.3, 1. b: 0.3 above 0.2, below 0.4, 1/2. The learner knows no c, the truth no d.
    assert macro_auroc(truth, probabilities, ["a", "b", "d"]) == pytest.approx(0.75)
    assert macro_auroc(truth, probabilities, ["d", "e", "f"]) == 0.5


def test_train_core_predicts_better_from_real_rows() -> None:
    train, holdout = heart()
    data = heart_data(SYNTHETIC["permuted"](train))
    truth = labels(holdout[TARGET])
    real, shuffled = (
        auroc_on_held_out(train_core(data, on_synthetic=on_synthetic)["gb"], truth).value
        for on_synthetic in (False, True)
    )
    assert real > 0.85 > shuffled


def test_why_no_prediction_names_a_continuous_target() -> None:
    data = replace(heart_data(heart()[0]), target="age")
    assert "distinct numbers" in (why_no_prediction(data) or "")
    assert MEASURES["auc_gb"].compute(Analysis(data)) is None


def test_why_no_prediction_names_a_single_class() -> None:
    train, holdout = heart()
    data = data_of(train, train, holdout[holdout[TARGET] == "no"])
    assert "nothing to tell apart" in (why_no_prediction(data) or "")
    assert MEASURES["auc_gb"].compute(Analysis(data)) is None


def test_auroc_of_one_trained_class_is_chance() -> None:
    train, _ = heart()
    analysis = Analysis(heart_data(train[train[TARGET] == "no"]))
    for key in ("auc_lr", "auc_gb"):
        estimate = MEASURES[key].compute(analysis)
        assert estimate is not None
        assert estimate.value == 0.5


def test_train_core_survives_a_class_seen_once() -> None:
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"age": rng.normal(size=10_001), "ill": rng.choice(["no", "yes"], 10_001)})
    train.loc[0, "ill"] = "unknown"
    data = data_of(train, train, train.iloc[1:101])
    predictions = train_core(data, on_synthetic=True)
    assert set(predictions) == {"lr", "gb"}
    for prediction in predictions.values():
        assert 0 <= auroc_on_held_out(prediction, labels(data.holdout["ill"])).value <= 1
