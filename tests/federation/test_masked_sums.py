"""Runs under shared noise: what the coordinator gets is the plain sum plus all noise shares, whoever vanishes."""

from __future__ import annotations

import json
from pathlib import Path

from simulations.prepare import prepare
from simulations.simulate import simulate
from tests.clinic import clinic_study, clinic_tables


def test_first(tmp_path: Path) -> None:
    study = clinic_study(privacy={"noise": "distributed"}, synthesizer={"triples": 1}, training={"rounds": 0})
    simulate(prepare(study, clinic_tables()), tmp_path / "out", workers=1)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    print(run["phases"].keys(), run["plan"])
