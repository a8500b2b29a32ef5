"""A guarantee for patients needs a person who says which rows are theirs, in every command that reads a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.benchmark.tables import OwnTable
from simulations.federation.hospitals import built_in_study
from simulations.federation.patient_unit import check_rows_are_patients
from simulations.federation.tables import TableSplit
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.visits import invented_visits, visits_study

REMEDIES = ("--patient-column NAME", "--one-row-per-patient")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A study about patients, and a table in which every patient has two rows."""
    study, table = tmp_path / "study.toml", tmp_path / "table.csv"
    study.write_text(clinic_study().to_toml(), encoding="utf-8")
    raw = clinic_table(200, 3)
    raw.assign(patient=[f"p{row // 2}" for row in range(len(raw))]).to_csv(table, index=False)
    return study, table


def test_simulate_refuses_rows_of_unknown_patients(files: tuple[Path, Path], tmp_path: Path) -> None:
    study, table = files
    refused = fedsynth("simulate", "--study", study, "--data", table, "--hospitals", 2, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert all(remedy in output_of(refused) for remedy in REMEDIES)
    assert not (tmp_path / "out").exists()


def test_study_check_asks_who_the_patients_are(files: tuple[Path, Path]) -> None:
    study, table = files
    refused = fedsynth("study", "check", study, "--data", table)
    assert refused.exit_code == 2
    assert all(remedy in output_of(refused) for remedy in REMEDIES)
    for said in (("--patient-column", "patient"), ("--one-row-per-patient",)):
        assert fedsynth("study", "check", study, "--data", table, *said).exit_code == 0


def test_study_check_takes_the_patient_of_visits(tmp_path: Path) -> None:
    study, table = tmp_path / "study.toml", tmp_path / "table.csv"
    study.write_text(visits_study().to_toml(), encoding="utf-8")
    invented_visits(20).to_csv(table, index=False)
    checked = fedsynth("study", "check", study, "--data", table)
    assert checked.exit_code == 0, output_of(checked)


def test_benchmark_asks_who_the_patients_are(files: tuple[Path, Path]) -> None:
    study, table = files
    with pytest.raises(StudyError, match="--one-row-per-patient"):
        OwnTable(table, study).load()
    assert len(OwnTable(table, study, patient_column="patient").load().frame) == 100
    assert len(OwnTable(table, study, one_row_per_patient=True).load().frame) == 200
    for command in ("run", "attack", "report"):
        refused = fedsynth("benchmark", command, "--study", study, "--data", table)
        assert refused.exit_code == 2
        assert all(remedy in output_of(refused) for remedy in REMEDIES)


def test_a_column_and_one_row_each_exclude_each_other() -> None:
    with pytest.raises(StudyError, match="exclude each other"):
        check_rows_are_patients(clinic_study(), "patient", one_row_per_patient=True)


def test_a_study_about_records_asks_for_nothing(files: tuple[Path, Path]) -> None:
    records = clinic_study(privacy={"unit": "record"})
    assert TableSplit(hospitals=2).open(records, files[1])[1]


def test_the_built_in_tables_have_one_row_per_patient() -> None:
    study = built_in_study()
    assert study.privacy.unit == "patient"
    assert len(TableSplit().open(study, None)[0]) == 4
