"""Visits on a regular clock: only the first one has a time of its own."""

from __future__ import annotations

import pandas as pd
import pytest

from common.errors import StudyError
from common.study.courses import times_of
from common.study.schema import FIRST_VISIT, VISIT, VISITS, Schema
from common.study.study import parse_study
from common.tables.visit_tables import long_table
from common.tables.visits import check_visits, visit_rows
from tests.testbeds.vitals import HOURS, VITALS, invented_vitals, vitals_study

DECLARED = vitals_study().declared


def test_no_time_between_visits_is_modeled() -> None:
    names = vitals_study().table.names
    assert names == ("age", "visits", "first_visit", "heart_rate", "pressure", "vasopressor", "visit")
    assert set(names) <= set(visit_rows(invented_vitals(3), DECLARED).columns)


class TestTimes:
    def test_are_an_hour_apart(self) -> None:
        frame = pd.DataFrame({VISIT: ["1", "2", "3", "1"], VISITS: ["3"] * 3 + ["1"], FIRST_VISIT: [2.0] * 3 + [5.0]})
        assert times_of(frame, DECLARED).tolist() == [2.0, 3.0, 4.0, 5.0]

    def test_of_a_history_that_would_end_too_late_begin_earlier(self) -> None:
        # Hours end at 48, so three visits start at 46 at the latest.
        frame = pd.DataFrame({VISIT: ["1", "2", "3"], VISITS: ["3"] * 3, FIRST_VISIT: [47.5] * 3})
        assert times_of(frame, DECLARED).tolist() == [46.0, 47.0, 48.0]

    def test_have_the_decimals_of_their_column(self) -> None:
        column = {"name": "t", "kind": "numeric", "lower": 0, "upper": 0.3, "decimals": 1}
        answer = {"name": "x", "kind": "boolean"}
        declared = Schema.model_validate(
            {"columns": [column, answer], "patient": "p", "time": "t", "most_visits": 4, "interval": 0.1}
        )  # 3 times 0.1 is a little more than 0.3 in binary numbers
        frame = pd.DataFrame({VISIT: list("1234"), VISITS: ["4"] * 4, FIRST_VISIT: [0.2] * 4})
        assert times_of(frame, declared).map(repr).tolist() == ["0.0", "0.1", "0.2", "0.3"]

    def test_are_written(self) -> None:
        frame = pd.DataFrame(
            {
                "age": [40.0] * 2, VISITS: ["2"] * 2, FIRST_VISIT: [7.0] * 2, VISIT: ["1", "2"],
                "heart_rate": [80.0, 81.0], "pressure": [70.0, None], "vasopressor": ["true", "false"],
            }
        )  # fmt: skip
        assert long_table(frame, DECLARED)["hour"].tolist() == ["7", "8"]


def test_hours_off_the_clock_are_told() -> None:
    raw = invented_vitals(4)
    assert check_visits(raw, DECLARED, name="north") == []
    gap = raw.drop(index=3)  # the first stay's fourth hour
    assert check_visits(gap, DECLARED, name="north") == [
        "north: 1 row off the regular clock, not 1 after the visit before (interval); each counts as if it were on it"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("interval = 1", "interval = 0.5", "write it with at most 0 decimals"),
        ("interval = 1", "interval = 2", f"let most_visits = {HOURS} visits end between 0 and 48"),
        ("interval = 1", 'interval = 1\nkeep_visits = "thinned"', "keep the first or last visits"),
        ('time = "hour"', 'time = "day"', "declare the time as a column"),
    ],
)
def test_a_clock_that_does_not_fit_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        parse_study(VITALS.replace(old, new))
