"""How the table of a simulation becomes the tables of its hospitals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from common.errors import DataError, StudyError
from common.tables.formats import AS_WRITTEN
from common.tables.reading import parse_reading
from simulations.federation.tables import DEFAULT_HOSPITALS, TableSplit, check_tables
from tests.testbeds.clinic import clinic_study, clinic_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    clinic_table(80, 1).assign(ward=["a", "b"] * 40).to_csv(path, index=False)
    return path


class TestTableSplit:
    def test_one_table_becomes_several_hospitals(self, table: Path) -> None:
        tables, is_new = TableSplit(one_row_per_patient=True).open(clinic_study(), table)
        assert is_new
        assert len(tables) == DEFAULT_HOSPITALS
        assert sum(map(len, tables.values())) == 80

    def test_a_column_names_the_hospitals(self, table: Path) -> None:
        tables, is_new = TableSplit("ward", one_row_per_patient=True).open(clinic_study(), table)
        assert not is_new
        assert {name: len(rows) for name, rows in tables.items()} == {"a": 40, "b": 40}

    def test_a_folder_stays_as_it_is(self, table: Path) -> None:
        tables, is_new = TableSplit(one_row_per_patient=True).open(clinic_study(), table.parent)
        assert not is_new
        assert list(tables) == ["table"]

    def test_two_ways_to_split_are_refused(self) -> None:
        with pytest.raises(StudyError, match="give one of them"):
            TableSplit("ward", 2)

    def test_a_skew_needs_a_number_of_hospitals(self) -> None:
        with pytest.raises(StudyError, match="give both"):
            TableSplit(skew=0.5)

    def test_a_column_splits_one_table_only(self, table: Path) -> None:
        with pytest.raises(StudyError, match="--site-column splits one table"):
            TableSplit("ward", one_row_per_patient=True).open(clinic_study(), table.parent)

    def test_a_site_column_of_the_study_is_refused_unread(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError) as refused:
            TableSplit("sex", one_row_per_patient=True).open(clinic_study(), tmp_path / "none.csv")
        assert str(refused.value) == (
            "column 'sex' names the site and is also in the study; draft the study again with --site-column sex, or "
            "delete the column from it"
        )

    def test_a_folder_that_is_split_again_gives_a_notice(self, table: Path) -> None:
        (notice,) = TableSplit(hospitals=4).notices(table.parent)
        assert f"--hospitals 4 puts the tables of '{table.parent}' together and splits them at random" in notice
        assert len(TableSplit(hospitals=4).notices(None)) == 1
        assert TableSplit(hospitals=4).notices(table) == []
        assert TableSplit().notices(table.parent) == []

    def test_one_hospital_cannot_share_noise(self, table: Path) -> None:
        study = clinic_study(privacy={"noise": "distributed"})
        with pytest.raises(StudyError, match="add --noise local"):
            TableSplit(hospitals=1, one_row_per_patient=True).open(study, table)

    def test_a_table_without_the_target_is_refused(self, table: Path) -> None:
        pd.read_csv(table).drop(columns="outcome").to_csv(table, index=False)
        with pytest.raises(DataError, match="column 'outcome' is not in the table"):
            TableSplit(one_row_per_patient=True).open(clinic_study(), table)


def test_a_folder_of_parquet_parts_is_one_table(tmp_path: Path) -> None:
    parts = tmp_path / "all.parquet"
    parts.mkdir()
    clinic_table(200, seed=0).to_parquet(parts / "part-0.parquet")
    tables, is_new = TableSplit(one_row_per_patient=True).open(clinic_study(), parts)
    assert (len(tables), is_new) == (4, True)
    shutil.copytree(parts, tmp_path / "hospitals" / "north.parquet")
    assert list(TableSplit(one_row_per_patient=True).open(clinic_study(), tmp_path / "hospitals")[0]) == ["north"]


def test_what_is_declared_about_files_is_used_and_told(tmp_path: Path) -> None:
    clinic_table(200, seed=0).to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    (tmp_path / "t.csv").write_text("# exported\n" + (tmp_path / "t.csv").read_text())
    split = TableSplit(reading=parse_reading(["comment=#"]), one_row_per_patient=True)
    assert split.notices(tmp_path / "t.csv") == ["t.csv is read as semicolon-separated, comment lines start with #"]
    assert len(split.open(clinic_study(), tmp_path / "t.csv")[0]) == 4


def test_a_site_column_that_is_not_there_gets_a_near_name(table: Path) -> None:
    with pytest.raises(DataError, match=r"site column 'Ward ' is not in the table; did you mean 'ward'\?"):
        TableSplit("Ward ", one_row_per_patient=True).open(clinic_study(), table)


class TestCheckTables:
    def folder(self, path: Path, **changes: pd.DataFrame) -> Path:
        path.mkdir()
        for name, table in {"north": clinic_table(40, 1), "south": clinic_table(40, 2), **changes}.items():
            table.to_csv(path / f"{name}.csv", index=False)
        return path

    def test_a_folder_is_checked_hospital_by_hospital(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path / "tables", south=clinic_table(40, 2).assign(outcome="no", more="x"))
        tables, notices = check_tables(clinic_study(), folder, AS_WRITTEN, None)
        assert list(tables) == ["north", "south"]
        assert any("south: columns not in the schema are ignored: 'more'" in notice for notice in notices)

    def test_one_table_is_checked_through_its_mapping(self, tmp_path: Path) -> None:
        table, mapping = tmp_path / "local.csv", tmp_path / "mapping.toml"
        clinic_table(40, 1).rename(columns={"lab": "Labor"}).to_csv(table, index=False)
        mapping.write_text('keep_others = true\n[columns.lab]\nfrom = "Labor"\n', encoding="utf-8")
        with pytest.raises(DataError, match="column 'lab' is not in the table"):
            check_tables(clinic_study(), table, AS_WRITTEN, None)
        tables, _ = check_tables(clinic_study(), table, AS_WRITTEN, None, mapping_file=mapping)
        assert tables["local.csv"]["lab"].tolist() == clinic_table(40, 1)["lab"].astype(str).tolist()
        with pytest.raises(StudyError, match="--mapping is of one table"):
            check_tables(clinic_study(), tmp_path, AS_WRITTEN, None, mapping_file=mapping)

    def test_problems_of_all_hospitals_are_told_at_once(self, tmp_path: Path) -> None:
        bad = {name: clinic_table(40, 1).drop(columns="lab") for name in ("north", "south")}
        with pytest.raises(DataError) as refused:
            check_tables(clinic_study(), self.folder(tmp_path / "tables", **bad), AS_WRITTEN, None)
        assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == ["north", "south"]
