"""Parquet files that hold far more than their bytes: honest tables of little entropy are read, bombs are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import DataError
from common.tables import parquet_reader
from common.tables.formats import read_parts
from common.tables.parquet_reader import MOST_AT_ONCE, MOST_CELLS, MOST_RATIO, PART_CELLS

PEAK = """
import resource, sys
from pathlib import Path
from common.errors import DataError
from common.tables.formats import read_parts
before, rows = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
try:
    for part in read_parts(Path(sys.argv[1])):
        rows += part.rows
except DataError as problem:
    rows = -1
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
"""Prints how many rows a file has, -1 if it is refused, and by how many bytes reading raised the peak of memory."""


def rare_findings(path: Path, rows: int) -> Path:
    """Write two findings that nearly no patient has."""
    findings = pa.array(["not documented", "documented"]).take(
        pa.array(np.arange(rows) % (rows // 3) == 7).cast("int8")
    )
    pq.write_table(pa.table({"emphysema": findings, "sarcoidosis": findings}), path, compression="zstd")
    return path


def zeros(path: Path, count: int) -> Path:
    """Write a column of zeros in one page."""
    options = {"row_group_size": count, "max_rows_per_page": count, "data_page_size": 2**31 - 1}
    pq.write_table(pa.table({"crp": np.zeros(count)}), path, compression="zstd", use_dictionary=False, **options)
    return path


def peak(path: Path) -> tuple[int, int]:
    """Return rows, -1 for a refused file, and bytes of memory that reading took."""
    result = subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True)
    rows, memory = result.stdout.split()
    return int(rows), int(memory)


def test_rare_findings_of_a_million_patients_are_read(tmp_path: Path) -> None:
    path = rare_findings(tmp_path / "t.parquet", 10**6)
    # Characters of all cells, which once were a reason to refuse the file.
    assert max(2**24, MOST_RATIO * path.stat().st_size) < 2 * 14 * 10**6
    cells = {cell for part in read_parts(path) for cell in part.columns["emphysema"].distinct()[0]}
    assert cells == {"not documented", "documented"}


def test_a_wide_part_has_fewer_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "PART_CELLS", 100)
    pd.DataFrame({f"c{number}": range(12) for number in range(20)}).to_parquet(tmp_path / "t.parquet")
    assert [part.rows for part in read_parts(tmp_path / "t.parquet")] == [5, 5, 2]
    assert [part.rows for part in read_parts(tmp_path / "t.parquet", ["c1", "c2"])] == [12]


def test_gaps_beyond_the_limit_of_cells_are_refused(tmp_path: Path) -> None:
    gaps = pa.nulls(MOST_CELLS // 64 + 1, pa.int8())
    path = tmp_path / "t.parquet"
    table, rows = pa.table({f"c{number}": gaps for number in range(64)}), len(gaps)
    pq.write_table(table, path, compression="zstd", row_group_size=rows, max_rows_per_page=rows)
    with pytest.raises(DataError, match=f"unpacks to more than {MOST_CELLS} cells"):
        next(iter(read_parts(path)))


def test_a_long_list_of_missing_items_is_refused(tmp_path: Path) -> None:
    items = pa.nulls(PART_CELLS + 1, pa.int8())
    lists = pa.ListArray.from_arrays(pa.array([0, len(items)], pa.int32()), items)
    pq.write_table(pa.table({"codes": lists}), tmp_path / "t.parquet", compression="zstd")
    with pytest.raises(DataError, match=f"unpacks to more than {PART_CELLS} cells"):
        next(iter(read_parts(tmp_path / "t.parquet")))


def test_row_groups_beyond_the_limit_of_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in (("MOST_IN_ALL", 2**20), ("MOST_RATIO", 10)):
        monkeypatch.setattr(parquet_reader, limit, value)
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "row_group_size": 2**15}
    pq.write_table(pa.table({"crp": np.zeros(2**18)}), tmp_path / "t.parquet", **options)  # 8 groups of 2^18 bytes
    with pytest.raises(DataError, match=f"unpacks to more than {2**20} cells or bytes"):
        next(iter(read_parts(tmp_path / "t.parquet")))


def test_parts_beyond_the_limit_of_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in (("MOST_IN_ALL", 2**17), ("MOST_RATIO", 10), ("PART_CELLS", 100)):
        monkeypatch.setattr(parquet_reader, limit, value)
    pq.write_table(pa.table({"note": ["A" * 200] * 2000}), tmp_path / "t.parquet", compression="zstd")
    parts = iter(read_parts(tmp_path / "t.parquet"))
    assert [next(parts).rows for _ in range(6)] == [100] * 6  # 20,000 characters each
    with pytest.raises(DataError, match=f"unpacks to more than {2**17} cells or bytes"):
        next(parts)


def test_a_page_beyond_the_limit_takes_no_memory(tmp_path: Path) -> None:
    rows, memory = peak(zeros(tmp_path / "t.parquet", MOST_AT_ONCE // 8 + 1000))
    assert rows == -1
    assert memory < 2**26


@pytest.mark.slow
def test_a_page_at_the_limit_takes_its_own_memory(tmp_path: Path) -> None:
    count = MOST_AT_ONCE // 8 - 1000
    rows, memory = peak(zeros(tmp_path / "t.parquet", count))
    assert rows == count
    assert memory < MOST_AT_ONCE + 2**26
