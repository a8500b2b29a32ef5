"""Rules about histories: which ones break them, and what becomes of these."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from common.errors import StudyError
from common.study.courses import Course, HistoryRules
from common.study.rules import Relation, Rule
from common.study.study import Study, parse_study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import TEXT

BIRTH = """
[[schema.columns]]
name = "birth"
kind = "numeric"
lower = -1000
upper = 1000
per = "patient"
"""
RISES, ENDS = Course(column="stage", never="decreases"), Course(column="stage", ends_with="3")
BORN = Rule(left="birth", relation="<=", right="day")


@cache
def study() -> Study:
    return parse_study(TEXT.replace("[privacy]", BIRTH + "[privacy]"))


def rules(*courses: Course, at_visits: tuple[Rule, ...] = ()) -> HistoryRules:
    return HistoryRules(at_visits, courses, study().declared)


def histories() -> pd.DataFrame:
    """Two patients: one with stages 1, 3, missing, 2 at days 5, 15, 15, 40, and one with stages 2, 3 at 50, 60."""
    return pd.DataFrame(
        {
            "sex": ["f"] * 4 + ["m"] * 2,
            "visits": ["4"] * 4 + ["2"] * 2,
            "visit": ["1", "2", "3", "4", "1", "2"],
            "first_visit": [5.0] * 4 + [50.0] * 2,
            "birth": [12.0] * 4 + [7.0] * 2,
            "stage": ["1", "3", None, "2", "2", "3"],
            "weight": [80.0, 70.0, np.nan, 75.0, 60.0, 60.0],
            "since_last_visit": [np.nan, 10.0, 0.0, 25.0, np.nan, 10.0],
        }
    )


class TestBroken:
    @pytest.mark.parametrize(
        ("course", "broken"),
        [
            (RISES, [True, False]),
            (Course(column="stage", never="increases"), [True, True]),
            (Course(column="weight", never="increases"), [True, False]),  # 70, missing, 75
            (ENDS, [True, False]),
            (Course(column="stage", ends_with="2"), [False, True]),
        ],
    )
    def test_finds_histories_that_break_a_course(self, course: Course, broken: list[bool]) -> None:
        assert rules(course).broken(histories()).tolist() == broken

    def test_compares_columns_with_the_time_of_the_visit(self) -> None:
        assert rules(at_visits=(BORN,)).broken(histories()).tolist() == [True, False]  # born on day 12, seen on day 5

    def test_proportions_are_of_patients(self) -> None:
        assert rules(RISES, at_visits=(BORN,)).violations(histories()) == {
            "birth <= day": 0.5,
            "stage never decreases": 0.5,
        }

    def test_no_rule_is_broken_by_none(self) -> None:
        assert rules().broken(histories()).tolist() == [False, False]


class TestRepair:
    def test_values_become_the_largest_before(self) -> None:
        repaired = rules(RISES, Course(column="weight", never="increases")).repair(histories())
        assert repaired["stage"].tolist() == ["1", "3", None, "3", "2", "3"]
        np.testing.assert_array_equal(repaired["weight"], [80, 70, np.nan, 70, 60, 60])

    def test_history_ends_after_its_last_label(self) -> None:
        repaired = rules(ENDS).repair(histories())
        assert repaired["visit"].tolist() == ["1", "2", "1", "2"]
        assert repaired["visits"].tolist() == ["2", "2", "2", "2"]

    @pytest.mark.parametrize("never", ["decreases", "increases"])
    @pytest.mark.parametrize("relation", ["<=", ">="])
    @pytest.mark.parametrize(("left", "right"), [("weight", "height"), ("height", "weight")])
    @pytest.mark.parametrize("column", ["weight", "height"])
    def test_a_value_moved_by_a_rule_meets_its_course(
        self, never: Literal["decreases", "increases"], relation: Relation, left: str, right: str, column: str
    ) -> None:
        height = BIRTH.replace("birth", "height").replace('per = "patient"\n', "")
        declared = parse_study(TEXT.replace("[privacy]", height + "[privacy]")).declared
        both = HistoryRules(
            [Rule(left=left, relation=relation, right=right)], [Course(column=column, never=never)], declared
        )
        frame = histories().assign(height=[75.0, 60.0, 90.0, 72.0, 65.0, 50.0])
        assert both.broken(frame).any()
        assert not both.broken(both.repair(frame)).any()

    def test_moves_a_column_of_the_patient_for_all_visits(self) -> None:
        repaired = rules(at_visits=(BORN,)).repair(histories())
        assert repaired["birth"].tolist() == [5.0] * 4 + [7.0] * 2
        assert not rules(at_visits=(BORN,)).broken(repaired).any()

    def test_leaves_what_breaks_nothing(self) -> None:
        fine = rules(RISES, ENDS, at_visits=(BORN,)).repair(histories())
        pd.testing.assert_frame_equal(rules(RISES, ENDS, at_visits=(BORN,)).repair(fine), fine)


class TestStudy:
    @pytest.mark.parametrize(
        ("section", "problem"),
        [
            ('column = "stage"', "has never or ends_with, one of the two"),
            ('column = "sex"\nnever = "decreases"', "'sex' is not a column of the visit"),
            ('column = "stage"\nends_with = "9"', "column 'stage' has no such label"),
        ],
    )
    def test_refuses_a_course_that_does_not_fit(self, section: str, problem: str) -> None:
        with pytest.raises(StudyError, match=problem):
            parse_study(TEXT + "[[courses]]\n" + section)

    def test_refuses_courses_of_rows_that_are_patients(self) -> None:
        with pytest.raises(StudyError, match="is for tables of visits; add patient, time and most_visits"):
            parse_study(clinic_study().to_toml() + '[[courses]]\ncolumn = "outcome"\nends_with = "yes"\n')

    def test_without_courses_has_the_same_text(self) -> None:
        assert "courses" not in study().canonical()
