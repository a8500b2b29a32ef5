from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from common.errors import Reason
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import CountsRequest, EnrollRequest, Request, RoundRequest, Unavailable
from common.protocol.seals import (
    CLOCK_TOLERANCE_S,
    MOST_LIFETIME_S,
    Seal,
    asked_by,
    fault_of_seal,
    seal_request,
)
from common.protocol.signing import Identity, is_signed_reply, sign_reply

NOTHING = np.empty(0, dtype=np.int64)
WEIGHTS = {"gen.table": np.zeros((2, 2), dtype=np.float32)}
REQUESTS: list[Request] = [
    EnrollRequest("run-1", "study", "fingerprint", "plan", "{}"),
    CountsRequest("run-1", "histograms"),
    CountsRequest("run-1", "coarse", {"histograms": NOTHING}, NOTHING),
    RoundRequest("run-1", 1, {"histograms": NOTHING}, WEIGHTS),
]
KEY = Identity.simulated(1, "coordinator")


@pytest.mark.parametrize("index", range(len(REQUESTS)))
def test_seal_covers_every_field_of_the_request(index: int) -> None:
    request = REQUESTS[index]
    seal = seal_request(KEY, request)
    assert fault_of_seal(request, seal, KEY.public) is None
    changed: list[Request] = [replace(request, run_id="run-2"), *(other for other in REQUESTS if other is not request)]
    if isinstance(request, CountsRequest):
        changed += [replace(request, phase="pairs"), replace(request, columns=np.array([1]))]
        changed += [replace(request, weights=np.array([72]))]
    if isinstance(request, RoundRequest):
        other_weights = {"gen.table": np.ones((2, 2), dtype=np.float32)}
        changed += [replace(request, round=2), replace(request, weights=other_weights)]
    assert all(fault_of_seal(other, seal, KEY.public) == Reason.SIGNATURE_REFUSED for other in changed)


@pytest.mark.parametrize("part", ["nonce", "expires", "signature", "length", "key"])
def test_seal_covers_nonce_expiry_and_key(part: str) -> None:
    request, public = REQUESTS[1], KEY.public
    seal = Seal.from_bytes(seal_request(KEY, request))
    assert seal is not None
    altered = {
        "nonce": replace(seal, nonce=bytes(16)).to_bytes(),
        "expires": replace(seal, expires=seal.expires + 1).to_bytes(),
        "signature": replace(seal, signature=bytes(64)).to_bytes(),
        "length": seal.to_bytes()[:-1],
        "key": seal_request(Identity.simulated(2, "coordinator"), request),
    }
    assert fault_of_seal(request, altered[part], public) == Reason.SIGNATURE_REFUSED


class TestExpiry:
    @pytest.mark.parametrize(
        ("lifetime_s", "late_s", "reason"),
        [
            (60, 0, None),
            (60, 60 + CLOCK_TOLERANCE_S - 5, None),
            (60, 60 + CLOCK_TOLERANCE_S + 5, Reason.REQUEST_EXPIRED),
            (60, 30 * 24 * 3600, Reason.REQUEST_EXPIRED),
            (MOST_LIFETIME_S, 5 - CLOCK_TOLERANCE_S, None),  # the hospital's clock is behind
            (MOST_LIFETIME_S, -5 - CLOCK_TOLERANCE_S, Reason.REQUEST_EXPIRED),
        ],
    )
    def test_clocks_may_differ_by_the_tolerance(
        self, monkeypatch: pytest.MonkeyPatch, lifetime_s: float, late_s: float, reason: Reason | None
    ) -> None:
        seal, now = seal_request(KEY, REQUESTS[1], lifetime_s=lifetime_s), time.time()
        monkeypatch.setattr(time, "time", lambda: now + late_s)
        assert fault_of_seal(REQUESTS[1], seal, KEY.public) == reason

    def test_no_request_is_valid_for_longer_than_a_week(self) -> None:
        seal = Seal.from_bytes(seal_request(KEY, REQUESTS[1], lifetime_s=1e9))
        assert seal is not None
        assert seal.expires <= time.time() + MOST_LIFETIME_S


def test_every_sending_has_another_digest() -> None:
    request = REQUESTS[1]
    first, second = seal_request(KEY, request), seal_request(KEY, request)
    assert len({asked_by(request, first), asked_by(request, second), asked_by(REQUESTS[2], first)}) == 3
    assert asked_by(request, first) == asked_by(request, first)
    assert asked_by(request, b"") == digest(request)  # a simulation seals nothing


def test_a_signature_on_a_reply_is_none_on_a_request() -> None:
    # A site and a coordinator may be one organization with one key.
    request, reply = REQUESTS[1], to_bytes(Unavailable("north"))
    seal = Seal.from_bytes(seal_request(KEY, request))
    assert seal is not None
    moved = replace(seal, signature=sign_reply(KEY, digest(request), reply)).to_bytes()
    assert fault_of_seal(request, moved, KEY.public) == Reason.SIGNATURE_REFUSED
    assert not is_signed_reply(digest(request), reply, seal.signature, KEY.public)
