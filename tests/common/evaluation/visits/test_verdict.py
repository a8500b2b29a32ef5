"""The verdict on synthetic visits."""

import pytest

from common.evaluation.visits.verdict import DISTANCES, HEADLINES, judge_visits

GOOD = {"transition_error": 0.03, "visits_per_patient": 0.02, "gaps": 0.04, "next_visit_auroc": 0.78}
REAL = {"transition_error": 0.01, "visits_per_patient": 0.01, "gaps": 0.01, "next_visit_auroc": 0.80}


class TestVerdict:
    def test_close_visits(self) -> None:
        verdict = judge_visits(GOOD, REAL)
        assert (verdict.grade, verdict.headline) == ("close", HEADLINES["close"])
        assert "Steps from visit to visit differ from the real ones by 3%" in verdict.findings[0]

    @pytest.mark.parametrize(("distance", "grade"), [(0.05, "close"), (0.07, "care"), (0.29, "care"), (0.30, "unfit")])
    @pytest.mark.parametrize("key", DISTANCES)
    def test_worst_distance_decides(self, key: str, distance: float, grade: str) -> None:
        assert judge_visits(GOOD | {key: distance}, REAL).grade == grade

    @pytest.mark.parametrize(("auroc", "grade"), [(0.75, "close"), (0.70, "care"), (0.59, "unfit")])
    def test_prediction_keeps_the_lift(self, auroc: float, grade: str) -> None:
        verdict = judge_visits(GOOD | {"next_visit_auroc": auroc}, REAL)  # 0.8 of 0.80 - 0.5 above 0.5 is 0.74
        assert verdict.grade == grade
        assert ("was lost" in verdict.findings[0]) == (grade != "close")

    @pytest.mark.parametrize("key", GOOD)
    def test_what_is_not_measured_needs_care(self, key: str) -> None:
        verdict = judge_visits({**GOOD, key: None}, {**REAL, key: None})
        assert verdict.grade == "care"
        assert "could not be" in verdict.findings[0]
