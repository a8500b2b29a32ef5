from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.benchmark.results import Case, ResultsFile

FIRST, SECOND = Case("flchain", "central", 1.0, 0), Case("flchain", "central", 3.0, 0)


def test_cases_of_one_table_have_one_delta(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "results.csv")
    results.keep(FIRST, {"tvd1": 0.1, "delta": 1e-5})
    results.keep(Case("flchain", "bootstrap", 0.0, 0), {"tvd1": 0.1, "delta": None})
    results.keep(Case("eicu", "central", 1.0, 0), {"tvd1": 0.1, "delta": 1e-6})
    again = ResultsFile(tmp_path / "results.csv")
    with pytest.raises(StudyError, match="'flchain' at delta = 1e-05, and this version takes 1e-06, at most"):
        again.keep(SECOND, {"tvd1": 0.1, "delta": 1e-6})
    again.keep(SECOND, {"tvd1": 0.1, "delta": 1e-5})
    assert again.cases() >= {FIRST, SECOND}
