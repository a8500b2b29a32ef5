"""A signed study for one invented hospital, and the requests of its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.encoding import histogram_length
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.planning.phases import COARSE
from common.planning.planner import make_plan
from common.protocol.messages import CountsRequest, EnrollReply, EnrollRequest, Reply, Request, RoundRequest
from common.protocol.seals import seal_request
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.agent_process import AgentProcess
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.released import made_up_run

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Coordinator:
    """A coordinator with its key and a study that names it."""

    identity: Identity
    study: Study

    @classmethod
    def new(cls, *, rehearsal: bool = False) -> Coordinator:
        identity = Identity(Ed25519PrivateKey.generate())
        study = clinic_study(
            study={"rehearsal": rehearsal},
            training={"rounds": 2, "steps": 10},
            synthesizer={"pairs": 0},
            federation={"coordinator": identity.public},
        )
        return cls(identity, study.with_hospitals(FACTS))

    def ask(self, agent: AgentProcess, request: Request, *, timeout_s: float = 60.0) -> Reply:
        return agent.relay(seal_request(self.identity, request), timeout_s).handle(request)

    def enroll(self, run_id: str = "run-1") -> EnrollRequest:
        study, plan = self.study, make_plan(self.study)
        return EnrollRequest(run_id, study.to_toml(), study.fingerprint, plan.to_json(), "{}")

    def coarse(self, run_id: str = "run-1") -> CountsRequest:
        cells = make_plan(self.study).cells
        histograms = np.arange(histogram_length(self.study.table, cells), dtype=np.int64)
        return CountsRequest(run_id, COARSE, {"histograms": histograms}, NOTHING)

    def round(self, number: int = 1, run_id: str = "run-1") -> RoundRequest:
        from common.synthesizers.registry import make_adversarial  # torch

        public = made_up_run(self.study, make_plan(self.study))
        weights = make_adversarial(self.study.synthesizer, public.encoder).initial_weights(0)
        return RoundRequest(run_id, number, public.released.arrays(), weights)


def histograms(run_id: str = "run-1") -> CountsRequest:
    return CountsRequest(run_id, "histograms")


def write_table(agent: AgentProcess, *, seed: int = 0) -> None:
    clinic_table(100, seed).to_csv(agent.data, index=False)


def enrolled(agent: AgentProcess, coordinator: Coordinator, run_id: str = "run-1") -> AgentProcess:
    reply = coordinator.ask(agent, coordinator.enroll(run_id))
    assert isinstance(reply, EnrollReply)
    assert reply.reason == Reason.ACCEPTED
    return agent


def slots(agent: AgentProcess) -> list[tuple[str, str, int]]:
    """Run, phase and round of every ledger line, while no agent runs."""
    lines = Ledger.view(agent.state / "ledger.sqlite").lines()
    return [(line.slot.run_id, line.slot.phase, line.slot.round) for line in lines]


def logged(agent: AgentProcess, word: str) -> list[dict[str, object]]:
    """The log's lines that hold a word; every line must be JSON."""
    lines = [json.loads(line) for line in agent.log.splitlines()]
    return [line for line in lines if word in json.dumps(line)]
