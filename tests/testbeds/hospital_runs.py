"""A hospital that answers a run of two hospitals from invented records, and the requests of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Array, Integers
from common.columns.base import Codes
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.marginals.released import Asked
from common.planning.phases import COARSE, PAIRS, PublicRun
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollReply,
    EnrollRequest,
    Reply,
    RoundRequest,
)
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.synthesizers.registry import make_adversarial
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.released import made_up_run

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 2, "steps": 10}, synthesizer={"pairs": 2}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)
ENROLL = EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")
NORTH = Policy("north", max_epsilon=10.0, delta=1e-4, consent=agreed_to(STUDY))
ASK = CountsRequest("run-1", "histograms")
CANARY = "canary-4711"

Opener = Callable[[Study], Shard]


def opener(table: pd.DataFrame) -> Opener:
    return lambda study: Shard(table, study, key=b"key")


def never_opened(study: Study) -> Shard:
    raise AssertionError("records were read")


class Broken(Shard):
    """A shard whose every use fails with a cell's text in the exception."""

    def __init__(self) -> None:
        pass

    def histograms(self, cells: int) -> Integers:
        raise ValueError(f"could not convert string to float: '{CANARY}'")

    def encoded(self, public: PublicRun) -> Codes:
        raise KeyError(CANARY)

    def held_out(self, public: PublicRun) -> Codes:
        raise KeyError(CANARY)


def open_ledger(path: Path) -> Ledger:
    return Ledger(path, cohort="clinic", delta=1e-4)


def hospital(
    ledger: Ledger, *, table: pd.DataFrame | None = None, open_shard: Opener | None = None, policy: Policy | None = None
) -> Hospital:
    records = clinic_table(100, seed=0) if table is None else table
    return Hospital(policy or NORTH, open_shard or opener(records), ledger, SecureNoise())


def enrolled(ledger: Ledger, **settings: object) -> Hospital:
    one = hospital(ledger, **settings)  # type: ignore[arg-type]
    assert reason_of(one.handle(ENROLL)) == Reason.ACCEPTED
    return one


def reason_of(reply: Reply) -> str:
    assert isinstance(reply, EnrollReply)
    return reply.reason


def _released_histograms() -> CountsReply:
    shard = Shard(clinic_table(100, seed=0), STUDY, key=b"key")
    return CountsReply("north", shard.histograms(PLAN.cells), 0, "")


PLAN_HISTOGRAMS = _released_histograms()
HISTOGRAM = np.arange(len(PLAN_HISTOGRAMS.counts), dtype=np.int64)
NOTHING = np.empty(0, dtype=np.int64)
TWO_PAIRS, WEIGHTS = np.array([0, 3, 1, 3]), np.array([72, 100])
"""Tables of age and outcome, lab and outcome, each centered along the outcome; the plan allows as many."""
PUBLIC = made_up_run(STUDY, PLAN, {PAIRS: Asked(TWO_PAIRS, WEIGHTS)})
PLANNED_PAIRS = PUBLIC.planned(PAIRS)


def coarse_request(*, run_id: str = "run-1") -> CountsRequest:
    return CountsRequest(run_id, COARSE, {"histograms": HISTOGRAM}, NOTHING)


def pairs_request(columns: Array = TWO_PAIRS, weights: Array | None = None, *, run_id: str = "run-1") -> CountsRequest:
    """Ask for pairs; if no weights are given, each weighs 60."""
    weights = np.full(len(columns) // 2, 60) if weights is None else weights
    return CountsRequest(run_id, PAIRS, {"histograms": HISTOGRAM}, columns, weights)


def training_request(number: int = 1, *, run_id: str = "run-1") -> RoundRequest:
    weights = make_adversarial(STUDY.synthesizer, PUBLIC.encoder).initial_weights(0)
    return RoundRequest(run_id, number, PUBLIC.released.arrays(), weights)
