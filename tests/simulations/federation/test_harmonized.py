"""Hospitals that store the same patients in their own way, against their harmonized tables."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from client.site.config import Site, read_site
from client.site.creation import init_site
from client.site.imported import FrozenTable
from client.site.importing import import_table
from common.errors import DataError
from common.tables.parts import join
from simulations.federation.hospitals import hospitals_from_directory
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.four_hospitals import (
    HOSPITALS,
    PATIENTS,
    four_hospitals_study,
    harmonized,
    write_harmonized,
    write_local,
)

pytestmark = pytest.mark.usefixtures("quick_learners")


def synthetic_digest(tables: Path, out: Path) -> str:
    prepared = prepare(four_hospitals_study(), hospitals_from_directory(tables), patient_column="patient")
    simulate(prepared, out, Options(rows=100, with_report=False))
    return hashlib.sha256((out / "synthetic.csv").read_bytes()).hexdigest()


def imported_site(folder: Path, name: str, data: Path, mapping: Path | None) -> Site:
    settings: dict[str, Any] = {"name": name, "cohort": name, "data": str(data), "patient_column": "patient"}
    settings |= {"declared_rows": PATIENTS, "max_epsilon": 5.0, "delta": 1e-4}
    if mapping is not None:
        settings["mapping"] = str(mapping)
    init_site(folder, settings)
    site = read_site(folder)
    import_table(site)
    return site


class TestFourHospitals:
    def test_local_tables_give_the_same_synthetic_bytes(self, tmp_path: Path) -> None:
        plain = synthetic_digest(write_harmonized(tmp_path / "plain"), tmp_path / "plain-out")
        assert synthetic_digest(write_local(tmp_path / "local"), tmp_path / "local-out") == plain

    @pytest.mark.parametrize("name", HOSPITALS)
    def test_frozen_table_is_the_harmonized_one(self, tmp_path: Path, name: str) -> None:
        plain, local = write_harmonized(tmp_path / "plain", [name]), write_local(tmp_path / "local", [name])
        mapping = local / f"{name}.toml"
        sites = [
            imported_site(tmp_path / "a", name, plain / f"{name}.csv", None),
            imported_site(tmp_path / "b", name, local / f"{name}.csv", mapping),
        ]
        tables = [join(list(FrozenTable(site).parts())) for site in sites]
        pd.testing.assert_frame_equal(tables[0], harmonized(name))
        pd.testing.assert_frame_equal(tables[1], tables[0])

    def test_local_bytes_share_no_header_with_the_study(self, tmp_path: Path) -> None:
        local = write_local(tmp_path)
        for name, hospital in HOSPITALS.items():
            header = (local / f"{name}.csv").read_text(encoding=hospital.encoding).splitlines()[0]
            assert not set(header.split(hospital.separator)) & set(four_hospitals_study().table.read_names)


class TestFolder:
    def test_unmapped_labels_are_listed_with_counts(self, tmp_path: Path) -> None:
        folder = write_local(tmp_path)
        text = (folder / "north.toml").read_text(encoding="utf-8").replace('divers = "other"\n', "")
        (folder / "north.toml").write_text(text, encoding="utf-8")
        notices: list[str] = []
        tables = hospitals_from_directory(folder, notices=notices)
        divers = int((harmonized("north")["sex"] == "other").sum())
        assert [text for text in notices if f"'divers' ({divers} row" in text and "north.csv: [columns.sex]" in text]
        assert (tables["north"]["sex"] == "").sum() == divers + (harmonized("north")["sex"] == "").sum()

    def test_a_mapping_without_a_table_is_refused(self, tmp_path: Path) -> None:
        folder = write_local(tmp_path)
        (folder / "north.csv").unlink()
        with pytest.raises(DataError, match=r"north\.toml' is the mapping of no table"):
            hospitals_from_directory(folder)
