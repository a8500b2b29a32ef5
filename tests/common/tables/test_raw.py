"""Typed tables as text."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from common.tables.raw import as_text


def test_typed_values_become_canonical_text() -> None:
    day = datetime.date(2020, 2, 29)
    values = [63.0, 0.1, 1e22, -0.0, 2**70, True, None, np.nan, pd.NaT, pd.NA, "NA", day, np.float32(0.1), np.inf]
    expected = ["63", "0.1", "10000000000000000000000", "0", "1180591620717411303424", "True"]
    expected += ["", "", "", "", "NA", "2020-02-29", "0.1", "inf"]
    assert as_text(pd.DataFrame({"x": pd.Series(values, dtype=object)}))["x"].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1.0, np.nan, 2.5]), ["1", "", "2.5"]),
        (pd.Series([0.1], dtype="float32"), ["0.1"]),
        (pd.Series([True, None], dtype="boolean"), ["True", ""]),
        (pd.Series(["a", None], dtype="category"), ["a", ""]),
        (pd.Series(["a", None], dtype="string"), ["a", ""]),
        (pd.Series([1, 2], dtype="int8"), ["1", "2"]),
    ],
)
def test_every_column_type_has_a_text_form(values: pd.Series, expected: list[str]) -> None:
    assert as_text(pd.DataFrame({"x": values}))["x"].tolist() == expected


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_float_keeps_every_digit(value: float) -> None:
    assert float(as_text(pd.DataFrame({"x": [value]}))["x"][0]) == value


def test_a_frame_with_a_repeated_column_is_refused() -> None:
    with pytest.raises(DataError, match="columns 1 and 2 have the same name"):
        as_text(pd.DataFrame([[1, 2]], columns=["a", "a"]))
