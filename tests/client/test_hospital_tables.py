"""Which tables a hospital counts, with which weights, and what leaves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.answers import _capped
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Integers
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.marginals.queries import count
from common.marginals.released import Asked
from common.planning.phases import COARSE, COARSE_TRIPLES, HISTOGRAMS, PAIRS, TRIPLES, PublicRun, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, Unprotected
from common.privacy.mechanisms import SeededNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollRequest,
    Unavailable,
)
from tests.testbeds.clinic import clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.hospital_runs import (
    HISTOGRAM,
    NORTH,
    NOTHING,
    PLAN,
    PLANNED_PAIRS,
    PUBLIC,
    STUDY,
    TWO_PAIRS,
    coarse_request,
    enrolled,
    hospital,
    open_ledger,
    pairs_request,
    reason_of,
)


@pytest.mark.parametrize(
    "request_",
    [pairs_request(), pairs_request(np.array([1, 2])), pairs_request(weights=np.array([2, 2])), pairs_request(NOTHING)],
    ids=["two", "one", "light", "none"],
)
def test_tables_are_charged_as_planned_whichever_are_asked(ledger: Ledger, request_: CountsRequest) -> None:
    reply = enrolled(ledger).handle(request_)
    assert isinstance(reply, CountsReply)
    queries = vector_phase(PAIRS).queries(PUBLIC, Asked(request_.columns, request_.weights))
    assert len(reply.counts) == PUBLIC.domain.cells(queries)
    sigma = PLAN.sigma(PLAN.hospitals[0], PAIRS)
    bounds = PLANNED_PAIRS.squared_sensitivity, PLANNED_PAIRS.largest_weight
    assert PLANNED_PAIRS.has_weights
    assert ledger.events() == (DiscreteGaussianVector(sigma, *bounds),)


AGE_LAB_AND_SEX = np.array([0, 1, 1, 2])
HEAVIEST = PLANNED_PAIRS.largest_weight // 2 * 2
ALMOST = math.isqrt(PLANNED_PAIRS.squared_sensitivity - PLANNED_PAIRS.total_weight**2 - HEAVIEST**2 // 2)
"""Weights of a pair of numbers and of one centered along the sex, which the plan just allows: a^2 + h^2 / 2 + ..."""

HEAVY: dict[str, CountsRequest] = {
    "too heavy together": pairs_request(np.array([0, 1, 0, 2]), np.array([96, 50])),
    "one of them too heavy": pairs_request(np.array([0, 2, 1, 2]), np.array([HEAVIEST + 2, 2])),
    "just above together": pairs_request(AGE_LAB_AND_SEX, np.array([ALMOST + 1, HEAVIEST])),
    "no multiple of the unit": pairs_request(weights=np.array([72, 71])),
    "zero": pairs_request(weights=np.array([72, 0])),
    "negative": pairs_request(weights=np.array([-72, 72])),
    "so large that its square wraps around": pairs_request(weights=np.array([72, 2**33])),
    "the largest integer": pairs_request(weights=np.array([2, 2**63 - 2])),
    "missing": pairs_request(weights=NOTHING),
    "too few": pairs_request(weights=np.array([72])),
    "too many": pairs_request(weights=np.array([72, 72, 2])),
    "where tables are fixed": CountsRequest("run-1", COARSE, {"histograms": HISTOGRAM}, NOTHING, np.array([72])),
    "of histograms": CountsRequest("run-1", HISTOGRAMS, {}, NOTHING, np.array([72])),
}


@pytest.mark.parametrize("name", HEAVY)
def test_weights_outside_the_plan_cost_nothing(ledger: Ledger, name: str) -> None:
    north = enrolled(ledger)
    assert to_bytes(north.handle(HEAVY[name])) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()
    assert isinstance(north.handle(pairs_request()), CountsReply)  # and spoil nothing


def test_the_heaviest_weights_of_the_plan_are_answered(ledger: Ledger) -> None:
    shape = vector_phase(PAIRS).shape(PUBLIC, Asked(AGE_LAB_AND_SEX, np.array([ALMOST, HEAVIEST])))
    assert shape.largest_weight == HEAVIEST
    assert 0.97 * PLANNED_PAIRS.squared_sensitivity < shape.squared_sensitivity <= PLANNED_PAIRS.squared_sensitivity
    request = pairs_request(AGE_LAB_AND_SEX, np.array([ALMOST, HEAVIEST]))
    assert isinstance(enrolled(ledger).handle(request), CountsReply)


def test_weights_where_none_are_planned_cost_nothing(ledger: Ledger) -> None:
    clear = STUDY.amended(privacy={"epsilon": 30.0, "allow_large_epsilon": True}, training={"rounds": 0})
    plan = make_plan(clear)
    assert not any(vector.has_weights for vector in plan.vectors)
    policy = replace(NORTH, max_epsilon=30.0, consent=agreed_to(clear))
    records = Shard(clinic_table(100, seed=0), clear, key=b"key")
    north = hospital(ledger, open_shard=lambda study: records, policy=policy)
    enroll = EnrollRequest("run-1", clear.to_toml(), clear.fingerprint, plan.to_json(), "{}")
    assert reason_of(north.handle(enroll)) == Reason.ACCEPTED
    released = {"histograms": np.arange(len(records.histograms(plan.cells)), dtype=np.int64)}
    plain = CountsRequest("run-1", PAIRS, released, TWO_PAIRS)
    for weights in (np.array([1, 1]), np.array([2, 1]), np.array([1])):
        assert isinstance(north.handle(replace(plain, weights=weights)), Unavailable)
    assert ledger.lines() == ()
    assert isinstance(north.handle(plain), CountsReply)
    assert ledger.events() == (DiscreteGaussianVector(plan.sigma(plan.hospitals[0], PAIRS), 2),)


@given(counts=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=5), data=st.data())
def test_cut_counts_stay_in_range_and_change_no_more(counts: list[int], data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 10**6))
    change = data.draw(st.lists(st.integers(-99, 99), min_size=len(counts), max_size=len(counts)))
    one, other = (_capped(np.array(values), most) for values in (counts, np.add(counts, change)))
    assert np.abs(one).max() <= most
    assert (np.abs(other - one) <= np.abs(change)).all()
    within = np.abs(counts) <= most
    assert (one[within] == np.array(counts)[within]).all()


@pytest.mark.parametrize(
    "request_",
    [
        pairs_request(np.array([0, 1, 0, 2, 0, 3]), np.full(3, 12)),
        pairs_request(np.array([0, 4])),
        pairs_request(np.array([0, 0])),
        pairs_request(np.array([0, 1, 2])),
        pairs_request(np.array([1, 0])),
        pairs_request(np.array([0, 1, 0, 1])),
        replace(pairs_request(), phase="triples", columns=np.array([0, 1, 2])),
        replace(pairs_request(), phase="singles"),
        replace(pairs_request(), phase="histograms"),
        replace(pairs_request(), phase="pairs.2"),
        replace(pairs_request(), phase=""),
    ],
    ids=range(11),
)
def test_tables_outside_the_plan_get_nothing_and_cost_nothing(ledger: Ledger, request_: CountsRequest) -> None:
    north = enrolled(ledger)
    assert to_bytes(north.handle(request_)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()
    assert isinstance(north.handle(pairs_request()), CountsReply)  # and spoil nothing


def test_a_phase_is_answered_once_and_other_pairs_get_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    first = north.handle(pairs_request(np.array([0, 1])))
    lines = ledger.lines()
    others = [pairs_request(np.array(columns)) for columns in ([0, 2], [1, 0], [0, 1, 0, 2])]
    for other in (*others, pairs_request(np.array([0, 1]), np.array([72]))):
        assert to_bytes(north.handle(other)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == lines
    assert to_bytes(north.handle(pairs_request(np.array([0, 1])))) == to_bytes(first)


def true_tables(shard: Shard, request: CountsRequest, plan: Plan) -> Integers:
    public = PublicRun(STUDY, plan).after(HISTOGRAMS, request.released[HISTOGRAMS])
    tables = vector_phase(request.phase).queries(public, Asked(request.columns, request.weights))
    return count(shard.encoded(public), tables, public.domain)


def test_the_tables_that_leave_have_the_plans_noise(tmp_path: Path) -> None:
    shard = Shard(clinic_table(100, seed=0), STUDY, key=b"key")
    for request in (coarse_request(), pairs_request()):
        true, noise = true_tables(shard, request, PLAN), []
        for number in range(4):
            ledger = open_ledger(tmp_path / f"{request.phase}-{number}.sqlite")
            reply = enrolled(ledger).handle(request)
            ledger.close()
            assert isinstance(reply, CountsReply)
            noise.append(reply.counts - true)
        drawn = np.concatenate(noise)
        sigma = PLAN.sigma(PLAN.hospitals[0], request.phase)
        # Mean and deviation of n normal numbers err by sigma / sqrt(n) and sigma / sqrt(2 n).
        assert abs(drawn.mean()) < 5 * sigma / np.sqrt(len(drawn))
        assert abs(drawn.std() - sigma) < 5 * sigma / np.sqrt(2 * len(drawn))
        assert len({one.tobytes() for one in noise}) == 4


def test_without_noise_the_replies_add_up_to_the_pooled_patients(tmp_path: Path) -> None:
    bare = STUDY.amended(privacy={"noise": "none"}, synthesizer={"pairs": 2, "triples": 1})
    plan = make_plan(bare)
    enroll = EnrollRequest("run-1", bare.to_toml(), bare.fingerprint, plan.to_json(), "{}")
    shards = {name: Shard(clinic_table(100, seed), bare, key=b"key") for seed, name in enumerate(("north", "south"))}
    histograms = np.sum([shard.histograms(plan.cells) for shard in shards.values()], axis=0)
    requests = [
        CountsRequest("run-1", COARSE, {"histograms": histograms}, NOTHING),
        CountsRequest("run-1", PAIRS, {"histograms": histograms}, TWO_PAIRS),
        CountsRequest("run-1", COARSE_TRIPLES, {"histograms": histograms}, np.array([0, 1, 3])),
        CountsRequest("run-1", TRIPLES, {"histograms": histograms}, np.array([0, 1, 3])),
    ]
    sums: dict[str, list[Integers]] = {request.phase: [] for request in requests}
    for name, shard in shards.items():
        ledger = open_ledger(tmp_path / f"{name}.sqlite")
        policy = Policy(name, is_simulation=True)
        one = Hospital(policy, lambda study, shard=shard: shard, ledger, SeededNoise(1))  # type: ignore[misc]
        assert reason_of(one.handle(enroll)) == Reason.ACCEPTED
        for request in requests:
            reply = one.handle(request)
            assert isinstance(reply, CountsReply)
            assert (reply.counts == true_tables(shard, request, plan)).all()
            sums[request.phase].append(reply.counts)
        assert set(ledger.events()) == {Unprotected()}
        ledger.close()
    public = PublicRun(bare, plan).after(HISTOGRAMS, histograms)
    pooled = public.encoder.encode(pd.concat([shard.training for shard in shards.values()], ignore_index=True))
    for request in requests:
        queries = vector_phase(request.phase).queries(public, Asked(request.columns, request.weights))
        assert (np.sum(sums[request.phase], axis=0) == count(pooled, queries, public.domain)).all()
