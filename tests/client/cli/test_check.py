"""`fedsynth site check`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from common.protocol.signing import Identity
from tests.testbeds.approving import BY_KARI
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_commands import STUDY, change, import_again


def test_check_tells_the_hospital_about_its_table(folder: Path, study: Path, data: Path) -> None:
    fits = fedsynth("site", "check", study, "--site", folder)
    assert fits.exit_code == 0
    assert "the table fits study clinic" in output_of(fits)
    assert "written by people" not in output_of(fits)
    drafted = study.with_name("drafted.toml")
    drafted.write_text(study.read_text().replace('origin = "written"', 'origin = "drafted"'))
    assert "accepts only studies written by people" in output_of(fedsynth("site", "check", drafted, "--site", folder))
    change(folder, "declared_rows = 100", "declared_rows = 200")
    told = fedsynth("site", "check", study, "--site", folder)
    assert told.exit_code == 0
    assert "the table has 100 patients and site.toml declares 200" in output_of(told)
    assert "the study declares 100 rows and site.toml 200" in output_of(told)


def test_check_turns_what_single_records_hold_into_notices(folder: Path, study: Path, data: Path) -> None:
    # No record may decide the public schema: nobody is asked to change a study because of one patient.
    table = pd.read_csv(data, dtype=str, keep_default_na=False)
    table.loc[7, "age"], table.loc[9, "outcome"] = "104", "withdrawn"
    table.loc[[3, 4], "age"] = "x"
    table.loc[[5, 6, 8], "sex"] = ""
    table.to_csv(data, index=False)
    import_again(folder)
    checked = fedsynth("site", "check", study, "--site", folder)
    assert checked.exit_code == 0
    for words in (
        "'age' is outside [18, 100] in 1 row, clamped to the bounds",
        "'age' holds text that is not a number in 2 rows, counted as the lower bound, 18",
        "'sex' is missing in 3 rows where missing = false, counted as the last category, 'male'",
        "'outcome' holds unlisted labels in 1 row, counted as the last category, 'yes'",
    ):
        assert f"note north: column {words}; this number is a fact about your patients" in output_of(checked)
    assert "the table fits study clinic" in output_of(checked)
    assert "withdrawn" not in output_of(checked)


def test_check_says_that_the_study_lists_another_identity(folder: Path, study: Path) -> None:
    # The coordinator would take this hospital's replies for somebody else's.
    def told(identity: str) -> str:
        facts = tuple(
            one.model_copy(update={"identity": identity}) if one.name == "north" else one for one in STUDY.hospitals
        )
        study.write_text(STUDY.with_hospitals(facts).to_toml())
        return output_of(fedsynth("site", "check", study, "--site", folder))

    assert "lists another identity" in told(Identity.simulated(1, "north").public)
    assert "lists another identity" not in told((folder / "identity.key.pub").read_text().strip())


def test_check_refuses_few_patients_and_missing_columns(folder: Path, study: Path, data: Path) -> None:
    rows = data.read_text().splitlines()
    data.write_text("\n".join(rows[:21]) + "\n")
    import_again(folder)
    few = fedsynth("site", "check", study, "--site", folder)
    assert few.exit_code == 5
    assert "20 patients, below min_rows = 30" in output_of(few)
    data.write_text("\n".join([rows[0].replace("sex", "gender"), *rows[1:]]) + "\n")
    import_again(folder)
    other = fedsynth("site", "check", study, "--site", folder)
    assert other.exit_code == 5
    assert "column 'sex' is not in the table" in output_of(other)


def test_check_says_that_guarantees_are_about_records(folder: Path, study: Path) -> None:
    assert "guarantees are about records" not in output_of(fedsynth("site", "check", study, "--site", folder))
    change(folder, 'patient_column = "patient"', "")
    import_again(folder)
    told = fedsynth("site", "check", study, "--site", folder)
    assert "guarantees are about records; name patient_column, or one_row_per_patient" in output_of(told)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI)
    assert refused.exit_code == 3
    assert "the hospital knows records only" in output_of(refused)
