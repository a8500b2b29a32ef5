"""Attempts at a masked vector are counted when its session begins and again when it is charged; see `test_masking`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from common.ledger.slot import Slot
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector
from common.protocol.messages import MaskedRequest, Reply, Request, Unavailable
from tests.testbeds.masked_federation import RUN, MaskedFederation, shared_study


def test_a_session_that_began_in_time_is_charged_in_time(tmp_path: Path) -> None:
    replies: list[Reply] = []
    later = Slot(make_plan(shared_study()).fingerprint, RUN, "histograms", 0, 2)

    def charged_meanwhile(request: Request, answer: Callable[[], Reply]) -> Reply:
        if isinstance(request, MaskedRequest) and not replies:
            federation.hospitals["north"].ledger.charge(later, "digest", DiscreteGaussianVector(8.0, 2))
            replies.append(answer())
            return replies[0]
        return answer()

    with ExitStack() as stack:
        federation = MaskedFederation(shared_study(), tmp_path, stack, {"north": charged_meanwhile})
        federation.run()  # the others make up for north, which drops out
        assert isinstance(replies[0], Unavailable)
        assert federation.charged()["north"][0] == ("histograms", 2)
        assert ("histograms", 1) not in federation.charged()["north"]
