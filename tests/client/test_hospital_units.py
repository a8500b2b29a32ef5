"""A hospital whose ledger is about records does not answer a study about patients."""

from __future__ import annotations

import pytest

from client.consent.policy import Policy
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.planning.planner import make_plan
from common.protocol.messages import EnrollReply, EnrollRequest
from tests.testbeds.consent import agreed_to
from tests.testbeds.hospital_runs import STUDY, hospital, never_opened


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("record", "patient", Reason.UNIT_DIFFERS),
        ("record", "record", Reason.ACCEPTED),
        ("patient", "record", Reason.ACCEPTED),
    ],
)
def test_patients_after_records_are_refused(ledger: Ledger, first: str, second: str, reason: Reason) -> None:
    replies = []
    for run_id, unit in (("run-1", first), ("run-2", second)):
        study = STUDY.amended(privacy={"unit": unit, "epsilon": 1.0})
        policy = Policy("north", max_epsilon=10.0, delta=1e-4, unit="patient", consent=agreed_to(study))
        north = hospital(ledger, policy=policy, open_shard=never_opened)
        request = EnrollRequest(run_id, study.to_toml(), study.fingerprint, make_plan(study).to_json(), "{}")
        replies.append(north.handle(request))
    assert all(isinstance(reply, EnrollReply) for reply in replies)
    assert [reply.reason for reply in replies if isinstance(reply, EnrollReply)] == [Reason.ACCEPTED, reason]
