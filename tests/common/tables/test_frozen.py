"""Frozen tables: canonical form, a digest that hides its table, and refusal of any other file."""

from __future__ import annotations

import stat
from pathlib import Path

import pandas as pd
import pytest

from common.tables import frozen as module
from common.tables.formats import read_parts
from common.tables.frozen import SALT_BYTES, ChangedError, digest_of, read_frozen, write_frozen
from common.tables.parts import Part, join
from tests.testbeds.clinic import clinic_table

RAW = clinic_table(100, 1).assign(note=['a\n"b"', "", "x\0y", "é"] * 25)


def parts_of(raw: pd.DataFrame, rows: int) -> list[Part]:
    return [Part.of(raw.iloc[start : start + rows].reset_index(drop=True)) for start in range(0, len(raw), rows)]


@pytest.fixture
def no_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.tables.frozen.os.urandom", lambda count: b"0" * count)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_every_cell_comes_back_and_none_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 32)
    written = write_frozen(parts_of(RAW, rows), tmp_path / "t.parquet")
    parts = list(read_frozen(tmp_path / "t.parquet", written.sha256))
    assert written.rows == 100
    assert [part.rows for part in parts] == [32, 32, 32, 4]
    pd.testing.assert_frame_equal(join(parts), RAW)
    wanted = join(list(read_frozen(tmp_path / "t.parquet", written.sha256, ["note", "absent", "age"])))
    pd.testing.assert_frame_equal(wanted, RAW[["age", "note"]])


@pytest.mark.usefixtures("no_salt")
def test_equal_tables_give_equal_files_whatever_held_them(tmp_path: Path) -> None:
    RAW.to_csv(tmp_path / "t.csv", index=False)
    RAW.to_parquet(tmp_path / "t.parquet", row_group_size=30)
    sources = [parts_of(RAW, 9), read_parts(tmp_path / "t.csv", rows=50), read_parts(tmp_path / "t.parquet", rows=33)]
    digests = {write_frozen(parts, tmp_path / f"{number}").sha256 for number, parts in enumerate(sources)}
    assert len(digests) == 1


def test_a_digest_says_nothing_about_its_table(tmp_path: Path) -> None:
    # Hashes that contain it leave the hospital: whoever knows all patients but one must not be able to compute it.
    assert SALT_BYTES >= 32
    one, two = (write_frozen([Part.of(RAW)], tmp_path / name).sha256 for name in ("one", "two"))
    assert one != two


def test_only_the_account_that_wrote_it_can_read_it(tmp_path: Path) -> None:
    write_frozen([Part.of(RAW)], tmp_path / "t.parquet")
    assert stat.S_IMODE((tmp_path / "t.parquet").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_frozen([Part.of(RAW)], tmp_path / "t.parquet")


def test_a_changed_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    written = write_frozen([Part.of(RAW)], path)
    assert written.sha256 == digest_of(path)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChangedError):
        next(read_frozen(path, written.sha256))


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    written = write_frozen([Part.of(RAW.iloc[:0])], tmp_path / "t.parquet")
    (part,) = read_frozen(tmp_path / "t.parquet", written.sha256)
    assert (part.rows, list(part.columns)) == (0, list(RAW.columns))
