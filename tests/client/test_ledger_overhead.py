"""What the ledger adds to a round: `python -m pytest -m slow -s tests/client/test_ledger_overhead.py` prints it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from client.hospital import Hospital
from common.ledger.ledger import Ledger, Slot
from common.planning.planner import make_plan
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import Reply, Request, RoundReply, RoundRequest
from simulations.federation.federate import federate, simulated_run
from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.sites import open_hospitals, open_shards


class Timed:
    """Stands before a hospital and notes how long its rounds take, ledger included."""

    def __init__(self, hospital: Hospital) -> None:
        self._hospital = hospital
        self.rounds: list[tuple[RoundRequest, RoundReply, float]] = []

    def handle(self, request: Request) -> Reply:
        start = time.perf_counter()
        reply = self._hospital.handle(request)
        if isinstance(request, RoundRequest):
            assert isinstance(reply, RoundReply)
            self.rounds.append((request, reply, time.perf_counter() - start))
        return reply


@pytest.mark.slow
def test_ledger_takes_under_a_twentieth_of_a_round(tmp_path: Path) -> None:
    prepared = prepare(built_in_study().amended(training={"rounds": 8}), built_in_hospitals())
    study = prepared.study
    timed: list[Timed] = []

    def wrap(hospital: Hospital) -> Timed:
        timed.append(Timed(hospital))
        return timed[-1]

    with ExitStack() as stack:
        hospitals = open_hospitals(study, open_shards(prepared), tmp_path / "sites", stack)
        transports = {name: wrap(hospital) for name, hospital in hospitals.items()}
        federate(simulated_run(study, tmp_path / "out", tmp_path / "sites"), transports, workers=1)
    plan = make_plan(study)
    event, ledger = plan.round_event(plan.hospitals[0]), Ledger(tmp_path / "again.sqlite", cohort="c", delta=1e-5)
    seconds: list[float] = []
    for request, reply, _ in timed[0].rounds:
        slot, bare = Slot(plan.fingerprint, "again", request.kind, request.round), replace(reply, counter=0, head="")
        start = time.perf_counter()
        asked = digest(request)
        assert ledger.stored_reply(slot, asked) is None
        ledger.charge(slot, asked, event)
        ledger.store_reply(slot, to_bytes(bare))
        assert ledger.stored_reply(slot, asked) is not None
        seconds.append(time.perf_counter() - start)
    ledger.close()
    whole, part = median(one[2] for one in timed[0].rounds), median(seconds)
    print(f"\na round {1e3 * whole:.0f} ms, of it the ledger {1e3 * part:.1f} ms: {part / whole:.1%}")  # noqa: T201
    assert part < 0.05 * whole
