"""Raw tables to conformed ones and back."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.study.schema import Schema
from common.tables.conforming import conform, format_table
from tests.testbeds.ward_table import GOOD, SCHEMA

PAIR = Schema(columns=(Numeric(name="a", lower=0, upper=100), Categorical(name="b", categories=("18", "63"))))


def test_conform_clamps_rounds_and_uses_fallbacks() -> None:
    raw = pd.DataFrame(
        {
            "age": [" 63 ", "17", "1e9", "x", "-inf"],
            "oldpeak": ["2.34", "", "abc", "1_0", "-0.01"],
            "sex": ["female", "martian", "", " male", "male"],
            "ca": ["1.0", "", "5", "01", "None"],
            "died": ["no", "yes", "no", "yes", "no"],
            "surplus": "x",
        }
    )
    table = conform(raw, SCHEMA)
    assert list(table.columns) == list(SCHEMA.names)
    # Not allowed to be missing: the lower bound.
    assert table["age"].tolist() == [63, 18, 100, 18, 18]
    assert table["oldpeak"].fillna(99).tolist() == [2.3, 99, 99, 99, 0]
    assert not np.signbit(table["oldpeak"][4])
    # Not allowed to be missing, and no fallback: the last category.
    assert table["sex"].tolist() == ["female", "male", "male", "male", "male"]
    assert table["ca"].tolist() == ["1", None, None, "1", None]
    # The column is not there: missing throughout, so the fallback.
    assert table["ward"].tolist() == ["other"] * 5


def test_a_missing_word_that_is_listed_is_a_category() -> None:
    schema = Schema(columns=(Categorical(name="glucose", categories=("None", "high"), missing=True), *PAIR.columns))
    table = conform(pd.DataFrame({"glucose": ["None", "NA", "", "high"]}), schema)
    assert table["glucose"].tolist() == ["None", None, None, "high"]


def test_an_exact_label_wins_over_an_equal_number() -> None:
    schema = Schema(columns=(Categorical(name="code", categories=("1", "01", "2.50")), *PAIR.columns))
    table = conform(pd.DataFrame({"code": ["01", "1", "1.0", "2.5"]}), schema)
    assert table["code"].tolist() == ["01", "1", "1", "2.50"]


NASTY = st.one_of(
    st.text(), st.sampled_from(["", "nan", "1e400", "-1e308", "٣", "1\x00", "0x1A", " 7", "-0", "\ud800"])
)


@settings(deadline=None)
@given(st.lists(st.tuples(*[NASTY] * len(SCHEMA.names)), max_size=5))
def test_conform_never_fails_and_keeps_its_own_text(rows: list[tuple[str, ...]]) -> None:
    raw = pd.DataFrame(rows, columns=list(SCHEMA.names), dtype=object)
    table = conform(raw, SCHEMA)
    assert table["age"].between(18, 100).all()
    assert set(table["sex"]) <= {"female", "male"}
    text = format_table(table, SCHEMA)
    pd.testing.assert_frame_equal(conform(text, SCHEMA), table)
    pd.testing.assert_frame_equal(format_table(conform(text, SCHEMA), SCHEMA), text)


@settings(deadline=None)
@given(st.lists(NASTY, min_size=1, max_size=8), NASTY)
def test_a_cell_conforms_alone(cells: list[str], other: str) -> None:
    def conformed(texts: list[str]) -> pd.DataFrame:
        return conform(pd.DataFrame(dict.fromkeys(SCHEMA.names, texts), dtype=object), SCHEMA)

    pd.testing.assert_frame_equal(conformed([*cells, other]).iloc[:-1], conformed(cells))


def test_a_conformed_table_is_written_with_the_declared_decimals() -> None:
    text = format_table(conform(GOOD, SCHEMA), SCHEMA)
    assert text["age"].tolist() == ["63", "40", "51"]
    assert text["oldpeak"].tolist() == ["2.3", "", "-1.0"]
    assert text["ca"].tolist() == ["0", "1", ""]
