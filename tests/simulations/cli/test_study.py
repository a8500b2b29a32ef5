"""`fedsynth study` as a person types it: drafts, checks of tables and the plan it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.study.study import parse_study
from tests.testbeds.clinic import STUDY, clinic_table
from tests.testbeds.clinic_files import CANARY, MISFITS, ONE_EACH, one_table, with_cell
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")


@pytest.mark.parametrize("case", MISFITS)
def test_a_cell_outside_the_schema_is_a_notice(case: str, study: Path, tmp_path: Path) -> None:
    column, value, words = MISFITS[case]
    table = one_table(tmp_path, with_cell(column, value))
    result = fedsynth("study", "check", study, "--data", table, ONE_EACH)
    assert result.exit_code == 0
    assert f"note table.csv: {words}" in output_of(result)
    assert "a fact about your patients: do not pass it on" in output_of(result)
    assert CANARY not in output_of(result)
    assert "canary" not in output_of(result)


def test_draft_overwrites_nothing(study: Path, tmp_path: Path) -> None:
    table, before = one_table(tmp_path, lambda table: table), study.read_text()
    refused = fedsynth("study", "draft", table, "--target", "outcome", "--out", study)
    assert refused.exit_code == 2
    assert "exists; choose another --out or remove it" in output_of(refused)
    assert study.read_text() == before


def test_study_check_takes_a_folder_of_hospitals(study: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for seed, name in enumerate(("north", "south")):
        clinic_table(40, seed).to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
    result = fedsynth("study", "check", study, "--data", tmp_path / "tables", ONE_EACH)
    assert result.exit_code == 0, output_of(result)
    assert "north fits the schema. south fits the schema." in output_of(result)


def test_study_check_shows_what_each_hospital_would_release(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    hospitals = '[[hospitals]]\nname = "north"\ndeclared_rows = 90\n[[hospitals]]\nname = "south"\ndeclared_rows = 90\n'
    path.write_text(STUDY + hospitals)
    result = fedsynth("study", "check", path)
    assert result.exit_code == 0
    assert parse_study(path.read_text()).fingerprint in output_of(result)
    assert "multiplier" in output_of(result)
    assert "3.000" in output_of(result)


def test_study_check_without_hospitals_says_there_is_no_plan(study: Path) -> None:
    result = fedsynth("study", "check", study)
    assert result.exit_code == 0
    assert "note the study lists no [[hospitals]], so there is no plan yet; add each" in output_of(result)


def test_help_of_study_check_names_folders_and_mappings() -> None:
    shown = output_of(fedsynth("study", "check", "--help"))
    assert all(word in shown for word in ("folder", "north.toml", "mapping"))


def test_sql_is_that_of_a_study_on_omop_databases(study: Path) -> None:
    assert "study clinic has no [source] kind = " in output_of(fedsynth("study", "sql", study))


def test_a_mapping_is_that_of_a_table(study: Path) -> None:
    refused = fedsynth("study", "check", study, "--mapping", study)
    assert "--mapping is of a table; name it with --data" in output_of(refused)
