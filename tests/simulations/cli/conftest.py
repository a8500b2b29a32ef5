from __future__ import annotations

from pathlib import Path

import pytest

from tests.testbeds.clinic import STUDY, clinic_tables


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, table in clinic_tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder
