from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.ledger.ledger import Ledger
from tests.testbeds.clinic import clinic_table
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.hospital_runs import open_ledger
from tests.testbeds.site_commands import STUDY


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    table = clinic_table(100, seed=0)
    table.assign(patient=[f"p{row}" for row in range(len(table))]).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.to_toml())
    return path


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    made = fedsynth(
        "site", "init", tmp_path / "site", "--name", "north", "--data", data, "--declared-rows", 100,
        "--max-epsilon", 5, "--delta", "1e-4", "--patient-column", "patient",
    )  # fmt: skip
    assert made.exit_code == 0, output_of(made)
    imported = fedsynth("site", "import", "--site", tmp_path / "site")
    assert imported.exit_code == 0, output_of(imported)
    return tmp_path / "site"
