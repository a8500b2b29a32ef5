"""What PAR is given and what becomes of its visits; its environment is a shell script here."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.tables.visits import visit_rows
from simulations.benchmark.peers import PeerEnvironment, PeerFailed
from simulations.benchmark.synthesis import SynthesisTask
from simulations.benchmark.visits.arms import par
from tests.testbeds.visits import invented_visits, visits_study

COPY = """#!/bin/sh
if [ "$2" = "-c" ]; then echo '{"sdv": "0"}'; exit 0; fi
cp "$3/given.csv" "$3/made.csv"
grep -q '"context": ."sex".' "$3/request.json" && grep -q '"patients": 30' "$3/request.json"
"""


def task(peers: PeerEnvironment) -> SynthesisTask:
    study = visits_study()
    return SynthesisTask(visit_rows(invented_visits(30), study.declared), study, 0, peers)


class TestPar:
    def test_visits_that_come_back_are_those_that_were_given(self, tmp_path: Path) -> None:
        python = tmp_path / "bin" / "python"
        python.parent.mkdir()
        python.write_text(COPY)
        python.chmod(0o755)
        given = task(PeerEnvironment(tmp_path))
        made = par(given).synthetic
        for name in ("sex", "stage", "visits", "visit"):
            assert made[name].tolist() == given.train[name].tolist()
        weights = [float(cell or "nan") for cell in given.train["weight"]]
        assert [float(cell or "nan") for cell in made["weight"]] == pytest.approx(weights, nan_ok=True)

    def test_without_its_environment_there_is_no_table(self) -> None:
        with pytest.raises(PeerFailed, match="no environment for peers"):
            par(task(PeerEnvironment()))
