from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import StudyError
from common.study.rules import Relation, Rule, broken, contradiction, repair, warnings_of_rules
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


def test_rule_is_broken_where_present_values_violate_it() -> None:
    frame = pressures((80, 120), (120, 120), (130, 120), (130, np.nan))
    assert broken(frame, [BELOW]).tolist() == [False, True, True, False]
    assert broken(frame, []).tolist() == [False] * 4


def test_repair_moves_the_right_value_next_to_the_left() -> None:
    mended = repair(pressures((80, 120), (120, 120), (130, 120)), [BELOW], SCHEMA)
    assert mended["systolic"].tolist() == [120, 121, 131]  # one step of the coarser quantization above
    assert mended["diastolic"].tolist() == [80, 120, 130]


def test_repair_stays_within_bounds() -> None:
    above = Rule(left="systolic", relation="<=", right="diastolic")
    mended = repair(pressures((100, 200)), [above], SCHEMA)
    assert mended[["systolic", "diastolic"]].values.tolist() == [[150, 150]]  # diastolic ends at 150


@pytest.mark.parametrize(("left", "named"), [("sex", "'sex'"), ("pulse", "'pulse'")])
def test_rule_on_labels_is_a_study_error(left: str, named: str) -> None:
    rule = f'[[rules]]\nleft = "{left}"\nrelation = "<"\nright = "age"\n'
    with pytest.raises(StudyError, match=named):
        parse_study(STUDY + rule)


def test_rule_on_a_number_and_a_date_is_a_study_error() -> None:
    born = '[[schema.columns]]\nname = "born"\nkind = "date"\nlower = "1900-01-01"\nupper = "2020-12-31"\n'
    study = STUDY + born + RULE.format("age", "born")
    with pytest.raises(StudyError, match="compares numbers with"):
        parse_study(study)


RULE = "\n[[rules]]\nleft = '{}'\nrelation = '<'\nright = '{}'\n"


class TestContradictions:
    COLUMNS = Schema(
        columns=(*(Numeric(name=name, lower=0, upper=9) for name in "abc"), Numeric(name="high", lower=9, upper=20))
    )

    @pytest.mark.parametrize(
        "rules",
        [
            [("a", "<", "b"), ("b", "<", "a")],
            [("a", "<", "b"), ("a", ">", "b")],
            [("a", "<=", "b"), ("b", "<=", "c"), ("c", "<", "a")],
            [("a", "<", "a")],
            [("high", "<", "a")],
        ],
    )
    def test_no_row_can_meet_these(self, rules: list[tuple[str, Relation, str]]) -> None:
        found = contradiction([Rule(left=a, relation=b, right=c) for a, b, c in rules], self.COLUMNS)
        assert found is not None
        assert "'" + " ".join(rules[0]) + "'" in found

    @pytest.mark.parametrize(
        "rules",
        [
            [("a", "<=", "b"), ("b", "<=", "a")],
            [("a", "<", "b"), ("a", "<", "c")],
            [("a", ">", "b"), ("b", ">=", "c")],
            [("high", "<=", "a")],
        ],
    )
    def test_some_row_meets_these(self, rules: list[tuple[str, Relation, str]]) -> None:
        assert contradiction([Rule(left=a, relation=b, right=c) for a, b, c in rules], self.COLUMNS) is None

    def test_a_study_with_them_is_refused(self) -> None:
        with pytest.raises(StudyError, match="'age < lab' excludes 'lab < age': no row can meet them all; remove one"):
            parse_study(STUDY + RULE.format("age", "lab") + RULE.format("lab", "age"))


class TestWarnings:
    def test_a_rule_that_most_break_is_named_with_a_remedy(self) -> None:
        (warning,) = warnings_of_rules({"stage never decreases": 0.9, "left < right": 0.49})
        assert "90% of the drawn patients broke 'stage never decreases'" in warning
        assert "about 31% of all patients were corrected" in warning  # 0.9 to the power of 11
        assert "raise epsilon" in warning

    def test_rules_that_few_break_are_not_warned_of(self) -> None:
        assert warnings_of_rules({"left < right": 0.49}) == []
