"""Warnings about columns that identify people, where a hospital imports its table and checks it against a study."""

from __future__ import annotations

from pathlib import Path

from common.study.study import Study
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_folder import STUDY, make_site, patients


def written(study: Study, folder: Path) -> Path:
    path = folder / "study.toml"
    path.write_text(study.to_toml())
    return path


def test_import_and_checks_warn_with_the_category(tmp_path: Path) -> None:
    raw = patients()
    raw["sex"] = [f"canary{row}@example.org" for row in range(len(raw))]
    raw["telephone"] = [f"0341 55{row:04}" for row in range(len(raw))]
    make_site(tmp_path, raw)
    study = written(STUDY, tmp_path)
    imported = fedsynth("site", "import", "--site", tmp_path / "site")
    assert "warning column 'telephone' has a name that suggests telephone numbers" in output_of(imported)
    checks = [
        fedsynth("site", "check", study, "--site", tmp_path / "site"),
        fedsynth("study", "check", study, "--data", tmp_path / "table.csv", "--patient-column", "patient"),
    ]
    for command in (imported, *checks):
        assert command.exit_code == 0, output_of(command)
        assert "column 'sex' holds e-mail addresses: a direct identifier (HIPAA Safe Harbor F" in output_of(command)
        assert "canary" not in output_of(command)
    assert not any("'telephone' has a name" in output_of(check) for check in checks)  # the study does not read it
