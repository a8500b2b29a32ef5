"""When visits are: by the study's time, a mapped date, numbers from the index date, or one day after the other."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from common.columns.date import Datetime
from common.columns.numeric import Numeric
from common.errors import DataError
from common.export.exporting import rows_of
from common.export.mapping import ExportMapping, parse_mapping
from common.export.moments import Moments, moments_of
from common.export.rows import Rows
from common.study.schema import Schema
from tests.testbeds.exports import VISITS, visits_provenance, write_visits

AGE = Numeric(name="age", lower=0, upper=89, above="> 89", missing_codes=("ND",))
LEFT = Datetime(name="left", lower="2020-01-01 00:00", upper="2030-01-01 00:00", missing=True)
CAME = Datetime(name="came", lower="2020-01-01 00:00", upper="2030-01-01 00:00", missing=True)
FLAT = Schema(columns=(AGE, CAME, LEFT))

MAPPING = """
index_date = "2020-06-01"
[[columns]]
name = "age"
to = "age"
[[columns]]
name = "came"
to = "visit_start"
[[columns]]
name = "left"
to = "visit_end"
"""


def flat(age: str, came: str, left: str) -> Moments:
    cells = {name: np.array([cell], dtype=object) for name, cell in (("age", age), ("came", came), ("left", left))}
    rows = Rows(np.array([1]), np.array(["1"], dtype=object), np.array([1]), cells)
    return moments_of(rows, FLAT, parse_mapping(MAPPING, "a mapping"))


def test_a_visit_lasts_from_one_date_to_the_other() -> None:
    moments = flat("40", "2021-02-03 10:00", "2021-02-05 09:30")
    assert moments.starts == [datetime(2021, 2, 3, 10)]
    assert moments.ends == [datetime(2021, 2, 5, 9, 30)]
    assert moments.birth_years == [1981]


@pytest.mark.parametrize("left", ["", "2021-02-03 09:59", "no date"])
def test_a_visit_without_a_later_end_ends_when_it_starts(left: str) -> None:
    moments = flat("40", "2021-02-03 10:00", left)
    assert moments.ends == moments.starts


def test_a_row_without_a_date_is_on_the_index_date() -> None:
    assert flat("40", "", "").starts == [date(2020, 6, 1)]


@pytest.mark.parametrize(("age", "year"), [("> 89", 1931), ("ND", None), ("", None)])
def test_a_year_of_birth_follows_from_the_age(age: str, year: int | None) -> None:
    assert flat(age, "", "").birth_years == [year]


def test_visits_out_of_order_are_refused(tmp_path: Path) -> None:
    declared = visits_provenance().study.declared
    folder = write_visits(tmp_path, VISITS.replace("2020-01-05", "2020-12-05"))
    rows = next(rows_of(folder, declared))
    with pytest.raises(DataError, match="not in the order of their time"):
        moments_of(rows, declared, ExportMapping())


class TestTimes:
    """Studies whose time is a number, or not declared."""

    @pytest.mark.parametrize(
        ("unit", "last"), [("days", date(2020, 1, 3)), ("weeks", date(2020, 1, 18)), ("years", date(2022, 7, 2))]
    )
    def test_a_number_counts_from_the_index_date(self, unit: str, last: date) -> None:
        time = Numeric(name="t", lower=0, upper=10, decimals=1)
        schema = Schema(columns=(time, AGE), patient="id", time="t", most_visits=2)
        cells = {"t": np.array(["0.0", "2.5"], dtype=object), "age": np.array(["1", "2"], dtype=object)}
        rows = Rows(np.array([1, 1]), np.array(["a", "a"], dtype=object), np.array([1, 2]), cells)
        mapping = parse_mapping(f'time_unit = "{unit}"', "a mapping")
        assert moments_of(rows, schema, mapping).starts == [date(2020, 1, 1), last]

    def test_visits_without_a_time_are_a_day_apart(self) -> None:
        schema = Schema(columns=(AGE, LEFT), patient="id", time="t", most_visits=2)
        cells = {"age": np.array(["1", "2"], dtype=object), "left": np.array(["", ""], dtype=object)}
        rows = Rows(np.array([1, 1]), np.array(["a", "a"], dtype=object), np.array([1, 2]), cells)
        assert moments_of(rows, schema, ExportMapping()).starts == [date(2020, 1, 1), date(2020, 1, 2)]
