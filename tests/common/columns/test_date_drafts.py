"""What a draft makes of dates: their formats, offsets, markers, and the dates that they count from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.columns.drafting import ColumnEvidence
from common.columns.drafting_dates import draft_date
from common.tables.conforming import conform, format_table
from simulations.drafting import NamedColumns, draft_study
from tests.testbeds.drafts import DIED, ROWS, drafted, of, with_words

RNG = np.random.default_rng(3)
DAYS = [f"2021-{row % 12 + 1:02d}-{row % 28 + 1:02d}" for row in range(ROWS)]


def days(*offsets: int, year: int = 2021) -> list[str]:
    """Return a day per row, each shifted by one of these numbers of days from a day of its row."""
    first = pd.Timestamp(f"{year}-01-01")
    shifts = [row % 200 + offsets[row % len(offsets)] for row in range(ROWS)]
    return [(first + pd.Timedelta(days=shift)).strftime("%Y-%m-%d") for shift in shifts]


class TestDates:
    @pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%Y-%m-%d %H:%M", "%d.%m.%YT%H:%M:%S"])
    def test_are_read_and_written_in_their_format(self, form: str) -> None:
        days = pd.Timestamp("2020-01-20") + pd.to_timedelta(RNG.integers(0, 1000, ROWS), "D")
        cells = list(days.strftime(form))
        column, notices = drafted(cells)
        assert column["kind"] == ("datetime" if "%H" in form else "date")
        assert column["written"] == cells
        assert any("holds dates" in notice for notice in notices)

    @pytest.mark.parametrize("form", ["%Y-%m", "%m/%Y", "%m.%Y", "%b %Y"])
    def test_of_months_are_read_and_written(self, form: str) -> None:
        cells = [month.strftime(form) for month in pd.date_range("2020-01-01", periods=60, freq="MS")]
        column, _ = drafted(cells * 4)
        assert (column["kind"], column["resolution"], column["written"]) == ("date", "months", cells * 4)

    @pytest.mark.parametrize(
        ("ending", "written"),
        [
            (" 00:00:00", ""),
            ("T08:30:00+01:00", "T08:30:00+01:00"),
            ("T08:30:00.250Z", "T08:30:00Z"),
            (" 08:30:00+01", " 08:30:00"),
        ],
    )
    def test_of_typed_files_and_logs_are_read(self, ending: str, written: str) -> None:
        days = [str(day.date()) for day in pd.date_range("2020-01-20", periods=ROWS)]
        kind = "datetime" if written else "date"
        column, _ = drafted([day + ending for day in days], kinds={"x": kind} if "+01" in ending else {})
        assert column["kind"] == kind
        assert column["written"] == [day + written for day in days]

    @pytest.mark.parametrize("is_ordered", [True, False])
    def test_that_are_never_before_another_count_from_it(self, is_ordered: bool) -> None:
        admitted = pd.Timestamp("2020-01-20") + pd.to_timedelta(RNG.integers(0, 1000, ROWS), "D")
        stays = RNG.integers(0, 38, ROWS)
        stays[0] = 37 if is_ordered else -1
        discharged = admitted + pd.to_timedelta(stays, "D")
        raw = pd.DataFrame(
            {"admitted": admitted.strftime("%Y-%m-%d"), "left": discharged.strftime("%d.%m.%Y"), "died": DIED},
            dtype=object,
        )
        drafted = draft_study(raw, "draft", NamedColumns("died"))
        study, notices = drafted.study, drafted.notices
        grid = study.table["left"].grid
        assert grid is not None
        assert ((grid.lower, grid.upper) == (0, 37)) == is_ordered
        assert any("'left' is never before 'admitted'" in notice for notice in notices) == is_ordered
        pd.testing.assert_frame_equal(format_table(conform(raw, study.table), study.table), raw)

    def test_that_can_be_read_in_two_formats_are_named(self) -> None:
        _, notices = drafted(of([f"{day:02}/{month:02}/2020" for day in range(1, 13) for month in (1, 5, 9)]))
        assert any("could as well be read as '%m/%d/%Y'" in notice for notice in notices)


class TestDatesHardlyEverEarly:
    @pytest.mark.parametrize(
        ("days", "least", "words"), [(-2, -2, "least = -2 allows it"), (-9000, 0, "moved to its day")]
    )
    def test_count_from_the_other_and_say_so(self, days: int, least: int, words: str) -> None:
        admitted = pd.Timestamp("2020-01-20") + pd.to_timedelta(RNG.integers(0, 1000, ROWS), "D")
        stays = RNG.integers(0, 38, ROWS)
        stays[0] = days
        columns = {"admitted": admitted, "left": admitted + pd.to_timedelta(stays, "D")}
        raw = pd.DataFrame({name: dates.strftime("%Y-%m-%d") for name, dates in columns.items()} | {"died": DIED})
        drafted = draft_study(raw.astype(object), "draft", NamedColumns("died"))
        study, notices = drafted.study, drafted.notices
        grid = study.table["left"].grid
        assert grid is not None
        assert grid.lower == least
        assert any("is before 'admitted' in 1 row only" in notice and words in notice for notice in notices)

    def test_often_out_of_order_stay_apart(self) -> None:
        days = pd.Timestamp("2020-01-20") + pd.to_timedelta(RNG.integers(0, 1000, ROWS), "D")
        others = days + pd.to_timedelta(RNG.integers(-5, 38, ROWS), "D")
        raw = pd.DataFrame(
            {"a": days.strftime("%Y-%m-%d"), "b": others.strftime("%Y-%m-%d"), "died": DIED}, dtype=object
        )
        study = draft_study(raw, "draft", NamedColumns("died")).study
        assert "since" not in study.table.columns[1].model_dump(exclude_defaults=True)


class TestDatesInOtherForms:
    @pytest.mark.parametrize(
        ("form", "cells"),
        [
            ("%m/%d/%Y", [f"{row % 12 + 1}/{row % 28 + 1}/2021" for row in range(ROWS)]),
            ("%d %B %Y", [f"{row % 28 + 1} March 20{row % 9 + 10}" for row in range(ROWS)]),
            ("%d-%b-%y", [f"{row % 28 + 1:02d}-MAR-{row % 9 + 10}" for row in range(ROWS)]),
            ("%y%m%d", [f"{row % 30 + 70}{row % 12 + 1:02d}{row % 28 + 1:02d}" for row in range(ROWS)]),
            ("%d%m%Y", [f"{row % 28 + 1:02d}{row % 12 + 1:02d}20{row % 9 + 10}" for row in range(ROWS)]),
        ],
    )
    def test_days_in_other_national_forms_are_dates(self, form: str, cells: list[str]) -> None:
        settings, _ = drafted(cells, name="seen")
        assert (settings["kind"], settings.get("date_format")) == ("date", form)

    @pytest.mark.parametrize("word", ["unknown", "2021-00-00", "00.00.0000", "n/d"])
    def test_one_marker_among_dates_keeps_the_dates(self, word: str) -> None:
        cells = with_words(DAYS, word, every=5)
        drafted = draft_study(pd.DataFrame({"x": cells, "died": DIED}), "draft", NamedColumns("died"))
        study, notices = drafted.study, drafted.notices
        assert (study.table.columns[0].kind, study.table.columns[0].missing) == ("date", True)
        assert any(
            f"not a date in {ROWS // 5} rows, such as '{word}', which becomes missing" in text for text in notices
        )

    @pytest.mark.parametrize("day", ["1900-01-01", "9999-12-31"])
    def test_days_that_stand_for_unknown_are_named(self, day: str) -> None:
        drafted = draft_study(pd.DataFrame({"x": with_words(DAYS, day), "died": DIED}), "draft", NamedColumns("died"))
        study, notices = drafted.study, drafted.notices
        assert study.table.columns[0].kind == "date"
        assert any(f"holds '{day}' in 12 rows" in text and "remove it from the table" in text for text in notices)

    def test_few_numbers_that_may_be_dates_are_not(self) -> None:
        assert draft_date(ColumnEvidence([f"{day:02}0320" for day in range(1, 10)] * 9)) is None
        assert draft_date(ColumnEvidence([f"{day:02}0320" for day in range(1, 11)] * 9)) is not None

    def test_numbers_of_six_digits_are_not_dates(self) -> None:
        assert draft_date(ColumnEvidence([str(number) for number in RNG.integers(100_000, 999_999, ROWS)])) is None

    @pytest.mark.parametrize(
        ("cells", "remedy"),
        [
            ([f"{row % 24:02d}:{row % 60:02d}" for row in range(ROWS)], "write them as 2021-12-28"),
            ([f"{row % 28 + 1} août 20{row % 90 + 10}" for row in range(ROWS)], "write them as 2021-12-28"),
            ([f"{row * 997 + 1000:,}" for row in range(ROWS)], "--read thousands=,"),
            ([f"films/{row}.dcm" for row in range(ROWS)], "--kind NAME=image"),
            ([f"{row * 997 + 1000:,}".replace(",", "\u00a0") for row in range(ROWS)], "--read thousands=blank"),
            ([f"${row * 997 + 1000}" for row in range(ROWS)], "remove it from the table"),
            ([f"['a', 'item {row}']" for row in range(ROWS)], "with a mark between them, as in a;b"),
        ],
    )
    def test_a_form_that_no_kind_reads_is_named(self, cells: list[str], remedy: str) -> None:
        settings, notices = drafted(cells)
        assert settings is None
        assert any("is left out" in notice and remedy in notice for notice in notices)


class TestSince:
    def since(self, **columns: list[str]) -> dict[str, str | None]:
        study = draft_study(pd.DataFrame({**columns, "died": DIED}), "draft", NamedColumns("died")).study
        return {
            column.name: column.model_dump().get("since") for column in study.table.columns if column.kind == "date"
        }

    def test_discharge_counts_from_the_admission_not_the_birth(self) -> None:
        found = self.since(birth=days(0, 300, year=1960), admitted=days(0), discharged=days(1, 9))
        assert found == {"birth": None, "admitted": None, "discharged": "admitted"}

    def test_the_order_of_the_columns_does_not_matter(self) -> None:
        found = self.since(discharged=days(1, 9), birth=days(0, 300, year=1960), admitted=days(0))
        assert found["discharged"] == "admitted"

    def test_five_dates_count_from_the_nearest(self) -> None:
        found = self.since(
            birth=days(0, 300, year=1960),
            referred=days(-40, -30),
            admitted=days(0),
            operated=days(1, 2),
            discharged=days(3, 9),
        )
        assert found["birth"] is None
        assert (found["operated"], found["discharged"]) in {("admitted", "admitted"), (None, "operated")}

    def test_a_date_that_may_lack_the_other_stays_apart(self) -> None:
        admitted = [day if row % 20 else "" for row, day in enumerate(days(0))]
        discharged = [day if row % 20 != 1 else "" for row, day in enumerate(days(1, 9))]
        assert self.since(admitted=admitted, discharged=discharged)["discharged"] is None

    def test_admissions_of_few_years_stay_apart_from_births(self) -> None:
        births = [f"{1930 + row % 70}-01-{row % 28 + 1:02d}" for row in range(ROWS)]
        assert self.since(birth=births, admitted=days(0)) == {"birth": None, "admitted": None}

    def test_newborns_count_from_the_birth(self) -> None:
        assert self.since(birth=days(0), admitted=days(1, 9))["admitted"] == "birth"
