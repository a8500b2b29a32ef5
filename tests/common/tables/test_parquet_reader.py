"""Cells of Parquet files that cannot be text: refused with column, row and remedy, wherever tables are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import DataError
from common.tables.formats import read_parts, read_table

FAR = 3_000_000
"""Days after 1970 until the year 10183."""


def label(kind: pa.DataType) -> Callable[[bytes], pa.Array]:
    return lambda cell: pa.array([b"f", b"m", b"f", cell], pa.binary()).view(kind)


def date(days: int) -> pa.Array:
    return pa.array(np.array([1, 2, 3, days], dtype=np.int32)).view(pa.date32())


def moment(unit: str) -> Callable[[int], pa.Array]:
    return lambda cell: pa.array(np.array([1, 2, 3, cell], dtype=np.int64)).view(pa.timestamp(unit))


CASES: dict[str, tuple[Callable[..., pa.Array], object, object, str]] = {
    "text": (label(pa.string()), b"m", b"m\xe4nnlich", "it is not UTF-8 text; write the file again in UTF-8"),
    "bytes": (lambda cell: pa.array([b"f"] * 3 + [cell]), b"m", b"m\xe4", "it is not UTF-8 text"),
    "date": (date, 4, FAR, "the date is outside the years 1 to 9999; correct it or leave it empty"),
    "date before year 1": (date, 4, -FAR, "the date is outside the years 1 to 9999"),
    "seconds": (moment("s"), 4, 10**13, "the date is outside the years 1 to 9999"),
    "milliseconds": (moment("ms"), 4, 10**16, "the date is outside the years 1 to 9999"),
    "nested date": (
        lambda cell: pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), date(cell)),
        4, FAR, "the value cannot be written as text; correct it, or leave the column out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_bad_cell_is_named_by_column_and_row(tmp_path: Path, case: str) -> None:
    make, good, bad, words = CASES[case]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"c": make(good)}), path)
    assert len(read_table(path)) == 4
    pq.write_table(pa.table({"c": make(bad)}), path)
    for rows in (1, 3, 10):
        with pytest.raises(DataError) as refused:
            list(read_parts(path, rows=rows))
        assert f"column 'c', row 4: {words}" in str(refused.value)
        assert "nlich" not in str(refused.value)


def test_bytes_that_are_text_are_read_as_text(tmp_path: Path) -> None:
    kinds = (pa.binary(), pa.large_binary(), pa.binary(1))
    pq.write_table(pa.table({str(kind): pa.array([b"A", None, b"B"], kind) for kind in kinds}), tmp_path / "t.parquet")
    assert {tuple(cells) for cells in read_table(tmp_path / "t.parquet").to_dict("list").values()} == {("A", "", "B")}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["c", "c"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="columns 1 and 2 have the same name"):
        read_table(tmp_path / "t.parquet")
