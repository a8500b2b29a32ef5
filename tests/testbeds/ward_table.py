"""An invented table of a ward with its schema: six columns, three patients, and a number that no message may hold."""

import pandas as pd

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.study.schema import Schema

CANARY = "7777123"
SCHEMA = Schema(
    columns=(
        Numeric(name="age", lower=18, upper=100, unit="years"),
        Numeric(name="oldpeak", lower=-5, upper=10, decimals=1, missing=True),
        Categorical(name="sex", categories=("female", "male")),
        Categorical(name="ca", categories=("0", "1", "2"), missing=True),
        Categorical(name="ward", categories=("icu", "other"), fallback="other"),
        Categorical(name="died", categories=("no", "yes")),
    )
)
GOOD = pd.DataFrame(
    {
        "age": ["63", "40", "51"],
        "oldpeak": ["2.3", "", "-1"],
        "sex": ["male", "female", "male"],
        "ca": ["0", "1.0", "NA"],
        "ward": ["icu", "icu", "other"],
        "died": ["no", "yes", "no"],
    }
)


def with_cell(column: str, text: str) -> pd.DataFrame:
    table = GOOD.copy()
    table.loc[0, column] = text
    return table
