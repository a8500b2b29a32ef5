from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from client.agent.agent import Agent
from client.agent.envelope import AgentRequest
from client.agent.timing import ReplyGrid
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.ledger.ledger import Ledger
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import KeysRequest, MaskedRequest, Request, RoundRequest, SurvivorsRequest
from common.secagg.packing import to_vector
from common.version import VERSION
from tests.testbeds.clinic import clinic_table
from tests.testbeds.site_requests import histograms

MASKED = MaskedRequest("run-1", "coarse", 0, 1, "south", to_vector(b""), to_vector(b""))


class Clock:
    """A clock that only sleeping moves; sleeping may wake up early."""

    def __init__(self, *, early_s: float = 0.0) -> None:
        self.now, self._early_s = 100.0, early_s

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds - self._early_s, 0.01)

    def held(self, request: Request, grid_s: float, computing_s: float) -> float:
        """Return how long after it came a request's reply leaves."""
        began = self.now
        self.now += computing_s
        ReplyGrid(grid_s, lambda: self.now, self.sleep).hold(request, began)
        return self.now - began


@pytest.mark.parametrize(("computing_s", "leaves_s"), [(0.01, 2), (1.99, 2), (2.01, 4), (7.0, 8)])
@pytest.mark.parametrize("request_", [histograms(), RoundRequest("run-1", 1, {}, {}), MASKED], ids=lambda one: one.kind)
def test_replies_from_records_leave_on_the_grid(request_: Request, computing_s: float, leaves_s: float) -> None:
    assert Clock().held(request_, 2.0, computing_s) == pytest.approx(leaves_s)


@pytest.mark.parametrize(("computing_s", "number"), [(1.99, None), (2.01, 2), (7.0, 4)])
def test_a_reply_that_missed_its_first_mark_is_logged(
    computing_s: float, number: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    Clock().held(histograms(), 2.0, computing_s)
    assert len(caplog.records) == (number is not None)
    if number is not None:
        assert f"leaves at mark {number}" in caplog.text
        assert "raise [timing] grid_s = 2 in site.toml" in caplog.text


def test_a_reply_does_not_leave_before_its_mark() -> None:
    assert Clock(early_s=0.3).held(histograms(), 2.0, 0.5) >= 2.0


@pytest.mark.parametrize(
    "request_",
    [KeysRequest("run-1", "coarse", 0, 1, "ab" * 32), SurvivorsRequest("run-1", "coarse", 0, 1, "north")],
    ids=lambda one: one.kind,
)
def test_replies_that_need_no_record_leave_at_once(request_: Request) -> None:
    assert Clock().held(request_, 2.0, 0.5) == 0.5


def test_an_agent_holds_answers_and_refusals_back(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)) as ledger:
        policy = Policy("north", max_epsilon=1.0, delta=1e-4)
        north = Hospital(policy, lambda study: Shard(clinic_table(5, 0), study, key=b""), ledger, SecureNoise())
        grid = ReplyGrid(2.0, lambda: clock.now, clock.sleep)
        agent = Agent(north, state=tmp_path, replies=grid)
        agent.answer(AgentRequest(VERSION, to_bytes(histograms())))
        assert clock.now == 102.0
        agent.answer(AgentRequest(VERSION, b"junk"))
        assert clock.now == 102.0


def test_without_a_grid_replies_leave_at_once() -> None:
    assert Clock().held(histograms(), 0.0, 0.5) == 0.5
