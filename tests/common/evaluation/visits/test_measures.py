from dataclasses import replace

import pytest

from common.errors import DataError
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.measures import VISIT_MEASURES, VisitMeasure, visit_values
from tests.testbeds.histories import LAYOUT, LOOSE, chain, shuffled


@pytest.fixture(scope="module")
def good() -> VisitAnalysis:
    return VisitAnalysis.of(chain(400), chain(200, seed=1), chain(400, seed=2), LAYOUT)


@pytest.fixture(scope="module")
def bad() -> VisitAnalysis:
    return VisitAnalysis.of(chain(400), chain(200, seed=1), shuffled(chain(400, LOOSE, seed=2)), LAYOUT)


class TestMeasures:
    @pytest.mark.parametrize("measure", VISIT_MEASURES.values(), ids=VISIT_MEASURES)
    def test_measure_has_value_interval_and_reference(self, good: VisitAnalysis, measure: VisitMeasure) -> None:
        estimate, reference = measure.compute(good), measure.reference(good)
        assert estimate is not None
        assert reference is not None
        assert estimate.low < estimate.high
        expected = 0.5 if measure.key == "history_membership" else reference.value  # its reference copies patients
        assert abs(estimate.value - expected) < 0.1  # as good as real patients

    def test_measures_prefer_the_better_table(self, good: VisitAnalysis, bad: VisitAnalysis) -> None:
        better, worse = visit_values(good), visit_values(bad)
        for key in ("transition_error", "transitions", "persistence", "first_last", "history_c2st"):
            assert worse[key] > better[key]  # type: ignore[operator]
        assert worse["next_visit_auroc"] < better["next_visit_auroc"]  # type: ignore[operator]

    def test_column_absent_from_the_synthetic_table(self) -> None:
        with pytest.raises(DataError, match="the synthetic visits lack column 'state'"):
            VisitAnalysis.of(chain(20), chain(20), chain(20).drop(columns="state"), LAYOUT)


class TestNextVisit:
    def test_no_target_has_no_prediction(self, good: VisitAnalysis) -> None:
        analysis = VisitAnalysis(replace(LAYOUT, target=None), good.train, good.holdout, good.synthetic)
        assert analysis.trained_on_synthetic is None

    def test_numeric_target_is_above_or_below_its_median(self, good: VisitAnalysis) -> None:
        analysis = VisitAnalysis(replace(LAYOUT, target="sugar"), good.train, good.holdout, good.synthetic)
        estimate = analysis.trained_on_synthetic
        assert estimate is not None
        assert 0.85 < estimate.value < 0.99  # the correlation of two visits is 0.9

    def test_one_class_has_no_prediction(self, good: VisitAnalysis) -> None:
        stable = chain(50, seed=3).assign(state="a")
        assert VisitAnalysis.of(chain(50), stable, chain(50), LAYOUT).trained_on_synthetic is None

    def test_patients_without_second_visit_have_no_prediction(self, good: VisitAnalysis) -> None:
        single = chain(50, seed=3).drop_duplicates("patient")
        assert VisitAnalysis.of(chain(50), single, chain(50), LAYOUT).trained_on_synthetic is None
