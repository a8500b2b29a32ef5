from __future__ import annotations

import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError
from common.evaluation.statistics.data import EvaluationData
from common.study.schema import Schema

SCHEMA = Schema(columns=(Numeric(name="age", lower=0, upper=9), Categorical(name="ill", categories=("no", "yes"))))
TABLE = pd.DataFrame({"surplus": [1, 2], "ill": ["no", "yes"], "age": [1.0, 2.0]})


def test_data_keeps_the_columns_of_the_schema_in_its_order() -> None:
    data = EvaluationData(TABLE, TABLE, TABLE, SCHEMA, "ill")
    for table in (data.train, data.holdout, data.synthetic):
        assert list(table.columns) == ["age", "ill"]
    assert data.numeric == {"age"}
    assert data.codes.names == ("age", "ill")


@pytest.mark.parametrize("role", ["training", "held-out", "synthetic"])
def test_data_refuses_a_table_without_a_column(role: str) -> None:
    tables = [TABLE.drop(columns="age") if role == name else TABLE for name in ("training", "held-out", "synthetic")]
    with pytest.raises(DataError, match=f"the {role} table lacks column 'age'"):
        EvaluationData(tables[0], tables[1], tables[2], SCHEMA, "ill")


@pytest.mark.parametrize("role", ["training", "synthetic"])
def test_data_refuses_a_table_without_rows(role: str) -> None:
    tables = [TABLE.head(0) if role == name else TABLE for name in ("training", "held-out", "synthetic")]
    with pytest.raises(DataError, match=f"the {role} table has no rows"):
        EvaluationData(tables[0], tables[1], tables[2], SCHEMA, "ill")


def test_data_accepts_no_held_out_rows() -> None:
    assert EvaluationData(TABLE, TABLE.head(0), TABLE, SCHEMA, "ill").holdout.empty
