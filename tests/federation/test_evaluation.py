"""Whole runs with a private evaluation: it comes last, is charged, and its figures are near those of the real rows."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from common.evaluation.assessment import Assessment
from common.evaluation.private.page import TITLE
from common.ledger.ledger import Ledger
from common.model import load_model
from common.planning.phases import EVALUATION, ROUNDS
from common.privacy import accountant
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector
from common.run_events.events import Emit, PhaseFinished, PhaseStarted, RoundFinished, RunEvent
from common.study.sections import HospitalFacts
from common.study.study import Study
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.federation.sites import open_hospitals, open_shards
from tests.testbeds.clinic import HOSPITALS, clinic_study, clinic_table
from tests.testbeds.evaluating import SETTINGS
from tests.testbeds.events import Killed, events_in

ROWS = 400


def study_of(**sections: dict[str, object]) -> Study:
    usual: dict[str, dict[str, object]] = {"synthesizer": SETTINGS, "training": {"rounds": 0}}
    asked: dict[str, dict[str, object]] = {"evaluation": {"private": True}}
    study = clinic_study(**{**usual, **asked, **sections})
    return study.with_hospitals(tuple(HospitalFacts(name=name, declared_rows=ROWS) for name in HOSPITALS))


def tables() -> dict[str, pd.DataFrame]:
    return {name: clinic_table(ROWS, seed) for seed, name in enumerate(HOSPITALS)}


def kill_after_it(event: RunEvent) -> None:
    """Die when the held-out patients are counted and nothing is written yet."""
    if isinstance(event, PhaseFinished) and event.phase == EVALUATION:
        raise Killed


def run(folder: Path, *observers: Emit) -> None:
    prepared = prepare(study_of(), tables())
    with ExitStack() as stack:
        hospitals = open_hospitals(prepared.study, open_shards(prepared), folder / "sites", stack)
        config = simulated_run(prepared.study, folder, folder / "sites", run_id="run")
        federate(config, hospitals, workers=1, observers=observers)


@pytest.mark.parametrize("noise", [pytest.param("local", marks=pytest.mark.slow), "distributed"])
def test_a_run_releases_charges_and_shows_it(noise: str, tmp_path: Path) -> None:
    study = study_of(privacy={"noise": noise})
    result = simulate(prepare(study, tables()), tmp_path / "out", Options(with_report=False))
    model = load_model(tmp_path / "out" / "model")
    planned, asked = model.plan.vector(EVALUATION), model.released.vectors[EVALUATION].asked
    assert planned is not None
    assert len(asked.weights) > 0
    bounds = planned.squared_sensitivity, planned.largest_weight
    for hospital in model.plan.hospitals:
        ledger = Ledger.view(tmp_path / "out" / "sites" / hospital.hospital / "ledger.sqlite")
        sigma = model.plan.sigma(hospital, EVALUATION)
        assert ledger.events()[-1] == (
            DistributedGaussianVector(sigma, model.plan.honest_hospitals, *bounds)
            if noise == "distributed"
            else DiscreteGaussianVector(sigma, *bounds)
        )
        assert accountant.epsilon(ledger.events(), study.privacy.delta) <= study.privacy.epsilon
    document = json.loads((tmp_path / "out" / "run.json").read_text())["evaluation"]
    assert document == result.run["evaluation"]
    held_out = sum(len(shard().holdout) for shard in open_shards(prepare(study, tables())).values())
    assert abs(document["patients"] - held_out) < 6 * document["noise_of_predictions"] * 2
    page = (tmp_path / "out" / "evaluation.md").read_text()
    assert page.startswith(f"# {TITLE}: study clinic")
    assert "sensitivity: patients of class 'yes'" in page


@pytest.mark.slow
def test_without_noise_it_is_close_to_the_real_rows(tmp_path: Path) -> None:
    study = study_of(privacy={"noise": "none"}, evaluation={"private": True, "holdout_fraction": 0.5})
    result = simulate(prepare(study, tables()), tmp_path / "out")
    document, evidence = result.run["evaluation"], result.evidence
    assert isinstance(evidence, Assessment)
    assert document["patients"] == evidence.holdout_rows
    assert document["prediction"]["guess"]["low"] < 0.62
    # The report's own logistic regression was trained on the same rows.
    assert document["prediction"]["accuracy"]["value"] > document["prediction"]["guess"]["value"]
    assert document["tvd1"]["low"] <= document["tvd1"]["value"] <= document["tvd1"]["high"] < 0.2
    shown = (tmp_path / "out" / "report.html").read_text()
    assert '<section id="evaluation">' in shown
    assert TITLE in shown


@pytest.mark.slow
def test_rounds_come_before_it(tmp_path: Path) -> None:
    study = study_of(training={"rounds": 1, "steps": 2})
    simulate(prepare(study, tables()), tmp_path / "out", Options(with_report=False))
    kinds = [
        ROUNDS if isinstance(event, RoundFinished) else EVALUATION
        for event in events_in(tmp_path / "out")
        if isinstance(event, RoundFinished) or (isinstance(event, PhaseStarted) and event.phase == EVALUATION)
    ]
    assert kinds == [ROUNDS, EVALUATION]


def test_a_resumed_run_asks_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, kill_after_it)
    run(tmp_path)
    for name in HOSPITALS:
        lines = Ledger.view(tmp_path / "sites" / name / "ledger.sqlite").lines()
        assert [line.slot.phase for line in lines].count(EVALUATION) == 1
    assert "evaluation" in json.loads((tmp_path / "run.json").read_text())
