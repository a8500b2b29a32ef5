import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from common.evaluation.visits.histories import OrderedVisits, VisitLayout, bootstrap_of, times_of

LAYOUT = VisitLayout("patient", "day", (), ("x",))


def table(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"patient": ["b", "a", "b", "b"], "day": [3, 1, 1, 3], "x": [30, 10, 11, 31]} | columns)


class TestHistories:
    def test_histories_are_ordered_by_patient_and_time(self) -> None:
        histories = OrderedVisits.of(table(), LAYOUT, "real")
        assert histories.table["x"].tolist() == [11, 30, 31, 10]  # equal times keep the order of the table
        assert histories.times.tolist() == [1, 3, 3, 1]
        assert histories.starts.tolist() == [0, 3, 4]
        assert histories.lengths.tolist() == [3, 1]
        assert histories.first_of_each()["x"].tolist() == [11, 10]

    def test_drawn_patients_may_repeat(self) -> None:
        drawn = OrderedVisits.of(table(), LAYOUT, "real").drawn(np.array([1, 0, 1]))
        assert drawn.table["x"].tolist() == [10, 11, 30, 31, 10]
        assert drawn.starts.tolist() == [0, 1, 4, 5]

    def test_bootstrap_keeps_whole_histories(self) -> None:
        again = bootstrap_of(OrderedVisits.of(table(), LAYOUT, "real"), 50)
        assert again.patients == 50
        assert set(again.lengths) == {1, 3}

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"patient": ["b", None, "b", "b"]}, r"column 'patient': 1 real visits have no patient"),
            ({"day": [1, "soon", 2, 3]}, r"column 'day': 1 real visits have no time that can be read"),
            ({"day": ["x", "y", "z", None]}, r"column 'day': 4 real visits have no time"),
        ],
    )
    def test_unusable_visits_are_refused(self, columns: dict[str, list[object]], message: str) -> None:
        with pytest.raises(DataError, match=message) as refusal:
            OrderedVisits.of(table(**columns), LAYOUT, "real")
        assert "soon" not in str(refusal.value)

    def test_absent_columns_and_rows_are_refused(self) -> None:
        with pytest.raises(DataError, match="lack column 'day'"):
            OrderedVisits.of(table().drop(columns="day"), LAYOUT, "real")
        with pytest.raises(DataError, match="has no visits"):
            OrderedVisits.of(table().iloc[:0], LAYOUT, "real")


class TestTimes:
    @pytest.mark.parametrize(
        "cells", [["2024-03-01", "2024-02-28"], pd.to_datetime(["2024-03-01", "2024-02-28"]), ["2", "0"]]
    )
    def test_times_are_in_days(self, cells: object) -> None:
        times = times_of(pd.Series(cells, name="day"), "real")
        assert times[0] - times[1] == 2
