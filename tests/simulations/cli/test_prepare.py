"""`fedsynth prepare`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from common.errors import DataError, StudyError
from tests.testbeds.command_line import fedsynth, output_of


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    rows = range(30)
    pd.DataFrame(
        {
            "e_mail": [f"canary{row}@example.org" for row in rows],
            "zip": ["02139", "94110", "10001"] * 10,
            "admitted": [f"2021-03-{1 + row % 28:02}" for row in rows],
            "crp": [f"{row / 7:.2f}" for row in rows],
        }
    ).to_csv(path, index=False)
    return path


def test_prepare_says_what_it_did_and_promises_nothing(table: Path, tmp_path: Path) -> None:
    done = fedsynth("prepare", table, "--out", tmp_path / "out.csv")
    assert done.exit_code == 0, output_of(done)
    for words in ("direct identifier", "F e-mail", "quasi-identifier", "first three digits", "gives no guarantee"):
        assert words in output_of(done)
    assert "canary" not in output_of(done)
    prepared = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(prepared.columns) == ["zip", "admitted", "crp"]
    assert prepared.iloc[:1].to_numpy().tolist()[0] == ["021", "2021", "0.00"]


@pytest.mark.parametrize("ending", ["parquet", "xlsx"])
def test_prepare_writes_the_format_of_the_name(ending: str, table: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out.{ending}"
    assert fedsynth("prepare", table, "--out", out).exit_code == 0
    read = pd.read_parquet(out) if ending == "parquet" else pd.read_excel(out, dtype=str)
    assert read["zip"].tolist() == ["021", "941", "100"] * 10


def test_prepare_replaces_only_with_force(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    refused = fedsynth("prepare", table, "--out", out)
    assert (refused.exit_code, out.read_text()) == (StudyError.exit_code, "mine")
    assert "--force" in output_of(refused)
    assert fedsynth("prepare", table, "--out", out, "--force").exit_code == 0
    assert out.read_text() != "mine"


def test_prepare_never_changes_the_table_itself(table: Path) -> None:
    before = table.read_bytes()
    assert fedsynth("prepare", table, "--out", table, "--force").exit_code == StudyError.exit_code
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "out", "error"),
    [("a,b\n", "out.csv", DataError), ("a,b\n1\n", "out.csv", DataError), ("sex\nf\n", "out.doc", StudyError)],
)
def test_prepare_leaves_nothing_half_written(
    content: str, out: str, error: type[DataError | StudyError], tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text(content)
    refused = fedsynth("prepare", tmp_path / "in.csv", "--out", tmp_path / out)
    assert refused.exit_code == error.exit_code
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
