from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import StudyError
from common.study.rules import Rule, broken, mend
from common.study.schema import Schema
from common.study.study import parse_study
from tests.testbeds.clinic import STUDY

SCHEMA = Schema(
    columns=(
        Numeric(name="diastolic", lower=30, upper=150),
        Numeric(name="systolic", lower=60, upper=250, missing=True),
        Categorical(name="sex", categories=("female", "male")),
    )
)
BELOW = Rule(left="diastolic", relation="<", right="systolic")


def pressures(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["diastolic", "systolic"]).assign(sex="female")


def test_a_rule_is_broken_where_both_values_are_there_and_do_not_hold() -> None:
    frame = pressures((80, 120), (120, 120), (130, 120), (130, np.nan))
    assert broken(frame, [BELOW]).tolist() == [False, True, True, False]
    assert broken(frame, []).tolist() == [False] * 4


def test_mending_moves_the_right_hand_value_next_to_the_left_hand_one() -> None:
    mended = mend(pressures((80, 120), (120, 120), (130, 120)), [BELOW], SCHEMA)
    assert mended["systolic"].tolist() == [120, 121, 131]  # one step of the coarser quantization above
    assert mended["diastolic"].tolist() == [80, 120, 130]


def test_mending_stays_within_the_bounds_and_moves_the_left_hand_value_if_it_must() -> None:
    above = Rule(left="systolic", relation="<=", right="diastolic")
    mended = mend(pressures((100, 200)), [above], SCHEMA)
    assert mended[["systolic", "diastolic"]].values.tolist() == [[150, 150]]  # diastolic ends at 150


@pytest.mark.parametrize(("left", "named"), [("sex", "'sex'"), ("pulse", "'pulse'")])
def test_a_rule_on_a_column_that_is_not_numeric_is_a_study_error(left: str, named: str) -> None:
    rule = f'[[rules]]\nleft = "{left}"\nrelation = "<"\nright = "age"\n'
    with pytest.raises(StudyError, match=named):
        parse_study(STUDY + rule)
