"""Whole runs in which patients vote, under local and under shared noise."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from common.columns.base import Codes
from common.ledger.ledger import Ledger
from common.model import load_model
from common.planning.phases import COARSE_TRIPLES, VOTES, PublicRun
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector
from common.run_events.events import Emit, PhaseStarted, RunEvent
from common.synthesizers.model_rows import ModelRows
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import prepare
from simulations.federation.sites import open_hospitals, open_shards
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.events import Killed
from tests.testbeds.voting import VOTING

RUN = "voting-run"
SMALL: dict[str, object] = {**VOTING, "chains": 64}


def kill_at_triples(event: RunEvent) -> None:
    """Die after the votes are counted, before the next tables are chosen."""
    if isinstance(event, PhaseStarted) and event.phase == COARSE_TRIPLES:
        raise Killed


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.planning.votes.FOR_CANDIDATES", 200)
    monkeypatch.setattr("common.planning.votes.MODEL_ROWS", 1000)


def run(folder: Path, *observers: Emit, noise: str = "local") -> None:
    study = clinic_study(privacy={"noise": noise}, synthesizer=SMALL, training={"rounds": 0})
    prepared = prepare(study, clinic_tables())
    with ExitStack() as stack:
        hospitals = open_hospitals(prepared.study, open_shards(prepared), folder / "sites", stack)
        config = simulated_run(prepared.study, folder, folder / "sites", run_id=RUN)
        federate(config, hospitals, workers=1, observers=observers)


@pytest.mark.parametrize("noise", [pytest.param("local", marks=pytest.mark.slow), "distributed"])
def test_run_releases_charges_and_keeps_votes(noise: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        run(tmp_path / folder, noise=noise)
    for name in ("synthetic.csv", "model/weights.safetensors", "model/released.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    model = load_model(tmp_path / "one" / "model")
    votes = model.released.vectors[VOTES]
    assert len(votes.counts) == len(votes.asked.candidates) // 4
    for hospital in model.plan.hospitals:
        sigma = model.plan.sigma(hospital, VOTES)
        events = Ledger.view(tmp_path / "one" / "sites" / hospital.hospital / "ledger.sqlite").events()
        assert events[model.plan.phases.index(VOTES)] == (
            DistributedGaussianVector(sigma, model.plan.honest_hospitals, 1)
            if noise == "distributed"
            else DiscreteGaussianVector(sigma, 1)
        )


def test_resumed_run_asks_for_the_same_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was answered is votes for those, whatever the model of the restarted process would draw."""
    with pytest.raises(Killed):
        run(tmp_path, kill_at_triples)

    def rows_of_zeros(self: ModelRows, public: PublicRun, rows: int) -> Codes:
        return np.zeros((rows, len(public.domain.sizes)), dtype=np.int16)

    monkeypatch.setattr(ModelRows, "__call__", rows_of_zeros)
    run(tmp_path)
    assert len(load_model(tmp_path / "model").released.counts(VOTES)) > 1
