"""Columns of dates: months, and cells that typed files, databases and logs write with a time or an offset from UTC."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from common.columns.date import Dated
from common.columns.kinds import parse_column


def dates(form: str = "%d.%m.%Y", **settings: Any) -> Dated:
    kind = "datetime" if "%H" in form else "date"
    bounds = {"lower": pd.Timestamp("2020-01-01").strftime(form), "upper": pd.Timestamp("2024-12-31").strftime(form)}
    column = parse_column({"name": "x", "kind": kind, "date_format": form, "missing": True, **bounds, **settings})
    assert isinstance(column, Dated)
    return column


def again(column: Dated, *cells: str) -> list[str]:
    """Return what the column makes of cells, as it writes them."""
    return list(column.format(pd.Series(column.conform(list(cells)))))


class TestDays:
    def test_are_read_in_their_format_and_as_typed_files_hold_them(self) -> None:
        cells = ("31.01.2020", "2020-01-31", "2020-01-31 00:00:00", "2020-01-31T08:30:00.123456789Z")
        assert again(dates(), *cells) == ["31.01.2020"] * 4

    @pytest.mark.parametrize("cell", ["2020-02-30", "20200131", "2020-W05", "2020-01-31 25:00", "\uff12020-01-31", "0"])
    def test_of_another_form_are_missing(self, cell: str) -> None:
        assert again(dates(), cell) == [""]

    def test_of_a_format_with_the_day_first_are_read_in_it_alone(self) -> None:
        assert again(dates("%Y-%d-%m"), "2020-02-01", "2020-01-31") == ["2020-02-01", ""]


class TestMonths:
    def test_are_counted_and_written(self) -> None:
        column = dates("%m/%Y", resolution="months")
        assert column.grid.size == 60
        assert column.conform(["03/2024", "2024-03-17"]).tolist() == [650.0, 650.0]  # 54 years of 12, and 2 months
        assert again(column, "03/2024", "2024-03-17 10:00:00", "1.3.2024") == ["03/2024", "03/2024", ""]

    def test_count_from_other_months(self) -> None:
        column = parse_column({"name": "y", "kind": "date", "date_format": "%Y-%m", "resolution": "months",
                               "since": "x", "least": 0, "most": 24})  # fmt: skip
        values = {"x": dates("%Y-%m", resolution="months").conform(["2020-11"]), **column.read(["2021-02"])}
        column.relate(values)
        assert values["y"].tolist() == [3.0]
        assert "same resolution" in str(column.problem({"x": dates()}))

    def test_need_their_resolution(self) -> None:
        with pytest.raises(ValueError, match='it has no day: write one, or declare resolution = "months"'):
            dates("%Y-%m")


class TestOffsets:
    @pytest.mark.parametrize("ending", ["+25:00", "+24:00", "+99:99", "-10:60"])
    def test_that_no_clock_has_are_plain_text_of_a_format(self, ending: str) -> None:
        column = dates(f"%Y-%m-%d %H:%M{ending}", resolution="minutes")
        assert again(column, "2020-01-31 10:00Z") == [f"2020-01-31 10:00{ending}"]

    CELLS = ("2020-06-01T10:00:00+02:00", "2020-06-01 08:00:00Z", "2020-06-01 08:00:00+00", "2020-06-01 03:00-0500")

    def test_are_left_out_with_a_notice_where_the_format_has_none(self) -> None:
        column = dates("%Y-%m-%d %H:%M")
        clocks = ["10:00", "08:00", "08:00", "03:00"]
        assert again(column, *self.CELLS) == [f"2020-06-01 {clock}" for clock in clocks]
        (notice,) = column.check([*self.CELLS, "2020-06-01 03:00"])
        assert notice.startswith("holds times with an offset from UTC in 4 rows, counted as the clock showed there")

    @pytest.mark.parametrize(("offset", "clock"), [("+01:00", "09:00"), ("Z", "08:00"), ("-0330", "04:30")])
    def test_are_converted_to_that_of_the_format(self, offset: str, clock: str) -> None:
        column = dates(f"%Y-%m-%d %H:%M{offset}")
        assert again(column, *self.CELLS) == [f"2020-06-01 {clock}{offset}"] * 4
        assert column.check(list(self.CELLS)) == []

    def test_never_fail_at_the_ends_of_the_calendar(self) -> None:
        assert again(dates("%Y-%m-%d %H:%MZ"), "0001-01-01 00:00+14:00", "9999-12-31 23:59-12:00") == ["", ""]

    def test_of_each_time_are_not_a_format(self) -> None:
        with pytest.raises(ValueError, match=r"leave the offset out, .* or write that of all times"):
            dates("%Y-%m-%dT%H:%M:%S%z")
