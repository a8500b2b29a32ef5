"""Shared noise over real processes: one of four sites is killed in the middle of a masked phase."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from client.agent.transport import Transport
from client.hospital import Hospital
from common.ledger.ledger import Ledger
from common.planning.phases import COARSE, HISTOGRAMS
from common.protocol.messages import MaskedRequest, Reply, Request
from common.run_events.events import RunFinished
from common.run_events.exclusions import Exclusion
from common.study.study import Study
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import Prepared
from simulations.federation.sites import open_hospitals, open_shards
from simulations.rehearsal.deployment import Deployment
from tests.testbeds.clinic import clinic_table
from tests.testbeds.deployment import results
from tests.testbeds.events import exclusions
from tests.testbeds.masked_federation import NAMES, Spoilt, shared_study

pytestmark = pytest.mark.slow

TABLES = {name: clinic_table(90, seed) for seed, name in enumerate(NAMES)}
HISTOGRAMS_1, COARSE_1 = (HISTOGRAMS, 1), (COARSE, 1)


def locally(study: Study, folder: Path, wrap: Callable[[Hospital], Transport]) -> dict[str, bytes]:
    """What the same study gives in one process."""
    with ExitStack() as stack:
        shards = open_shards(Prepared(study, TABLES, None, ()))
        hospitals = open_hospitals(study, shards, folder / "sites", stack)
        transports = {name: wrap(hospital) for name, hospital in hospitals.items()}
        federate(simulated_run(study, folder, folder / "sites"), transports, workers=1)
    return results(folder)


def test_a_site_killed_in_a_masked_phase_is_back_in_the_next(tmp_path: Path) -> None:
    with Deployment(tmp_path / "d") as deployment:
        deployment.path.mkdir()
        public = deployment.make_keys()
        study = shared_study().amended(study={"rehearsal": True}, federation={"coordinator": public})
        deployment.start_coordinator()
        deployment.start_sites(TABLES, study)
        study = deployment.identified(study)
        run_id = deployment.propose(study)
        assert deployment.coordinator("run", run_id, "--no-follow").returncode == 0
        deployment.await_that(
            lambda: any(entry.get("kind") == "query.shares" for entry in deployment.journal("west")), "shares of west"
        )
        deployment.end("west-agent", signal.SIGKILL)
        deployment.start_agent("west")
        deployment.await_event(run_id, lambda event: isinstance(event, RunFinished))
        folder = deployment.run_folder(run_id)
        lines = {name: Ledger.view(deployment.site(name) / "ledger.sqlite").lines() for name in NAMES}
        found, missing = results(folder), exclusions(deployment.events(run_id))
    phases = {name: [(line.slot.phase, line.slot.attempt) for line in of_site] for name, of_site in lines.items()}
    assert phases["west"][-1] == COARSE_1  # it came back
    assert missing == [("west", Exclusion.NO_ANSWER)]
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"

    # Killed before it masked, as a rule; its vector is in the sum only if it had left.
    was_gone = phases["west"] == [COARSE_1]
    assert all(phases[name] == [HISTOGRAMS_1, COARSE_1] for name in NAMES if name != "west" or not was_gone)

    def silent(request: Request, answer: Callable[[], Reply]) -> Reply:
        if isinstance(request, MaskedRequest) and request.phase == HISTOGRAMS:
            raise RuntimeError
        return answer()

    def wrap(hospital: Hospital) -> Transport:
        return Spoilt(hospital, silent) if hospital.policy.hospital == "west" and was_gone else hospital

    assert found == locally(study, tmp_path / "local", wrap)
