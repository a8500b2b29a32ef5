"""The table of readers: what every format gives, and that a new one is one entry."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyreadstat
import pytest

from common.errors import DataError
from common.tables import excel
from common.tables.formats import READERS, read_parts, read_table, suffix_of
from simulations.federation.hospitals import hospitals_from_directory
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.toy_reader import BARS

RAW = pd.DataFrame({"age": ["63", "", "41"], "sex": ["male", "female", ""], "note": ["", "a, b", "c"]}, dtype=object)


def write_bars(raw: pd.DataFrame, path: Path) -> None:
    lines = [list(raw.columns), *raw.to_numpy().tolist()]
    path.write_text("".join("|".join(line) + "\n" for line in lines), encoding="utf-8")


def write_zip(raw: pd.DataFrame, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", raw.to_csv(index=False))


def write_excel(raw: pd.DataFrame, path: Path) -> None:
    with path.open("wb") as file:
        excel.write_excel(raw, file)


def write_csv(raw: pd.DataFrame, path: Path) -> None:
    raw.to_csv(path, index=False)


def write_tsv(raw: pd.DataFrame, path: Path) -> None:
    raw.to_csv(path, index=False, sep="\t")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": write_csv,
    ".csv.gz": write_csv,
    ".parquet": lambda raw, path: raw.to_parquet(path),
    ".tsv": write_tsv,
    ".tsv.gz": write_tsv,
    ".zip": write_zip,
    ".xlsx": write_excel,
    ".xlsm": write_excel,
    ".xpt": lambda raw, path: pyreadstat.write_xport(raw, path),
    ".sav": lambda raw, path: pyreadstat.write_sav(raw, path),
    ".zsav": lambda raw, path: pyreadstat.write_sav(raw, path, compress=True),
    ".dta": lambda raw, path: pyreadstat.write_dta(raw, path),
    ".bars": write_bars,
}
NOT_WRITTEN = {".sas7bdat", ".por", ".sql", ".toml"}
"""Formats that no free program writes, or whose names of columns are in capitals; `.xpt` and `.sav` share the code.
`.sql` is a query, whose table is in a database (`test_database`)."""


@pytest.fixture(autouse=True)
def toy_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, ".bars", BARS)


@pytest.fixture(params=WRITERS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestEveryReader:
    def test_has_a_writer_here(self) -> None:
        assert set(READERS) - NOT_WRITTEN == set(WRITERS)

    def test_gives_every_cell_as_text(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"table{suffix}"
        WRITERS[suffix](RAW, path)
        pd.testing.assert_frame_equal(read_table(path), RAW)

    @pytest.mark.parametrize("rows", [1, 2, 3])
    def test_gives_wanted_columns_in_file_order(self, tmp_path: Path, suffix: str, rows: int) -> None:
        path = tmp_path / f"table{suffix}"
        WRITERS[suffix](RAW, path)
        parts = list(read_parts(path, ["note", "absent", "age"], rows=rows))
        assert {tuple(part.columns) for part in parts} == {("age", "note")}
        assert [part.rows for part in parts] == [min(rows, 3 - start) for start in range(0, 3, rows)]
        assert [cell for part in parts for cell in part.cells("note")] == RAW["note"].tolist()

    def test_gives_one_part_of_a_table_without_rows(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"table{suffix}"
        WRITERS[suffix](RAW.iloc[:0], path)
        assert [(part.rows, list(part.columns)) for part in read_parts(path)] == [(0, ["age", "sex", "note"])]

    def test_is_found_by_the_end_of_the_name(self, suffix: str) -> None:
        assert suffix_of(Path(f"a.b{suffix.upper()}")) == suffix

    def test_serves_a_folder_of_hospitals(self, tmp_path: Path, suffix: str) -> None:
        for name in ("north", "south"):
            WRITERS[suffix](RAW, tmp_path / f"{name}{suffix}")
        assert list(hospitals_from_directory(tmp_path)) == ["north", "south"]


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"does not end in \.csv, \.csv\.gz, \.parquet, .*\.dta, \.sql, \.bars; save it as one of these"
    ):
        read_table(tmp_path / "table.docx")


def test_a_new_format_serves_a_whole_simulation(tmp_path: Path) -> None:
    study = clinic_study(training={"rounds": 0}, synthesizer={"fit_steps": 5})
    (tmp_path / "data").mkdir()
    for name, raw in clinic_tables().items():
        write_bars(raw, tmp_path / "data" / f"{name}.bars")
    simulate(
        prepare(study, hospitals_from_directory(tmp_path / "data")),
        tmp_path / "out",
        Options(rows=50, with_report=False),
    )
    assert len(read_table(tmp_path / "out" / "synthetic.csv")) == 50
