"""A hospital whose patients vote: what it answers, what it charges, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.ledger.ledger import Ledger
from common.marginals.votes import MOST_CANDIDATES, count_votes
from common.planning.phases import COARSE_TRIPLES, HISTOGRAMS, VOTES, PublicRun
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsReply, CountsRequest, EnrollReply, EnrollRequest, Unavailable
from simulations.audit.opened import MuteNoise
from tests.testbeds.clinic import clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.voting import ASKED, CANDIDATES, voting_run, voting_study

STUDY = voting_study()
PLAN = make_plan(STUDY)
RELEASED = voting_run().released.only({HISTOGRAMS}).arrays()
ENROLL = EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")
SHARD = Shard(clinic_table(100, seed=0), STUDY, key=b"key")
REQUEST = CountsRequest("run-1", VOTES, RELEASED, candidates=CANDIDATES.ravel())
NORTH = Policy("north", max_epsilon=9.0, delta=1e-4, consent=agreed_to(STUDY))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", cohort="clinic", delta=1e-4)
    yield opened
    opened.close()


def enrolled(ledger: Ledger, *, shard: Shard = SHARD) -> Hospital:
    hospital = Hospital(NORTH, lambda study: shard, ledger, SecureNoise())
    reply = hospital.handle(ENROLL)
    assert isinstance(reply, EnrollReply)
    assert reply.reason == "accepted"
    return hospital


class TestVotes:
    def test_are_charged_as_one_count_whichever_candidates_are_sent(self, ledger: Ledger) -> None:
        reply = enrolled(ledger).handle(replace(REQUEST, candidates=CANDIDATES[:2].ravel()))
        assert isinstance(reply, CountsReply)
        assert reply.counts.shape == (2,)
        assert ledger.events() == (DiscreteGaussianVector(PLAN.sigma(PLAN.hospitals[0], VOTES), 1),)

    def test_leave_with_the_noise_of_the_plan(self, ledger: Ledger) -> None:
        many = np.tile(CANDIDATES.ravel(), 200)
        reply = enrolled(ledger).handle(replace(REQUEST, candidates=many))
        assert isinstance(reply, CountsReply)
        public = PublicRun(STUDY, PLAN).after(HISTOGRAMS, RELEASED[HISTOGRAMS])
        true = count_votes(SHARD.encoded(public), many.reshape(-1, 4), public.domain)
        noise, sigma = reply.counts - true, PLAN.sigma(PLAN.hospitals[0], VOTES)
        # The deviation of 1000 normal numbers errs by sigma / sqrt(2000).
        assert abs(noise.std() - sigma) < 5 * sigma / 44

    def test_are_given_once(self, ledger: Ledger) -> None:
        north = enrolled(ledger)
        first = north.handle(REQUEST)
        assert isinstance(first, CountsReply)
        other = north.handle(replace(REQUEST, candidates=CANDIDATES[::-1].ravel()))
        assert to_bytes(other) == to_bytes(Unavailable("north"))
        assert to_bytes(north.handle(REQUEST)) == to_bytes(first)
        assert len(ledger.lines()) == 1

    @pytest.mark.parametrize(
        "request_",
        [
            replace(REQUEST, candidates=np.empty(0, dtype=np.int64)),
            replace(REQUEST, candidates=np.zeros(4 * (MOST_CANDIDATES + 1), dtype=np.int64)),
            replace(REQUEST, candidates=CANDIDATES.ravel()[:-1]),
            replace(REQUEST, candidates=np.array([0, 0, 9, 0])),
            replace(REQUEST, candidates=np.array([-1, 0, 0, 0])),
            replace(REQUEST, columns=np.array([0, 1])),
            replace(REQUEST, weights=np.array([72])),
            replace(REQUEST, phase=HISTOGRAMS, released={}),
            replace(REQUEST, phase=COARSE_TRIPLES, columns=ASKED[COARSE_TRIPLES].columns),
        ],
        ids=range(9),
    )
    def test_other_candidates_get_nothing_and_cost_nothing(self, ledger: Ledger, request_: CountsRequest) -> None:
        north = enrolled(ledger)
        assert to_bytes(north.handle(request_)) == to_bytes(Unavailable("north"))
        assert ledger.lines() == ()
        assert isinstance(north.handle(REQUEST), CountsReply)  # and spoil nothing

    def test_bad_candidates_are_refused_before_records_are_read(self, ledger: Ledger) -> None:
        def never_opened(study: object) -> Shard:
            raise AssertionError("records were read")

        hospital = Hospital(NORTH, never_opened, ledger, SecureNoise())
        hospital.handle(ENROLL)
        assert isinstance(hospital.handle(replace(REQUEST, candidates=np.array([7, 0, 0, 0]))), Unavailable)
        assert ledger.lines() == ()


class TestSetsOfFour:
    def test_are_counted_within_the_plan(self, ledger: Ledger) -> None:
        asked = ASKED[COARSE_TRIPLES]
        reply = enrolled(ledger).handle(CountsRequest("run-1", COARSE_TRIPLES, RELEASED, asked.columns, asked.weights))
        assert isinstance(reply, CountsReply)
        planned = PLAN.vector(COARSE_TRIPLES)
        assert planned is not None
        bounds = planned.squared_sensitivity, planned.largest_weight
        sigma = PLAN.sigma(PLAN.hospitals[0], COARSE_TRIPLES)
        assert ledger.events() == (DiscreteGaussianVector(sigma, *bounds),)

    def test_too_heavy_ones_cost_nothing(self, ledger: Ledger) -> None:
        planned = PLAN.vector(COARSE_TRIPLES)
        assert planned is not None
        heavy = np.array([60, planned.largest_weight // 4 * 4])
        assert 60**2 / 2 + heavy[1] ** 2 / 4 > planned.squared_sensitivity
        request = CountsRequest("run-1", COARSE_TRIPLES, RELEASED, ASKED[COARSE_TRIPLES].columns, heavy)
        assert isinstance(enrolled(ledger).handle(request), Unavailable)
        assert ledger.lines() == ()


@pytest.mark.parametrize("phase", [VOTES, COARSE_TRIPLES])
def test_one_patient_changes_no_more_than_is_charged(phase: str, tmp_path: Path) -> None:
    """The exact answers of two hospitals that differ in one patient, to one request."""
    asked = ASKED[phase]
    request = CountsRequest("run-1", phase, RELEASED, asked.columns, asked.weights, asked.candidates)
    answers = []
    for rows in (99, 100):
        shard = Shard(clinic_table(100, seed=0).iloc[:rows], STUDY, key=b"key")
        ledger = Ledger(tmp_path / f"{rows}.sqlite", cohort="clinic", delta=1e-4)
        policy = Policy("north", is_simulation=True)
        hospital = Hospital(policy, lambda study, shard=shard: shard, ledger, MuteNoise())  # type: ignore[misc]
        hospital.handle(ENROLL)
        reply = hospital.handle(request)
        assert isinstance(reply, CountsReply)
        answers.append((len(shard.training), reply.counts))
        (event,) = ledger.events()
        ledger.close()
    change = answers[1][1] - answers[0][1]
    assert isinstance(event, DiscreteGaussianVector)
    assert answers[1][0] - answers[0][0] == 1
    assert 0 < int((change**2).sum()) <= event.squared_sensitivity
    assert np.abs(change).max() <= event.largest_change
