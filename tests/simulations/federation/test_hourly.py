"""Hourly vital signs, simulated from the table to the tables that come out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.vitals import HOURS, VITALS, invented_vitals


@pytest.mark.slow
def test_synthetic_hours_are_regular(tmp_path: Path) -> None:
    study, data = tmp_path / "study.toml", tmp_path / "vitals.csv"
    study.write_text(VITALS + "[synthesizer]\nchains = 64\nfit_steps = 8\n", encoding="utf-8")
    invented_vitals(120).to_csv(data, index=False)
    out = tmp_path / "out"
    result = fedsynth("simulate", "--study", study, "--data", data, "--hospitals", 2, "--no-report", "--out", out)
    assert result.exit_code == 0, output_of(result)
    hours = pd.read_csv(out / "visits.csv").groupby("stay")["hour"]
    assert set(hours.diff().dropna()) == {1.0}
    assert hours.size().max() <= HOURS
    assert hours.min().min() >= 0
    assert hours.max().max() <= HOURS
