"""Whole runs in which patients are put in latent classes, round by round, under local and under shared noise."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.ledger.ledger import Ledger
from common.model import load_model
from common.planning.phases import CLASSES
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector, Event
from common.privacy.mechanisms import SeededNoise
from common.protocol.messages import CountsReply, CountsRequest, EnrollRequest, Reply, Unavailable
from common.run_events.events import Emit, HospitalReplied, PhaseFinished, RunEvent
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import prepare
from simulations.federation.sites import open_hospitals, open_shards
from tests.testbeds.classes import FACTS, VAE, never, run_before, vae_study
from tests.testbeds.clinic import clinic_study, clinic_table, clinic_tables
from tests.testbeds.events import Killed, events_in

RUN = "class-run"


def kill_in_round_two(event: RunEvent) -> None:
    """Die when the first reply of the second round arrives, before its sum is kept."""
    if isinstance(event, HospitalReplied) and event.phase == CLASSES and event.round == 2:
        raise Killed


def run(folder: Path, *observers: Emit, noise: str = "local") -> None:
    study = clinic_study(privacy={"noise": noise}, synthesizer=VAE, training={"rounds": 3})
    prepared = prepare(study, clinic_tables())
    with ExitStack() as stack:
        hospitals = open_hospitals(prepared.study, open_shards(prepared), folder / "sites", stack)
        config = simulated_run(prepared.study, folder, folder / "sites", run_id=RUN)
        federate(config, hospitals, workers=1, observers=observers)


def charged(folder: Path, hospital: str) -> list[tuple[int, Event]]:
    """Return round and event of every charge for latent classes."""
    lines = Ledger.view(folder / "sites" / hospital / "ledger.sqlite").lines()
    return [(line.slot.round, line.event) for line in lines if line.slot.phase == CLASSES]


@pytest.mark.parametrize("noise", [pytest.param("local", marks=pytest.mark.slow), "distributed"])
def test_run_releases_charges_and_keeps_every_round(noise: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        run(tmp_path / folder, noise=noise)
    for name in ("synthetic.csv", "model/weights.safetensors", "model/released.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    model = load_model(tmp_path / "one" / "model")
    classes = model.released.vectors[CLASSES]
    assert len(classes.counts) % (3 * 3) == 0
    for hospital in model.plan.hospitals:
        sigma = model.plan.sigma(hospital, CLASSES)
        event = (
            DistributedGaussianVector(sigma, model.plan.honest_hospitals, 4)
            if noise == "distributed"
            else DiscreteGaussianVector(sigma, 4)
        )
        assert charged(tmp_path / "one", hospital.hospital) == [(1, event), (2, event), (3, event)]
    events = events_in(tmp_path / "one")
    assert [event.phase for event in events if isinstance(event, PhaseFinished)].count(CLASSES) == 1


def test_resumed_run_charges_no_round_twice(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_in_round_two)
    run(tmp_path / "killed")
    run(tmp_path / "whole")
    assert charged(tmp_path / "killed", "north") == charged(tmp_path / "whole", "north")
    assert len(charged(tmp_path / "killed", "north")) == 3
    released = [load_model(tmp_path / name / "model").released.counts(CLASSES) for name in ("killed", "whole")]
    assert (released[0] == released[1]).all()


STUDY = vae_study(rounds=2)
PLAN = make_plan(STUDY)
PUBLIC = run_before(STUDY, PLAN)


def ask(number: int, *, decoders: int = 1) -> CountsRequest:
    """Ask for a round."""
    decoder = np.tile(make_decoder(), decoders)
    return CountsRequest("run-1", CLASSES, PUBLIC.released.arrays(), decoder=decoder, round=number)


def make_decoder() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    from common.planning.phases import vector_phase

    return vector_phase(CLASSES).ask(PUBLIC, never).decoder


def handled(folder: Path, requests: list[CountsRequest]) -> tuple[list[Reply], int]:
    """Return a hospital's replies to a study that it accepted, and how many entries its ledger then has."""
    with ExitStack() as stack:
        ledger = Ledger(folder / "ledger.sqlite", cohort="clinic", delta=1e-4)
        stack.callback(ledger.close)
        shard = Shard(clinic_table(100, seed=0), STUDY, key=b"key")
        hospital = Hospital(Policy("north", is_simulation=True), lambda _: shard, ledger, SeededNoise(1))
        hospital.handle(EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}"))
        replies = [hospital.handle(request) for request in requests]
        return replies, len(ledger.events())


class TestHospital:
    def test_answers_every_planned_round_once(self, tmp_path: Path) -> None:
        replies, entries = handled(tmp_path, [ask(1), ask(2), ask(1)])
        first, second, again = replies
        assert isinstance(first, CountsReply)
        assert isinstance(second, CountsReply)
        assert isinstance(again, CountsReply)
        assert entries == 2
        assert (first.counts == again.counts).all()
        assert (first.counts != second.counts).any()  # the same question with other noise, and charged again

    @pytest.mark.parametrize("number", [0, 3, -1])
    def test_refuses_rounds_outside_the_plan(self, tmp_path: Path, number: int) -> None:
        replies, entries = handled(tmp_path, [ask(number)])
        assert isinstance(replies[0], Unavailable)
        assert entries == 0

    def test_refuses_two_rounds_in_one_request(self, tmp_path: Path) -> None:
        replies, entries = handled(tmp_path, [ask(1, decoders=2)])
        assert isinstance(replies[0], Unavailable)
        assert entries == 0

    def test_refuses_a_round_of_another_phase(self, tmp_path: Path) -> None:
        replies, entries = handled(tmp_path, [CountsRequest("run-1", "histograms", round=1)])
        assert isinstance(replies[0], Unavailable)
        assert entries == 0


def test_shares_of_a_study_file_stay_as_they_were() -> None:
    """Plans and studies without classes are written as before, so what people approved stays approved."""
    study = clinic_study().with_hospitals(FACTS)
    assert "classes" not in study.canonical()
    assert all("rounds" not in vector for vector in json.loads(make_plan(study).to_json())["vectors"])
