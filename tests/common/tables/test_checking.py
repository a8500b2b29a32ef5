"""What the check refuses, and what it tells the owner of a table."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from common.tables.checking import check_table
from common.tables.conforming import conform
from tests.testbeds.ward_table import CANARY, GOOD, SCHEMA, with_cell


def refusal(raw: pd.DataFrame, *, patient_column: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        check_table(raw, SCHEMA, name="north", patient_column=patient_column, target="died")
    message = str(caught.value)
    assert CANARY not in message
    assert all(line.startswith("north: ") for line in message.splitlines())
    return message


def test_a_table_that_fits_passes_without_a_notice() -> None:
    assert check_table(GOOD, SCHEMA, name="north", target="died") == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (GOOD.drop(columns="age"), ["column 'age' is not in the table", "add it"]),
        (GOOD.rename(columns={"age": "Age"}), ["column 'age' is not in the table", "did you mean 'Age'?"]),
        (GOOD.assign(died="no"), ["target 'died' has fewer than 2 distinct values", "choose another or add rows"]),
        (GOOD.iloc[:0], ["the table has no rows", "give a table with a header and rows"]),
    ],
)
def test_misfit_is_named_with_remedy_but_no_cell(raw: pd.DataFrame, expected: list[str]) -> None:
    message = refusal(raw)
    assert [part for part in expected if part not in message] == []
    assert len(message.splitlines()) == 1


def test_patients_must_be_identified() -> None:
    raw = GOOD.assign(pid=["p1", " ", "NA"])
    message = refusal(raw, patient_column="pid")
    assert "patient column 'pid' is blank in 2 rows; fill in or drop these rows" in message
    assert "patient column 'pit' is not in the table; did you mean 'pid'?" in refusal(raw, patient_column="pit")


def test_all_problems_are_named_at_once() -> None:
    raw = with_cell("age", CANARY).drop(columns=["oldpeak", "sex"]).assign(died="no")
    assert len(refusal(raw, patient_column="pid").splitlines()) == 4


SECRET = "; this number is a fact about your patients: do not pass it on"


@pytest.mark.parametrize(
    ("column", "text", "expected", "value"),
    [
        ("age", CANARY, "is outside [18, 100] years in 2 rows, clamped to the bounds", 100),
        ("age", "17", "is outside [18, 100] years in 2 rows, clamped to the bounds", 18),
        ("oldpeak", "-5.1", "is outside [-5, 10] in 2 rows, clamped to the bounds", -5),
        ("age", f"x{CANARY}", "holds text that is not a number in 2 rows, counted as the lower bound, 18", 18),
        ("age", "inf", "holds text that is not a number in 2 rows, counted as the lower bound, 18", 18),
        ("oldpeak", f"x{CANARY}", "holds text that is not a number in 2 rows, counted as missing", None),
        ("age", "?", "is missing in 2 rows where missing = false, counted as the lower bound, 18", 18),
        ("sex", CANARY, "holds unlisted labels in 2 rows, counted as the last category, 'male'", "male"),
        ("ca", CANARY, "holds unlisted labels in 2 rows, counted as missing", None),
        ("ward", CANARY, "holds unlisted labels in 2 rows, counted as the fallback, 'other'", "other"),
        ("sex", "", "is missing in 2 rows where missing = false, counted as the last category, 'male'", "male"),
        ("ward", "", "is missing in 2 rows where missing = false, counted as the fallback, 'other'", "other"),
        ("died", "", "is missing in 2 rows where missing = false, counted as the last category, 'yes'", "yes"),
    ],
)
def test_changed_cell_is_a_notice_with_its_outcome(column: str, text: str, expected: str, value: object) -> None:
    raw = pd.concat([GOOD, GOOD], ignore_index=True)
    raw.loc[[0, 2], column] = text
    assert check_table(raw, SCHEMA, name="north", target="died") == [f"north: column '{column}' {expected}{SECRET}"]
    becomes = conform(raw, SCHEMA)[column][0]
    assert (None if pd.isna(becomes) else becomes) == value


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.text(), st.sampled_from(["", "nan", "1e400", "17", "x"]))] * 6), max_size=5))
def test_no_record_makes_the_check_fail(rows: list[tuple[str, ...]]) -> None:
    raw = pd.DataFrame([*GOOD.to_numpy().tolist(), *rows], columns=list(SCHEMA.names), dtype=object)
    check_table(raw, SCHEMA, name="north", target="died")


def test_notices_come_in_order_with_exact_counts() -> None:
    raw = pd.concat([GOOD, GOOD.iloc[:1]]).assign(pid=["a", "b", "c", "a"], note=CANARY)
    raw["oldpeak"] = ["2.25", "1.0", "", "0"]
    raw["ward"] = ["icu", CANARY, CANARY, "icu"]
    assert check_table(raw, SCHEMA, name="north", patient_column="pid", target="died") == [
        "north: 1 row dropped: only the first of each patient is used",
        "north: columns not in the schema are ignored: 'note'",
        f"north: column 'oldpeak' has more than 1 decimals in 1 row, rounded{SECRET}",
        f"north: column 'ward' holds unlisted labels in 2 rows, counted as the fallback, 'other'{SECRET}",
    ]


def test_only_the_rows_that_will_be_used_are_checked() -> None:
    raw = pd.concat([GOOD, with_cell("age", "101").iloc[:1]]).assign(pid=["a", "b", "c", "a"])
    assert len(check_table(raw, SCHEMA, name="north", patient_column="pid", target="died")) == 1


def test_one_class_is_enough_without_a_target() -> None:
    assert check_table(GOOD.assign(died="no"), SCHEMA, name="north") == []


def test_a_column_in_other_capitals_is_proposed() -> None:
    capitals = GOOD.rename(columns=str.upper)
    with pytest.raises(DataError, match="column 'age' is not in the table; did you mean 'AGE'"):
        check_table(capitals, SCHEMA, name="north")


def test_a_table_that_lost_its_header_is_told_so() -> None:
    headless = GOOD.set_axis([CANARY, *GOOD.iloc[0, 1:]], axis=1)
    with pytest.raises(DataError, match="column 'age' is not in the table; add it; is the first line the header"):
        check_table(headless, SCHEMA, name="north")
