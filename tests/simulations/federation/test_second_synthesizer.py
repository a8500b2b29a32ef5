"""A synthesizer without networks or rounds goes through a whole federated run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from common.errors import StudyError
from common.model import load_model
from common.planning.choice import RoundsReason, choose
from common.planning.phases import HISTOGRAMS
from common.run_events.events import HospitalReplied
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import HOSPITALS, STUDY, clinic_tables
from tests.testbeds.events import events_in
from tests.testbeds.toy_synthesizer import KIND, register

FACTS = tuple(HospitalFacts(name=name, declared_rows=90) for name in HOSPITALS)


@pytest.fixture(autouse=True)
def toy_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def toy_study(noise: str) -> Study:
    """The clinic's study with the toy synthesizer, and without what only the GAN takes."""
    document = tomllib.loads(STUDY)
    document["synthesizer"] = {"kind": KIND, "bins": 6}
    del document["training"]
    document["privacy"]["noise"] = noise
    return parse_study(tomli_w.dumps(document))


@pytest.mark.parametrize("noise", ["distributed", pytest.param("local", marks=pytest.mark.slow)])
def test_a_run_ends_with_a_model_that_samples(tmp_path: Path, noise: str) -> None:
    options = Options(with_report=noise == "local")  # once: the report is the same under both
    result = simulate(prepare(toy_study(noise), clinic_tables()), tmp_path / "out", options)
    assert result.run["status"] == "finished"
    model = load_model(tmp_path / "out" / "model")
    assert model.study.synthesizer.kind == KIND
    assert model.plan.phases == (HISTOGRAMS,)
    assert sorted(model.weights) == [f"column.{index}" for index in range(4)]
    assert {name: facts["epsilon"] <= 3.0 for name, facts in result.run["hospitals"].items()} == dict.fromkeys(
        HOSPITALS, True
    )
    women = model.sample(50, 1, given={"sex": "female", "outcome": "yes"})
    assert set(zip(women["sex"], women["outcome"], strict=True)) == {("female", "yes")}
    assert model.sample(50, 2).equals(load_model(tmp_path / "out" / "model").sample(50, 2))
    requests = {event.request for event in events_in(tmp_path / "out") if isinstance(event, HospitalReplied)}
    assert ("query.masked" in requests) == (noise == "distributed")
    assert not any("train" in request for request in requests)


def test_rounds_are_refused_before_anything_is_read() -> None:
    document = tomllib.loads(toy_study("local").to_toml())
    document["training"] = {"rounds": 3}
    with pytest.raises(StudyError, match=r"rounds = 3: synthesizer 'independent-columns' does not train in rounds"):
        parse_study(tomli_w.dumps(document))
    document["training"] = {"rounds": 0}
    assert parse_study(tomli_w.dumps(document)).training.rounds == 0


def test_the_planner_chooses_no_rounds_for_it() -> None:
    # Without noise an adversary pays, so the GAN would get rounds.
    training = choose(toy_study("none").with_hospitals(FACTS)).training
    assert training.reason is RoundsReason.FIT_ONLY
    assert (training.rounds, training.parameters) == (0, 0)
