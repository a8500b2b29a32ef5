from __future__ import annotations

import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.columns.categorical import Categorical
from common.errors import DataError
from common.study.schema import Schema
from common.tables.conforming import conform
from common.tables.formats import read_parts, read_table
from common.tables.parts import Part
from tests.testbeds.clinic import clinic_study, clinic_table


def text_of(parts: list[Part], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: [cell for part in parts for cell in part.cells(name)] for name in names}, dtype=object)


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_parts_hold_every_cell_of_the_file(tmp_path: Path, suffix: str, rows: int) -> None:
    raw, path = clinic_table(100, 1), tmp_path / f"table{suffix}"
    raw.to_parquet(path, row_group_size=30) if suffix == ".parquet" else raw.to_csv(path, index=False)
    parts = list(read_parts(path, ["sex", "lab", "absent"], rows=rows))
    assert sum(part.rows for part in parts) == 100
    assert max(part.rows for part in parts) <= rows
    pd.testing.assert_frame_equal(text_of(parts, ["sex", "lab"]), raw[["sex", "lab"]])
    pd.testing.assert_frame_equal(read_table(path), raw)


def test_typed_cells_become_the_same_text(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table = pa.table(
        {
            "whole": pa.array([9007199254740993, None, 3]),
            "short": pa.array([0.1, None, float("nan")], pa.float32()),
            "truth": pa.array([True, None, False]),
            "label": pa.array(["a", None, ""]).dictionary_encode(),
            "day": pa.array([datetime.date(2020, 1, 2), None, datetime.date(1999, 9, 9)]),
            "time": pa.array([datetime.datetime(2020, 1, 2, 3), None, datetime.datetime(1999, 9, 9)]),
            "nested": pa.array([[1, 2], None, []]),
        }
    )
    pq.write_table(table, path)
    expected = pd.DataFrame(
        {
            "whole": ["9007199254740993", "", "3"],
            "short": ["0.1", "", ""],
            "truth": ["True", "", "False"],
            "label": ["a", "", ""],
            "day": ["2020-01-02", "", "1999-09-09"],
            "time": ["2020-01-02 03:00:00", "", "1999-09-09 00:00:00"],
            "nested": ["[1 2]", "", "[]"],
        },
        dtype=object,
    )
    pd.testing.assert_frame_equal(read_table(path), expected)
    parts = list(read_parts(path, table.column_names, rows=2))
    pd.testing.assert_frame_equal(text_of(parts, table.column_names), expected)


def test_a_part_conforms_as_the_table_does() -> None:
    raw, schema = clinic_table(50, 2), clinic_study().table
    raw.loc[0, "age"], raw.loc[1, "sex"], raw.loc[2, "lab"] = "12000", "unknown", "?"
    pd.testing.assert_frame_equal(Part.of(raw).conform(schema), conform(raw, schema))
    without = raw.drop(columns="lab")
    pd.testing.assert_frame_equal(Part.of(without).conform(schema), conform(without, schema))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_without_rows_is_one_empty_part(tmp_path: Path, suffix: str) -> None:
    raw, path, schema = clinic_table(3, 1).iloc[:0], tmp_path / f"table{suffix}", clinic_study().table
    raw.to_parquet(path) if suffix == ".parquet" else raw.to_csv(path, index=False)
    parts = list(read_parts(path, ["sex", "lab", "absent"]))
    assert [(part.rows, sorted(part.columns)) for part in parts] == [(0, ["lab", "sex"])]
    assert len(parts[0].conform(schema)) == 0


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    clinic_table(500, 1).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(path)


def test_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="check path and format"):
        list(read_parts(tmp_path / "table.parquet", ["age"]))
    with pytest.raises(DataError, match="does not end in"):
        list(read_parts(tmp_path / "table.txt", ["age"]))
    (tmp_path / "twice.csv").write_text("age,age\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="have the same name"):
        list(read_parts(tmp_path / "twice.csv", ["age"]))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells_that_differ_after_a_nul_stay_apart(tmp_path: Path, suffix: str) -> None:
    raw, path = pd.DataFrame({"a": ["", "x", "x\0y"]}, dtype=object), tmp_path / f"table{suffix}"
    raw.to_parquet(path) if suffix == ".parquet" else raw.to_csv(path, index=False)
    column = Categorical(name="a", categories=("x", "y"), missing=True)
    schema = Schema(columns=(column, column.model_copy(update={"name": "b"})))
    for part in (*read_parts(path), Part.of(raw)):
        assert part.cells("a") == ["", "x", "x\0y"]
        pd.testing.assert_frame_equal(part.conform(schema), conform(raw, schema))
