"""From a German REDCap export to the table that a study reads, as docs/harmonize.md shows it."""

from __future__ import annotations

from pathlib import Path

from common.study.study import read_study
from common.tables.checking import check_table
from simulations.federation.hospitals import hospitals_from_directory
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.redcap_export import write_redcap

EDIT = ('from = "Station"\n', 'from = "Station"\nother = "other"\n')


def test_an_export_is_mapped_but_for_one_label(tmp_path: Path) -> None:
    study, table = write_redcap(tmp_path)
    out = tmp_path / "klinikum.toml"
    result = fedsynth("site", "map", study, "--data", table, "--out", out, "--patient-column", "Patienten-ID")
    assert result.exit_code == 0, output_of(result)
    assert "'Geriatrie' (25 rows)" in output_of(result)
    assert "5 of 12 columns need a check" in output_of(result)
    text = out.read_text(encoding="utf-8")
    assert EDIT[0] in text
    out.write_text(text.replace(*EDIT), encoding="utf-8")

    study.rename(tmp_path.parent / "study-of-redcap.toml")
    agreed = read_study(tmp_path.parent / "study-of-redcap.toml")
    notices: list[str] = []
    raw = hospitals_from_directory(tmp_path, notices=notices)["klinikum"]
    assert notices == []
    assert check_table(raw, agreed.table, name="klinikum", patient_column="patient", target="died") == []
    assert raw["ward"].value_counts()["other"] == 25
    assert set(raw["comorbidities"]) <= {
        "; ".join(items) if items else "none"
        for items in ((), ("diabetes",), ("hypertension",), ("cancer",), ("diabetes", "hypertension"),
                      ("diabetes", "cancer"), ("hypertension", "cancer"), ("diabetes", "hypertension", "cancer"))
    }  # fmt: skip
    assert raw["creatinine"].replace("", "88").astype(float).between(20, 900).all()
