from __future__ import annotations

import pandas as pd
import pytest

from simulations.experiments.scale import COLUMNS, POINTS, main, slope, summary, wide


def test_slope_is_the_exponent() -> None:
    sizes = [1.0, 2.0, 4.0]
    assert slope(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_half_of_a_wide_table_repeats_its_first_column() -> None:
    table = wide(4)
    assert list(table.columns) == ["c1", "c2", "c3", "c4"]
    # A category of thirty equals the first column's with probability 1/2 + 1/2 * 1/30 = 0.517.
    assert (table["c2"] == table["c1"]).mean() == pytest.approx(0.517, abs=0.02)


def test_summary_shows_points_and_exponents() -> None:
    row = dict.fromkeys(COLUMNS, 1.0) | {"along": "rows", "table": "brfss", "bytes_per_hospital": None}
    results = pd.DataFrame([row | {"size": size, "cpu_seconds": size**2 / 1e4} for size in (100, 200)])
    lines = summary(results).splitlines()
    assert lines[0] == "| brfss: rows | cpu_seconds | hospital_seconds | peak_mib |"
    assert lines[2].startswith("| 100 | 1.0 |")
    assert lines[4] == "| exponent | 2.00 | 0.00 | 0.00 |"


def test_the_folder_of_tables_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FEDSYNTH_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["scale"])
    with pytest.raises(SystemExit):
        main()
    assert "--data names the folder" in capsys.readouterr().err


def test_every_way_to_grow_has_points() -> None:
    assert all(points for points in POINTS.values())
