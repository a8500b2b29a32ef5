from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulations.benchmark.tables import SITE_COLUMN
from simulations.experiments.evaluation_costs import CLINICS, PATIENTS, laboratory, load, main, stand_in


def test_laboratory_table_keeps_all_its_columns() -> None:
    raw = laboratory()
    assert raw.shape == (PATIENTS, 172)
    assert raw[SITE_COLUMN].nunique() == CLINICS
    _, study = load("laboratory", None)
    assert len(study.table.names) == 171
    assert sum(column.grid is not None for column in study.table.each()) >= 130


def test_stand_in_takes_a_fifth_of_the_cells_from_other_rows() -> None:
    rows = pd.DataFrame({"x": np.arange(10_000), "y": np.arange(10_000)})
    made = stand_in(rows)
    assert (made["x"] != made["y"]).mean() == pytest.approx(1 - 0.8**2, abs=0.02)
    assert made.equals(stand_in(rows))


@pytest.mark.slow
def test_evaluation_costs_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = laboratory(patients=120).iloc[:, [0, 1, 2, -3, -2, -1]]
    monkeypatch.setattr("simulations.experiments.evaluation_costs.laboratory", lambda: small)
    main(["--table", "laboratory"])
    printed = capsys.readouterr().out
    assert "laboratory: 96 training rows" in printed
    assert "CPU seconds" in printed


@pytest.mark.slow
def test_laboratory_table_is_written(tmp_path: Path) -> None:
    main(["--write", str(tmp_path / "laboratory.csv")])
    assert pd.read_csv(tmp_path / "laboratory.csv", dtype=str).shape == (PATIENTS, 172)
