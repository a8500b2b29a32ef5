"""The first row of each patient, and who is held out."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError
from common.study.schema import Schema
from common.tables.patients import first_rows, keyed_fraction, patient_keys, split_holdout
from tests.testbeds.ward_table import GOOD, SCHEMA

CELLS = st.sampled_from(["18", "18.0", "63", "x", "", "999"])
ROWS = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3", "p4", ""]), CELLS, CELLS), max_size=12)
PAIR = Schema(columns=(Numeric(name="a", lower=0, upper=100), Categorical(name="b", categories=("18", "63"))))


def table(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["pid", "a", "b"], dtype=object)


def test_first_row_of_each_patient_stays() -> None:
    raw = table([("p2", "1", ""), ("", "2", ""), ("p1", "3", ""), ("p2 ", "4", ""), ("p1", "5", "")])
    assert first_rows(raw, "pid")["a"].tolist() == ["1", "3"]
    assert first_rows(raw, None) is raw
    with pytest.raises(DataError, match="patient column 'nobody' is not in the table"):
        first_rows(raw, "nobody")


def test_equal_rows_share_a_key_without_patient_column() -> None:
    keys = patient_keys(table([("x", "18", "63"), ("y", "18.0", "63.0"), ("z", "18", "18")]), PAIR, None)
    assert keys[0] == keys[1] != keys[2]
    assert patient_keys(table([("x ", "18", "63")]), PAIR, "pid") == ["x"]


@settings(deadline=None)
@given(ROWS, st.integers(0, 12), CELLS, CELLS)
def test_added_patient_changes_no_other_first_row(rows: list[tuple[str, str, str]], place: int, a: str, b: str) -> None:
    before = first_rows(table(rows), "pid")
    more = first_rows(table([*rows[:place], ("new", a, b), *rows[place:], ("new", b, a)]), "pid")
    pd.testing.assert_frame_equal(more[more["pid"] != "new"].reset_index(drop=True), before)


@settings(deadline=None)
@given(ROWS, st.integers(0, 12), CELLS, CELLS, st.booleans())
def test_added_patient_changes_no_other_holdout(
    rows: list[tuple[str, str, str]], place: int, a: str, b: str, has_patient_column: bool
) -> None:
    column = "pid" if has_patient_column else None
    numbered = table(rows).assign(place=[str(number) for number in range(len(rows))])
    new = pd.DataFrame({"pid": ["new"], "a": [a], "b": [b], "place": ["new"]})
    longer = pd.concat([numbered.iloc[:place], new, numbered.iloc[place:]], ignore_index=True)
    before, after = (
        [set(part["place"]) - {"new"} for part in split_holdout(t, PAIR, key=b"k", fraction=0.5, patient_column=column)]
        for t in (numbered, longer)
    )
    assert before == after


def test_rows_of_one_patient_stay_together() -> None:
    raw = table([(f"p{number % 50}", str(number), "18") for number in range(200)])
    train, holdout = split_holdout(raw, PAIR, key=b"k", fraction=0.3, patient_column="pid")
    assert set(train["pid"]).isdisjoint(holdout["pid"])
    assert sorted([*train["a"], *holdout["a"]], key=int) == raw["a"].tolist()


def test_no_patient_is_held_out_at_fraction_zero() -> None:
    train, holdout = split_holdout(GOOD, SCHEMA, key=b"k", fraction=0.0, patient_column=None)
    assert (len(train), len(holdout)) == (3, 0)


def test_keyed_fraction_is_uniform_and_depends_on_key() -> None:
    draws = keyed_fraction(b"key", [f"p{number}" for number in range(4000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    # The mean of 4000 uniform numbers has standard deviation 0.289 / sqrt(4000) = 0.0046.
    assert abs(draws.mean() - 0.5) < 0.02
    assert (draws != keyed_fraction(b"other", [f"p{number}" for number in range(4000)])).all()
