from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from common.evaluation.registry import METRICS, evaluate
from common.evaluation.utility.train_on_synthetic import macro_auroc, predict_held_out, why_no_utility
from tests.testbeds.evaluation_tables import SYNTHETIC, TARGET, heart

# What the yardstick script printed for these tables; not what this package computed.
YARDSTICK = {
    "permuted": {
        "tvd1": 0.0,
        "tvd2": 0.1653,
        "tvd3": 0.3536,
        "tvd2g": 0.1683,
        "tvd3g": 0.3584,
        "auc_lr": 0.7345,
        "auc_gb": 0.5552,
        "c2st": 0.9448,
    },
    "thinned": {
        "tvd1": 0.111,
        "tvd2": 0.1949,
        "tvd3": 0.3017,
        "tvd2g": 0.1967,
        "tvd3g": 0.3038,
        "auc_lr": 0.9154,
        "auc_gb": 0.8903,
        "c2st": 0.8551,
    },
}


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_the_numbers_are_those_of_the_yardstick(kind: str) -> None:
    train, holdout = heart()
    measured = evaluate(train, holdout, SYNTHETIC[kind](train), TARGET)
    exact = ("tvd1", "tvd2", "tvd3", "tvd2g", "tvd3g")
    assert {name: measured[name] for name in exact} == {name: YARDSTICK[kind][name] for name in exact}
    # Learners may differ in the third decimal between processors and versions of scikit-learn.
    assert measured == pytest.approx(YARDSTICK[kind], abs=5e-3)


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_the_numbers_equal_the_yardstick_run_beside_it(kind: str) -> None:
    file = os.environ.get("FEDSYNTH_YARDSTICK")
    if file is None:
        pytest.skip("set FEDSYNTH_YARDSTICK to the yardstick's file to compare with it")
    spec = importlib.util.spec_from_file_location("yardstick", Path(file))
    assert spec is not None
    assert spec.loader is not None
    yardstick = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(yardstick)
    train, holdout = heart()
    synthetic = SYNTHETIC[kind](train)
    assert evaluate(train, holdout, synthetic, TARGET) == yardstick.evaluate(train, holdout, synthetic, TARGET)


def test_every_metric_says_how_to_read_it() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.low <= metric.best <= metric.high
        assert metric.meaning.endswith(".")


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    truth = np.array(["no", "no", "yes", "yes"], dtype=object)
    yes = np.array([0.1, 0.6, 0.4, 0.8])
    # yes above no: 0.4 > 0.1, 0.8 > 0.1, 0.8 > 0.6, but not 0.4 > 0.6: 3 of 4 pairs
    assert macro_auroc(truth, np.column_stack([1 - yes, yes]), ["no", "yes"]) == 0.75


def test_auroc_is_averaged_over_the_classes_on_both_sides() -> None:
    truth = np.array(["a", "b", "c"], dtype=object)
    probabilities = np.array([[0.8, 0.2, 0.0], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3]])
    # a: 0.8 above 0.1 and 0.3, 1. b: 0.3 above 0.2, below 0.4, 1/2. The learner knows no c, the truth no d.
    assert macro_auroc(truth, probabilities, ["a", "b", "d"]) == pytest.approx(0.75)
    assert macro_auroc(truth, probabilities, ["d", "e", "f"]) == 0.5


def test_real_rows_predict_better_than_shuffled_ones() -> None:
    train, holdout = heart()
    real = predict_held_out(train, train, holdout, TARGET)["auc_gb"]
    shuffled = predict_held_out(SYNTHETIC["permuted"](train), train, holdout, TARGET)["auc_gb"]
    assert real is not None
    assert shuffled is not None
    assert real > 0.85 > shuffled


def test_without_held_out_rows_only_fidelity_is_measured() -> None:
    train, holdout = heart()
    measured = evaluate(train, holdout.head(0), train, TARGET)
    assert [name for name, score in measured.items() if score is None] == ["auc_lr", "auc_gb"]
    assert "held out" in (why_no_utility(train, holdout.head(0), TARGET) or "")


def test_a_continuous_target_is_not_treated_as_classes() -> None:
    train, holdout = heart()
    assert predict_held_out(train, train, holdout, "age") == {"auc_lr": None, "auc_gb": None}
    assert "distinct numbers" in (why_no_utility(train, holdout, "age") or "")


def test_held_out_rows_of_one_class_answer_nothing() -> None:
    train, holdout = heart()
    healthy = holdout[holdout[TARGET] == "no"]
    assert predict_held_out(train, train, healthy, TARGET) == {"auc_lr": None, "auc_gb": None}


def test_a_table_with_one_class_is_as_good_as_guessing() -> None:
    train, holdout = heart()
    healthy = train[train[TARGET] == "no"]
    assert predict_held_out(healthy, train, holdout, TARGET) == {"auc_lr": 0.5, "auc_gb": 0.5}


def test_a_class_seen_once_in_a_long_table_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"age": rng.normal(size=10_001), "ill": rng.choice(["no", "yes"], 10_001)})
    train.loc[0, "ill"] = "unknown"
    scores = predict_held_out(train, train, train.iloc[1:101], "ill")
    assert all(score is not None and 0 <= score <= 1 for score in scores.values())


def test_a_column_that_is_all_missing_is_no_obstacle() -> None:
    train, holdout = heart()
    synthetic = SYNTHETIC["permuted"](train).assign(age=np.nan, thal=None)
    assert None not in evaluate(train, holdout, synthetic, TARGET).values()


def test_a_held_out_table_without_a_column_is_refused() -> None:
    train, holdout = heart()
    with pytest.raises(DataError, match="the held-out table lacks column 'age'"):
        evaluate(train, holdout.drop(columns="age"), train, TARGET)


def test_the_callers_warning_filters_stay_as_they_were() -> None:
    train, holdout = heart()
    before = list(warnings.filters)
    evaluate(train, holdout, SYNTHETIC["permuted"](train), TARGET)
    assert list(warnings.filters) == before
