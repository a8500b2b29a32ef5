"""SuperLink, two sites and their agents as real processes over TLS: the short rehearsal that runs with every change."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.run_events.events import RepliesUnchecked, RunFinished
from simulations.rehearsal.deployment import Deployment
from simulations.rehearsal.run import Trip, answers_in, trips_of
from tests.testbeds.deployment import SITES, charges, on_the_local_grid, rehearsal_study, results, running


def deployment_trips(deployment: Deployment, run_id: str) -> tuple[Trip, ...]:
    """Return where the time of each exchange went."""
    return trips_of(deployment.events(run_id), {name: answers_in(deployment.journal(name)) for name in SITES})


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("bed")) as one:
        yield one


def test_two_sites_train_the_model_that_the_local_grid_trains(deployment: Deployment, tmp_path: Path) -> None:
    study = deployment.identified(rehearsal_study(deployment.public))
    run_id = deployment.propose(study)
    deployment.run(run_id)
    folder = deployment.run_folder(run_id)
    assert results(folder) == on_the_local_grid(study, tmp_path / "local")
    run = json.loads((folder / "run.json").read_text())
    assert run["hospitals"] == ["north", "south"]
    assert run["simulation"] is False
    assert "REHEARSAL" in run["warnings"][0]
    assert "REHEARSAL" in (folder / "model" / "README.md").read_text()
    events = deployment.events(run_id)
    assert not [event for event in events if isinstance(event, RepliesUnchecked)]  # every reply was checked
    assert isinstance(events[-1], RunFinished)
    exchanged = {"enrollment", "histograms", "coarse", "pairs", "rounds"}
    assert run["traffic"].keys() == exchanged
    assert run["phases"].keys() == exchanged | {"fit", "refinement"}
    assert [trip.asked.phase for trip in deployment_trips(deployment, run_id)] == [
        "histograms", "coarse", "pairs", "rounds",
    ]  # fmt: skip
    assert all(trip.out > 0 and trip.back > 0 for trip in deployment_trips(deployment, run_id))
    assert charges(deployment, run_id) == {"north": 4, "south": 4}  # histograms, coarse, pairs, one round
    again = deployment.coordinator("resume", run_id)
    assert again.returncode == 2
    assert "is finished" in again.stderr


def test_the_port_for_sites_serves_sites_and_nothing_else(deployment: Deployment) -> None:
    trusted = ssl.create_default_context(cafile=str(deployment.authority))
    with httpx.Client(base_url=f"https://127.0.0.1:{deployment.port}", verify=trusted) as network:
        assert network.get("/health").status_code == 200
        for path in ("control/start-run", "control/list-runs", "runtime/acquire-task", "fleet/register-node"):
            assert network.post(f"/v1/{path}").status_code == 404, path
        assert network.get("/docs").status_code == 404
        assert network.post("/v1/fleet/pull-messages").status_code >= 400  # nobody without an enrolled key
    assert "refused '/v1/control/start-run'" in deployment.log("coordinator")
