from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from common.errors import DataError
from common.study.schema import Schema
from common.tables.visits import check_records, check_visits, patients_in, visit_rows
from tests.testbeds.visits import invented_visits, visits_study

ROWS = [
    ("a", "50", "f", "2", "61"),
    ("b", "7", "m", "1", "80"),
    ("a", "10", "f", "1", "60"),
    ("a", "30", "m", "3", ""),
    ("", "20", "f", "1", "70"),
    ("c", "soon", "f", "1", "70"),
    ("b", "7", "m", "2", "81"),
]


def raw_visits(rows: Sequence[tuple[str, ...]] = ROWS) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "day", "sex", "stage", "weight"], dtype=object)


def declared(**keys: object) -> Schema:
    return visits_study(schema=keys).declared


class TestVisitRows:
    def test_are_ordered_by_time_and_equal_times_by_file(self) -> None:
        kept = visit_rows(raw_visits(), declared())
        assert kept["id"].tolist() == ["a", "a", "a", "b", "b"]
        assert kept["stage"].tolist() == ["1", "3", "2", "1", "2"]
        assert kept["visit"].tolist() == ["1", "2", "3", "1", "2"]
        assert kept["visits"].tolist() == ["3", "3", "3", "2", "2"]

    def test_times_become_a_first_visit_and_gaps(self) -> None:
        kept = visit_rows(raw_visits(), declared())
        assert kept["first_visit"].tolist() == ["10", "10", "10", "7", "7"]
        assert kept["since_last_visit"].tolist() == ["", "20.0", "20.0", "", "0.0"]

    @pytest.mark.parametrize(
        ("rule", "stages"),
        [("first", ["1", "2"]), ("last", ["4", "5"]), ("thinned", ["1", "5"])],
    )
    def test_at_most_so_many_are_kept_by_the_rule(self, rule: str, stages: list[str]) -> None:
        rows = [("a", str(day), "f", str(day), "") for day in range(1, 6)]
        kept = visit_rows(raw_visits(rows), declared(most_visits=2, keep_visits=rule))
        assert kept["stage"].tolist() == stages
        assert kept["visits"].tolist() == ["2", "2"]

    def test_thinned_visits_are_evenly_spaced(self) -> None:
        rows = [("a", str(day), "f", str(day), "") for day in range(7)]
        kept = visit_rows(raw_visits(rows), declared(most_visits=3, keep_visits="thinned"))
        assert kept["stage"].tolist() == ["0", "3", "6"]

    @pytest.mark.parametrize(("rule", "sex"), [("first", "f"), ("last", "m"), ("refuse", "f")])
    def test_a_column_of_the_patient_has_one_value(self, rule: str, sex: str) -> None:
        rows = [("a", "1", "f", "1", ""), ("a", "2", "m", "1", "")]
        assert visit_rows(raw_visits(rows), declared(varying=rule))["sex"].tolist() == [sex, sex]

    def test_a_table_without_readable_visits_is_empty(self) -> None:
        kept = visit_rows(raw_visits([("", "1", "f", "1", ""), ("a", "", "f", "1", "")]), declared())
        assert len(kept) == 0
        assert {"visits", "visit", "first_visit", "since_last_visit"} <= set(kept.columns)

    def test_an_undeclared_time_only_orders(self) -> None:
        columns = [column for column in visits_study().declared.columns if column.name != "day"]
        schema = Schema(columns=tuple(columns), patient="id", time="day", most_visits=4)
        rows = [("a", "2024-03-01", "f", "2", ""), ("a", "2023-12-31", "f", "1", ""), ("a", "17", "f", "3", "")]
        kept = visit_rows(raw_visits(rows), schema)
        assert kept["stage"].tolist() == ["3", "1", "2"]  # numbers count seconds since 1970, as dates do
        assert "first_visit" not in kept

    @pytest.mark.parametrize(
        "cell", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "1e999", "nan", "\ud800", "\0"]
    )
    def test_no_time_makes_it_fail(self, cell: str) -> None:
        columns = [column for column in visits_study().declared.columns if column.name != "day"]
        for schema in (declared(), Schema(columns=tuple(columns), patient="id", time="day", most_visits=4)):
            kept = visit_rows(raw_visits([("a", "5", "f", "1", ""), ("a", cell, "f", "2", "")]), schema)
            assert kept["id"].tolist() in (["a"], ["a", "a"])

    def test_one_patient_more_changes_no_other_history(self) -> None:
        every, schema = invented_visits(40, most=9), declared(keep_visits="thinned")
        without = visit_rows(every[every["id"] != "p17"].sample(frac=1, random_state=3).sort_index(), schema)
        kept = visit_rows(every, schema)
        pd.testing.assert_frame_equal(kept[kept["id"] != "p17"].reset_index(drop=True), without)

    @pytest.mark.parametrize("column", ["id", "day"])
    def test_a_table_without_patient_or_time_is_refused(self, column: str) -> None:
        with pytest.raises(DataError, match=f"column '{column}' is not in the table; add it"):
            visit_rows(raw_visits().drop(columns=column), declared())


class TestCheckVisits:
    def test_says_what_is_left_out(self) -> None:
        rows = [row for row in ROWS if row[0]]
        notices = check_visits(raw_visits(rows), declared(most_visits=2), name="north")
        assert notices == [
            "north: column 'sex' is of the patient and varies within 1 of them: the first kept visit counts",
            "north: time column 'day' cannot be read in 1 row, which are left out",
            "north: 1 row at the same time as the patient's row before, kept in the file's order",
            "north: 1 row left out: at most 2 visits of a patient are kept",
        ]

    def test_says_that_times_are_equal_and_who_comes_first(self) -> None:
        rows = [("a", "5", "f", "1", ""), ("b", "5", "f", "1", ""), ("a", "5", "f", "2", ""), ("a", "6", "f", "2", "")]
        assert check_visits(raw_visits(rows), declared(), name="north") == [
            "north: 1 row at the same time as the patient's row before, kept in the file's order"
        ]

    def test_says_that_no_patient_returns(self) -> None:
        rows = [("a", "5", "f", "1", ""), ("b", "6", "f", "1", "")]
        (notice,) = check_visits(raw_visits(rows), declared(), name="north")
        assert notice == "north: no patient has two visits, so there are no steps from visit to visit to learn"

    def test_visits_without_a_patient_are_refused(self) -> None:
        with pytest.raises(DataError, match="patient column 'id' is blank in 1 row; fill in or drop"):
            check_visits(raw_visits(), declared(), name="north")

    def test_a_varying_column_is_refused_where_declared(self) -> None:
        rows = [row for row in ROWS if row[0]]
        with pytest.raises(DataError, match="column 'sex' is of the patient and varies within 1 of them; correct it"):
            check_visits(raw_visits(rows), declared(varying="refuse"), name="north")

    def test_times_of_which_none_can_be_read_are_refused(self) -> None:
        with pytest.raises(DataError, match="no cell of time column 'day' can be read"):
            check_visits(raw_visits([("a", "soon", "f", "1", "")]), declared(), name="north")

    def test_unreadable_times_of_a_declared_column_name_its_format(self) -> None:
        study = visits_study()
        raw = invented_visits(2).assign(**{study.declared.time or "": "soon"})
        with pytest.raises(DataError, match="write its cells in the form that the study declares"):
            check_visits(raw, study.declared, name="north")

    def test_a_table_without_rows_is_refused(self) -> None:
        with pytest.raises(DataError, match="no rows"):
            check_visits(raw_visits([]), declared(), name="north")


def test_a_time_out_of_bounds_is_of_the_declared_column() -> None:
    study = visits_study()
    raw = raw_visits([("a", "5", "f", "1", ""), ("a", "1500", "f", "1", ""), ("b", "-3", "m", "2", "50")])
    ignored, outside = check_records(raw.assign(note="x"), study, name="north")
    assert ignored == "north: columns not in the schema are ignored: 'note'"
    assert outside.startswith("north: column 'day' is outside [0, 1000] in 2 rows, clamped to the bounds")
    with pytest.raises(DataError, match="column 'stage' is not in the table"):
        check_records(raw.drop(columns="stage"), study, name="north")


def test_patients_are_counted_not_rows() -> None:
    assert patients_in(raw_visits(), visits_study(), None) == 2  # of 'c', no time can be read
