"""The measurement of what a study of visits costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.experiments.visits_costs import measured


@pytest.mark.slow
def test_a_site_counts_the_visits_that_it_imported(tmp_path: Path) -> None:
    written, imported, counted = (measured(part, tmp_path, 180) for part in ("write", "import", "count"))
    assert 100 < float(written["visits"]) < 260
    assert imported["visits"] == written["visits"]
    assert float(counted["numbers"]) > 1000
    assert float(counted["mib"]) > 0
