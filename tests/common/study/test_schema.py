from typing import Any

import pytest
from pydantic import ValidationError

from common.columns.base import Column
from common.columns.categorical import Categorical
from common.columns.date import Date
from common.columns.numeric import Numeric
from common.columns.text import Text
from common.study.schema import Schema

AGE = Numeric(name="age", lower=18, upper=100)
SEX = Categorical(name="sex", categories=("female", "male"))


def test_a_schema_keeps_the_order_of_its_columns() -> None:
    schema = Schema(columns=(SEX, AGE))
    assert schema.names == ("sex", "age")
    assert list(schema.each()) == [SEX, AGE]
    assert schema.with_grid == (AGE,)
    assert schema["age"] == AGE


def later(name: str, since: str) -> Date:
    return Date(name=name, date_format="%Y-%m-%d", since=since, least=0, most=30)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((AGE, Text(name="note")), "fewer than 2 columns that are read from records"),
        ((AGE, SEX, later("left", "came")), "column 'left' names column 'came', which is not declared"),
        ((AGE, SEX, later("left", "left")), "column 'left' names column 'left', which is not declared"),
        ((AGE, SEX, later("left", "age")), "column 'left' has since = 'age', which is not a date"),
    ],
)
def test_columns_that_do_not_go_together_are_refused(columns: tuple[Column, ...], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Schema(columns=columns)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"lower": 5, "upper": 5}, "'x': lower must be below upper; swap or widen"),
        ({"lower": 6, "upper": 5}, "'x': lower must be below upper; swap or widen"),
        ({"lower": 0.5, "upper": 5}, "'x': lower has more than 0 decimals; round it to a multiple of 1 or raise"),
        (
            {"lower": 0, "upper": 5.25, "decimals": 1},
            "'x': upper has more than 1 decimals; round it to a multiple of 0.1",
        ),
        ({"lower": 0, "upper": float("inf")}, "finite"),
        ({"lower": 0, "upper": 5, "decimals": -1}, "greater than or equal to 0"),
        ({"lower": "0", "upper": 5}, "valid number"),
        ({"lower": 0, "upper": 5, "categories": ["a"]}, "not permitted"),
        ({"lower": 0, "upper": 50, "multiples": [1]}, "'x': 1 in multiples must be between 1 and the range"),
        ({"lower": 0, "upper": 50, "multiples": [50]}, "'x': 50 in multiples must be between 1 and the range"),
        ({"lower": 0, "upper": 50, "multiples": [2.5]}, "'x': 2.5 in multiples has more than 0 decimals; round it"),
        ({"lower": 0, "upper": 1e12, "multiples": [1e9 + 0.4]}, "'x': 1000000000.4 in multiples has more than 0 dec"),
        ({"lower": 0, "upper": 50, "multiples": [5, 10]}, "'x': multiples go from coarse to fine"),
        ({"lower": 0, "upper": 50, "multiples": [10, 10]}, "'x': multiples go from coarse to fine"),
        ({"lower": 0, "upper": 50, "multiples": [10, 4]}, "each a multiple of the next, as in"),
        (
            {"lower": 1e12, "upper": 1e12 + 1000, "decimals": 4, "multiples": [1]},
            "'x': its values have more digits than float64 can",
        ),
    ],
)
def test_a_numeric_column_refuses(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Numeric(name="x", **keys)


def test_multiples_are_kept_and_left_out_if_unset() -> None:
    column = Numeric(name="x", lower=-5, upper=50, decimals=2, multiples=(10.0, 0.25))
    assert column.steps == (1000, 25)
    assert Numeric.model_validate(column.model_dump()) == column
    assert "multiples" not in AGE.model_dump()  # so that fingerprints of older studies stay what they were


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"categories": ("a", "b", "a")}, "'x': category 'a' is listed twice; remove one"),
        ({"categories": ("a", "")}, "'x': a category is empty; declare missing = true"),
        ({"categories": ("a", "b"), "fallback": "c"}, "'x': fallback must be one of the categories"),
        ({"categories": ()}, "at least 1"),
    ],
)
def test_a_categorical_column_refuses(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Categorical(name="x", **keys)


@pytest.mark.parametrize("mark", ["\n", "\x1b", "\x00", "\u202e", "\u2028", "\u200b"])
def test_readable_texts_hold_no_control_characters(mark: str) -> None:
    text = f"sex{mark}It costs each patient epsilon 0.05."
    said = rf"the character U\+{ord(mark):04X} cannot be printed; remove it"
    for keys in ({"name": text}, {"unit": text}, {"description": text}):
        with pytest.raises(ValidationError, match=said):
            Numeric(**({"name": "x", "lower": 0, "upper": 1} | keys))  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=said):
        Categorical(name="x", categories=("a", text))
    Categorical(name="größe\u00a0(cm)", categories=("≥ 10 µg", "男"))


def test_schema_refuses_twins_and_a_single_column() -> None:
    with pytest.raises(ValidationError, match="column 'age' is declared twice; remove one"):
        Schema(columns=(AGE, SEX, AGE))
    with pytest.raises(ValidationError, match="at least 2"):
        Schema(columns=(AGE,))


def test_unlisted_label_goes_to_fallback_missing_or_last() -> None:
    assert Categorical(name="x", categories=("a", "b", "c"), fallback="b", missing=True).fallback_code == 1
    assert Categorical(name="x", categories=("a", "b", "c"), missing=True).fallback_code == 3
    assert Categorical(name="x", categories=("a", "b", "c")).fallback_code == 2


def test_a_column_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        AGE.lower = 0.0
