"""From an OMOP database to hospitals of a simulation, and to a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.federation.hospitals import study_named
from simulations.federation.omop import EUNOMIA, eunomia_file, omop_nsaid_study, omop_table
from simulations.federation.tables import TableSplit
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.omop_database import STUDY, omop_database, omop_study


def test_persons_are_split_by_their_hash(tmp_path: Path) -> None:
    reading = omop_database(tmp_path / "cdm.duckdb", persons=200)
    tables, is_new = TableSplit(reading=reading).open(omop_study(), None)
    again, _ = TableSplit(reading=reading).open(omop_study(), None)
    assert is_new
    assert list(tables) == [f"hospital-{number}" for number in (1, 2, 3, 4)]
    assert sum(map(len, tables.values())) == 200
    assert all(table.equals(again[name]) for name, table in tables.items())


def test_a_study_of_ones_own_needs_a_database() -> None:
    with pytest.raises(StudyError, match="name it with --database"):
        TableSplit().open(omop_study(), None)
    with pytest.raises(StudyError, match="differs from 'person_id'"):
        TableSplit(patient_column="patient").open(omop_study(), None)


def test_simulate_reads_the_database(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    reading = omop_database(tmp_path / "cdm.duckdb", persons=200)
    out = tmp_path / "out"
    options = ("--database", reading.database, "--hospitals", 2, "--no-report", "--out", out)
    done = fedsynth("simulate", "--study", tmp_path / "study.toml", *options)
    assert done.exit_code == 0, done.output
    assert f"--read database={reading.database}" in output_of(done)  # in the command that makes the report later
    assert (out / "synthetic.csv").read_text(encoding="utf-8").startswith("sex,glucose,bleed\n")


def test_study_check_reads_the_database(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    reading = omop_database(tmp_path / "cdm.duckdb")
    done = fedsynth("study", "check", tmp_path / "study.toml", "--database", reading.database)
    assert done.exit_code == 0, done.output
    assert "60 have an event of the study cohort's concepts" in " ".join(output_of(done).split())


@pytest.mark.slow
def test_eunomia_leads_to_a_report(tmp_path: Path) -> None:
    pytest.importorskip(EUNOMIA)
    assert study_named(Path("omop-nsaid")) == omop_nsaid_study()
    assert eunomia_file().is_file()
    done = fedsynth("simulate", "--study", "omop-nsaid", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").is_file()
    table = omop_table(omop_nsaid_study(), TableSplit().reading)
    assert len(table) == 2630
    assert (table["gi_bleed"] == "yes").sum() == 479


def test_a_missing_eunomia_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.federation.omop.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"run `pip install 'fedsynth\[omop\]'`, or give --database"):
        eunomia_file()
