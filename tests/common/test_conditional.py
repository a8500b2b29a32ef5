"""Rows on condition: ranges of numbers and dates, names that hold `=`, and the fraction that satisfies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.columns.categorical import Categorical
from common.columns.cells import number_of
from common.columns.date import Date
from common.columns.numeric import Numeric
from common.columns.ranges import Range, parse_range
from common.conditional import Conditions, fraction_satisfying, parse_conditions, sample_where
from common.errors import StudyError
from common.study.schema import Schema
from tests.testbeds.clinic import clinic_model

AGE = Numeric(name="age", lower=0, upper=100)
CRP = Numeric(
    name="crp", lower=0.1, upper=300, decimals=1, below="<0.1", above="> 300", missing_codes=("ND", "999"), missing=True
)
SEEN = Date(name="seen", lower="01.01.2019", upper="31.12.2021", date_format="%d.%m.%Y")


class TestRanges:
    def test_both_ends_belong_to_it(self) -> None:
        assert parse_range(AGE, "60..80").holds(["59", "60", "80", "81", "", "<60"]).tolist() == [0, 1, 1, 0, 0, 0]
        assert parse_range(AGE, "..18").holds(["-5", "18", "19"]).tolist() == [1, 1, 0]
        assert parse_range(AGE, "-1.5..").holds(["-2", "-1.5", "3"]).tolist() == [0, 1, 1]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2020-01..2020-06", [0, 1, 1, 0, 0]),
            ("2020..", [0, 1, 1, 1, 0]),
            ("..01.01.2020", [1, 1, 0, 0, 0]),
            ("2020-06-30..2020-07-01", [0, 0, 1, 1, 0]),
        ],
    )
    def test_a_month_or_year_means_all_of_it(self, text: str, expected: list[int]) -> None:
        cells = ["31.12.2019", "01.01.2020", "30.06.2020", "01.07.2020", ""]
        assert parse_range(SEEN, text).holds(cells).tolist() == expected

    @pytest.mark.parametrize("text", ["50", "..", "80..60", "a..b", ""])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(StudyError, match=r"column 'age' is numeric.*60\.\.80"):
            parse_range(AGE, text)
        with pytest.raises(StudyError, match=r"column 'seen' holds dates.*2020-01\.\.2020-06"):
            parse_range(SEEN, text)

    def test_values_beyond_a_bound_count_as_one_step_beyond(self) -> None:
        cells = ["<0.1", "0.1", "5.0", "> 300", "ND", "999", ""]
        assert parse_range(CRP, "..0.1").holds(cells).tolist() == [1, 1, 0, 0, 0, 0, 0]
        assert parse_range(CRP, "0.1..5").holds(cells).tolist() == [0, 1, 1, 0, 0, 0, 0]
        assert parse_range(CRP, "5..").holds(cells).tolist() == [0, 0, 1, 1, 0, 0, 0]

    @pytest.mark.parametrize("word", ["<0.1", "> 300", "ND", "999"])
    def test_a_declared_text_names_its_cells(self, word: str) -> None:
        cells = ["<0.1", "0.1", "> 300", "ND", "999", ""]
        assert parse_range(CRP, word).holds(cells).tolist() == [cell == word for cell in cells]

    @pytest.mark.parametrize("text", ["150..", "..-1"])
    def test_outside_the_declared_bounds_is_refused(self, text: str) -> None:
        with pytest.raises(StudyError, match=r"column 'age' has the declared bounds 0 to 100.* within 0\.\.100"):
            parse_range(AGE, text)


def test_the_longest_name_that_fits_is_taken() -> None:
    columns = (Categorical(name="a", categories=("b=c", "d")), Categorical(name="a=b", categories=("c", "d")))
    schema = Schema(columns=columns)
    assert parse_conditions(["a=b=c"], schema).categories == {"a=b": "c"}
    assert parse_conditions(["a=d"], schema).categories == {"a": "d"}


def test_every_row_is_in_the_range() -> None:
    model = clinic_model()
    conditions = parse_conditions(["age=40..60", "sex=female"], model.study.table)
    frame = sample_where(model, 500, 3, conditions)
    assert len(frame) == 500
    assert frame["age"].between(40, 60).all()
    assert set(frame["sex"]) == {"female"}
    assert frame.equals(sample_where(model, 500, 3, conditions))


def test_the_fraction_is_that_of_unconditional_rows() -> None:
    model = clinic_model()
    everyone = model.sample(10_000, 5)
    conditions = parse_conditions(["age=40..60"], model.study.table)
    share = float(everyone["age"].between(40, 60).mean())
    assert fraction_satisfying(model, 0, conditions) == pytest.approx(share, abs=0.03)
    assert fraction_satisfying(model, 0, Conditions()) == 1


def test_a_range_without_rows_is_refused() -> None:
    model = clinic_model()
    beyond = Conditions(ranges={"age": Range(1000, math.inf, number_of)})
    with pytest.raises(StudyError, match="0 of 136000 drawn rows are in the range of column 'age'; widen it"):
        sample_where(model, 5, 0, beyond)
    assert np.isfinite(fraction_satisfying(model, 0, beyond))
