"""Writing synthetic tables: every format gives back what was written, with the declared types."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from common.columns.boolean import Boolean
from common.columns.categorical import Categorical
from common.columns.date import Date, Datetime
from common.columns.numeric import Numeric
from common.errors import DataError, StudyError
from common.study.schema import Schema
from common.tables.formats import read_table
from common.tables.writing import WRITERS, format_of

SCHEMA = Schema(
    columns=(
        Numeric(name="age", lower=0, upper=100, missing=True),
        Numeric(name="crp", lower=0, upper=200, decimals=1, missing=True),
        Numeric(name="lab", lower=0, upper=9, decimals=1, below="<0.1"),
        Categorical(name="zip", categories=("01002", "=1+1"), missing=True),
        Boolean(name="died", true="Y", false="N"),
        Date(name="seen", lower="2020-01-01", upper="2021-01-01", missing=True),
        Datetime(name="left", lower="2020-01-01 00:00", upper="2021-01-01 00:00"),
    )
)
RAW = pd.DataFrame(
    {
        "age": ["63", ""],
        "crp": ["1.5", ""],
        "lab": ["<0.1", "2.5"],
        "zip": ["01002", "=1+1"],
        "died": ["Y", "N"],
        "seen": ["2020-05-31", ""],
        "left": ["2020-06-01 08:30", "2020-06-02 00:00"],
    },
    dtype=object,
)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_back_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"t.{name}"
    path.write_bytes(WRITERS[name](RAW, SCHEMA))
    again = read_table(path)
    if name != "csv":  # times have seconds in the text of typed cells
        again["left"] = [text.removesuffix(":00") if text.count(":") > 1 else f"{text}" for text in again["left"]]
    pd.testing.assert_frame_equal(again, RAW)


def test_parquet_has_the_declared_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(WRITERS["parquet"](RAW, SCHEMA))
    types = [str(field.type) for field in pq.read_schema(path)]
    assert types[:2] == ["int64", "double"]
    assert set(types[2:5]) <= {"string", "large_string"}
    assert types[5] == "date32[day]"
    assert types[6].startswith("timestamp")


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [("a.csv", None, "csv"), ("a.PARQUET", None, "parquet"), ("a", "xlsx", "xlsx"), ("a.dat", "csv", "csv")],
)
def test_the_name_or_the_option_tells_the_format(name: str, chosen: str | None, expected: str) -> None:
    assert format_of(Path(name), chosen) == expected


@pytest.mark.parametrize(
    ("name", "chosen", "cause"),
    [("a.dat", None, "does not end in a known"), ("a.csv", "parquet", "ends like csv"), ("a.csv", "x", "is unknown")],
)
def test_an_unclear_format_is_refused(name: str, chosen: str | None, cause: str) -> None:
    with pytest.raises(StudyError, match=cause):
        format_of(Path(name), chosen)


def test_more_rows_than_a_sheet_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.tables.excel.MOST_ROWS", 3)  # of which one is the header
    WRITERS["xlsx"](RAW, SCHEMA)
    with pytest.raises(DataError, match="an Excel sheet holds at most 2 rows"):
        WRITERS["xlsx"](pd.concat([RAW, RAW]), SCHEMA)
