from __future__ import annotations

import importlib.util
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.registry import CORE_MEASURES, FURTHER_MEASURES, MEASURES, core_values
from common.evaluation.statistics.intervals import Estimate
from tests.testbeds.evaluation_tables import SYNTHETIC, TARGET, data_of, heart, heart_data

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
def test_core_values_are_those_of_the_yardstick(kind: str) -> None:
    train, _ = heart()
    measured = core_values(heart_data(SYNTHETIC[kind](train)))
    exact = ("tvd1", "tvd2", "tvd3", "tvd2g", "tvd3g")
    assert {name: measured[name] for name in exact} == {name: YARDSTICK[kind][name] for name in exact}
    # Learners may differ in the third decimal between processors and versions of scikit-learn.
    assert measured == pytest.approx(YARDSTICK[kind], abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SYNTHETIC)
def test_core_values_equal_the_yardstick_run_beside_them(kind: str) -> None:
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
    assert core_values(heart_data(synthetic)) == yardstick.evaluate(train, holdout, synthetic, TARGET)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    train, _ = heart()
    return Analysis(heart_data(SYNTHETIC["thinned"](train)))


class TestEveryMeasure:
    """The contract of an entry in the table."""

    @pytest.mark.parametrize("key", MEASURES)
    def test_entry_says_how_to_read_it(self, key: str) -> None:
        measure = MEASURES[key]
        assert measure.key == key
        assert measure.title
        assert measure.low <= measure.best <= measure.high
        assert measure.low <= measure.worst <= measure.high
        assert measure.worst != measure.best
        assert measure.meaning.endswith(".")

    @pytest.mark.parametrize("key", MEASURES)
    def test_entry_computes_a_value_within_its_bounds(self, key: str, analysis: Analysis) -> None:
        measure = MEASURES[key]
        estimate, reference = measure.compute(analysis), measure.reference(analysis)
        if key in ("curve_distance", "concordance"):
            assert estimate is None  # the study has no time column
            return
        assert isinstance(estimate, Estimate)
        assert measure.low <= estimate.value <= measure.high
        assert (estimate.low < estimate.high) == measure.has_interval
        assert reference is None or measure.low <= reference <= measure.high

    @pytest.mark.parametrize("key", MEASURES)
    def test_entry_calls_real_rows_no_worse(self, key: str, analysis: Analysis) -> None:
        measure = MEASURES[key]
        estimate, reference = measure.compute(analysis), measure.reference(analysis)
        if estimate is not None and reference is not None:
            assert abs(reference - measure.best) <= abs(estimate.value - measure.best) + 0.05

    @pytest.mark.parametrize("key", MEASURES)
    def test_entry_survives_tables_that_do_not_define_it(self, key: str) -> None:
        table = pd.DataFrame({"age": [1.0, 2.0], "ill": ["no", "yes"]})
        estimate = MEASURES[key].compute(Analysis(data_of(table, table)))
        assert estimate is None or np.isfinite(estimate.value)

    def test_keys_are_core_or_further_not_both(self) -> None:
        assert list(MEASURES) == [*CORE_MEASURES, *FURTHER_MEASURES]
        assert len(MEASURES) == len(CORE_MEASURES) + len(FURTHER_MEASURES)


class TestColumnTypes:
    """The core measures guess column types from values, the others take them from the schema."""

    def test_core_measures_ignore_the_schema(self) -> None:
        train, _ = heart()
        synthetic = SYNTHETIC["thinned"](train)
        data = heart_data(synthetic)
        as_text = data_of(train.astype(object), synthetic).schema
        assert core_values(replace(data, schema=as_text)) == core_values(data)

    def test_other_measures_follow_the_schema(self) -> None:
        # Grades 0, 1, 2 are few distinct numbers: a category by their values, a number by their declaration.
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"age": rng.integers(20, 90, 200).astype(float), "grade": rng.integers(0, 3, 200) * 1.0})
        data = data_of(table, table)
        assert data.numeric == {"age", "grade"}
        assert Analysis(data).pairs.pairs[0].measure == "pearson"
        assert Analysis(data).core_codes.sizes[1] == 3
        assert data.codes.sizes[1] == 4  # one more, for missing


def test_core_values_without_held_out_rows_are_fidelity_only() -> None:
    train, _ = heart()
    data = heart_data(train, rows=0)
    assert [name for name, value in core_values(data).items() if value is None] == ["auc_lr", "auc_gb"]
    analysis = Analysis(data)
    assert "held out" in (analysis.why_no_prediction or "")
    assert MEASURES["auc_lr"].reference(analysis) is None


def test_core_values_accept_a_column_without_values() -> None:
    train, _ = heart()
    synthetic = SYNTHETIC["permuted"](train).assign(age=np.nan, thal=None)
    assert None not in core_values(heart_data(synthetic)).values()


def test_data_refuses_held_out_rows_without_a_column() -> None:
    train, holdout = heart()
    with pytest.raises(DataError, match="the held-out table lacks column 'age'"):
        data_of(train, train, holdout.drop(columns="age"))


def test_core_values_leave_warning_filters_as_they_were() -> None:
    train, _ = heart()
    before = list(warnings.filters)
    core_values(heart_data(SYNTHETIC["permuted"](train)))
    assert list(warnings.filters) == before
