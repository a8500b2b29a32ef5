from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.answers import ANSWERS, _capped
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Array, Integers
from common.columns.base import Codes
from common.errors import REASON_TEXTS, PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Ledger, Slot
from common.ledger.receipts import Receipt, receipts_to_json
from common.marginals.queries import count
from common.marginals.released import Asked
from common.planning.phases import COARSE, COARSE_TRIPLES, HISTOGRAMS, PAIRS, TRIPLES, PublicRun, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, Unprotected
from common.privacy.mechanisms import SecureNoise, SeededNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollReply,
    EnrollRequest,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
    Unavailable,
)
from common.protocol.signing import Identity
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


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


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


def test_hospital_answers_every_phase_with_one_charge_each(ledger: Ledger) -> None:
    north = enrolled(ledger)
    counts = north.handle(ASK)
    assert isinstance(counts, CountsReply)
    assert counts.counts.shape == PLAN_HISTOGRAMS.counts.shape
    for request in (coarse_request(), pairs_request()):
        assert isinstance(north.handle(request), CountsReply)
    for number in (1, 2):
        assert isinstance(north.handle(training_request(number)), RoundReply)
    assert ledger.events() == PLAN.events(PLAN.hospitals[0])
    assert [line.slot.round for line in ledger.lines()] == [0, 0, 0, 1, 2]


def test_the_counts_that_leave_are_noisy(ledger: Ledger) -> None:
    counts = enrolled(ledger).handle(ASK)
    assert isinstance(counts, CountsReply)
    noise = counts.counts - PLAN_HISTOGRAMS.counts
    sigma = PLAN.sigma(PLAN.hospitals[0], HISTOGRAMS)
    # The deviation of n normal numbers errs by sigma / sqrt(2 n).
    assert abs(noise.std() - sigma) < 5 * sigma / np.sqrt(2 * len(noise))


def test_enrolling_reads_no_record(tmp_path: Path) -> None:
    replies = set()
    shards = [never_opened, opener(clinic_table(100, seed=0)), opener(clinic_table(3, seed=9)), lambda study: Broken()]
    for number, open_shard in enumerate(shards):
        ledger = open_ledger(tmp_path / f"{number}.sqlite")
        reply = hospital(ledger, open_shard=open_shard).handle(ENROLL)
        assert isinstance(reply, EnrollReply)
        assert reply.head == ledger.head.head
        replies.add(to_bytes(replace(reply, head="")))  # its hash covers the time and the ledger's random name
        ledger.close()
    assert len(replies) == 1


def test_enrolling_again_is_accepted_and_charges_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(ENROLL)) == Reason.ACCEPTED
    assert ledger.lines() == ()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(ENROLL, fingerprint="ab" * 32), Reason.STUDY_ALTERED),
        (replace(ENROLL, study=ENROLL.study.replace("seed = 11", "seed = 12")), Reason.STUDY_ALTERED),
        (replace(ENROLL, plan=replace(PLAN, fingerprint="ab" * 32).to_json()), Reason.STUDY_ALTERED),
        (replace(ENROLL, plan=replace(PLAN, vectors=PLAN.vectors[:-1]).to_json()), Reason.PLAN_MISMATCH),
        (replace(ENROLL, plan=replace(PLAN, hospitals=PLAN.hospitals[1:]).to_json()), Reason.UNKNOWN_HOSPITAL),
    ],
    ids=["fingerprint", "text", "another study's plan", "tampered plan", "without this hospital"],
)
def test_an_altered_study_or_plan_is_refused_with_the_reason(
    ledger: Ledger, request_: EnrollRequest, reason: Reason
) -> None:
    north = hospital(ledger)
    assert reason_of(north.handle(request_)) == reason
    assert isinstance(north.handle(ASK), Unavailable)


def test_the_policys_reason_is_what_travels(ledger: Ledger) -> None:
    north = hospital(ledger, policy=replace(NORTH, declared_rows=99))
    assert reason_of(north.handle(ENROLL)) == Reason.DECLARED_ROWS_DIFFER
    assert ledger.enrollment("run-1") is None


REFUSING = {
    Reason.UNKNOWN_HOSPITAL: replace(NORTH, hospital="east"),
    Reason.STUDY_NOT_APPROVED: replace(NORTH, consent=None),
    Reason.DECLARED_ROWS_DIFFER: replace(NORTH, declared_rows=99),
    Reason.TOO_FEW_ROWS: replace(NORTH, min_rows=101),
    Reason.DELTA_TOO_LARGE: replace(NORTH, delta=9e-5),
    Reason.PHASE_NOT_ALLOWED: replace(NORTH, phases=frozenset({"histograms", "coarse"})),
    Reason.EPSILON_ABOVE_CAP: replace(NORTH, max_epsilon=2.9),
}


@pytest.mark.parametrize("reason", REFUSING)
def test_a_refusal_is_decided_before_any_record_is_read(reason: Reason, ledger: Ledger) -> None:
    north = hospital(ledger, policy=REFUSING[reason], open_shard=never_opened)
    assert reason_of(north.handle(ENROLL)) == reason
    for request in (ASK, coarse_request(), training_request()):
        assert isinstance(north.handle(request), Unavailable)
    assert ledger.runs() == ()


def test_run_beyond_the_lifetime_budget_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = open_ledger(path)
    assert reason_of(hospital(first, policy=replace(NORTH, max_epsilon=3.0)).handle(ENROLL)) == Reason.ACCEPTED
    first.close()
    second = open_ledger(path)
    north = hospital(second, policy=replace(NORTH, max_epsilon=3.0), open_shard=never_opened)
    assert reason_of(north.handle(replace(ENROLL, run_id="run-2"))) == Reason.BUDGET_EXHAUSTED
    assert second.runs() == ("run-1",)
    second.close()


def test_rehearsal_draws_noise_from_the_studys_seed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    replies: list[bytes] = []
    for seed in (11, 11, 12):
        study = STUDY.amended(study={"seed": seed, "rehearsal": True})
        ledger = open_ledger(tmp_path / f"{len(replies)}.sqlite")
        policy = replace(NORTH, consent=agreed_to(study), is_rehearsal=True)
        table = opener(clinic_table(100, seed=0))
        one = Hospital(policy, table, ledger, lambda study: SeededNoise(study.seed))
        enroll = EnrollRequest("run-1", study.to_toml(), study.fingerprint, make_plan(study).to_json(), "{}")
        assert reason_of(one.handle(enroll)) == Reason.ACCEPTED
        reply = one.handle(ASK)
        assert isinstance(reply, CountsReply)
        replies.append(reply.counts.tobytes())
        ledger.close()
    assert replies[0] == replies[1] != replies[2]
    assert "REHEARSAL" in caplog.text


INJECTED = "run-1\n2026-11-22 INFO north: accepted run 7"


@pytest.mark.parametrize(
    "request_",
    [
        replace(ENROLL, run_id=INJECTED),
        replace(ENROLL, run_id="../../run-1"),
        replace(ENROLL, run_id="x" * 65),
        replace(ENROLL, fingerprint=INJECTED),
        replace(ENROLL, study=ENROLL.study + "#" * 1_000_000),
        replace(ENROLL, plan=" " * 1_000_001),
        replace(ENROLL, receipts=" " * 1_000_001),
        replace(ENROLL, receipts=INJECTED),
        replace(ASK, run_id=INJECTED),
        replace(coarse_request(), phase=INJECTED),
    ],
    ids=range(10),
)
def test_malformed_texts_get_no_answer_and_reach_no_log(
    request_: Request, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    north = hospital(ledger)
    assert to_bytes(north.handle(request_)) == to_bytes(Unavailable("north"))
    assert "accepted run 7" not in caplog.text
    assert ledger.runs() == ()


def test_a_stored_reply_is_repeated_without_opening_the_records(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    requests: list[Request] = [ASK, coarse_request(), training_request()]
    first = open_ledger(path)
    north = enrolled(first)
    replies = [to_bytes(north.handle(request)) for request in requests]
    first.close()
    second = open_ledger(path)
    again = hospital(second, open_shard=never_opened)
    assert [to_bytes(again.handle(request)) for request in requests] == replies
    second.close()


def test_a_run_cannot_change_its_plan_after_enrollment(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(replace(ENROLL, plan=ENROLL.plan + " "))) == Reason.PLAN_MISMATCH


@pytest.mark.parametrize("text", ["", "not toml [", "[study]", CANARY])
def test_texts_that_are_no_study_or_plan_get_no_answer(ledger: Ledger, text: str) -> None:
    north = hospital(ledger)
    for request in (replace(ENROLL, study=text), replace(ENROLL, plan=text)):
        assert to_bytes(north.handle(request)) == to_bytes(Unavailable("north"))


def test_repeated_request_gets_the_stored_reply_for_free(ledger: Ledger) -> None:
    north = enrolled(ledger)
    for request in (ASK, coarse_request(), pairs_request(), training_request()):
        first = to_bytes(north.handle(request))
        lines = ledger.lines()
        again = replace(request)  # an equal message, another object
        assert to_bytes(north.handle(again)) == first
        assert ledger.lines() == lines


def test_another_request_for_a_paid_slot_gets_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    for request in (training_request(), coarse_request()):
        assert isinstance(north.handle(request), RoundReply | CountsReply)
        lines = ledger.lines()
        other = replace(request, released=request.released | {HISTOGRAMS: HISTOGRAM + 1})
        assert to_bytes(north.handle(other)) == to_bytes(Unavailable("north"))
        assert ledger.lines() == lines


def test_reason_of_a_refusal_is_in_the_local_log(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert isinstance(hospital(ledger).handle(ASK), Unavailable)
    reason = Reason.STUDY_NOT_APPROVED
    assert f"north: refused query.counts: {reason} ({REASON_TEXTS[reason]})" in caplog.messages
    without_north = replace(PLAN, hospitals=PLAN.hospitals[1:])
    ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), without_north.to_json()))
    assert isinstance(hospital(ledger).handle(ASK), Unavailable)
    reason = Reason.UNKNOWN_HOSPITAL
    assert f"north: refused query.counts: {reason} ({REASON_TEXTS[reason]})" in caplog.messages


def test_weights_of_other_shapes_cost_nothing(ledger: Ledger) -> None:
    north, request = enrolled(ledger), training_request()
    for weights in ({}, {name: value[:-1] for name, value in request.weights.items()}):
        assert isinstance(north.handle(replace(request, weights=weights)), Unavailable)
        assert ledger.lines() == ()


@pytest.mark.parametrize("number", [0, -1, 3, 2**70])
def test_a_round_outside_the_plan_gets_nothing_and_costs_nothing(ledger: Ledger, number: int) -> None:
    north = enrolled(ledger)
    assert to_bytes(north.handle(replace(training_request(), round=number))) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()


def test_a_run_nobody_enrolled_gets_nothing_and_costs_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    others: list[Request] = [
        CountsRequest("run-2", "histograms"),
        coarse_request(run_id="run-2"),
        pairs_request(run_id="run-2"),
        training_request(run_id="run-2"),
    ]
    for request in others:
        assert to_bytes(north.handle(request)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()


def test_failure_is_charged_first_and_shows_no_cell(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    north = enrolled(ledger, open_shard=lambda study: Broken())
    requests: list[Request] = [ASK, coarse_request(), pairs_request(), training_request()]
    for lines, request in enumerate(requests, start=1):
        reply = north.handle(request)
        assert to_bytes(reply) == to_bytes(Unavailable("north"))
        assert CANARY.encode() not in to_bytes(reply)
        assert len(ledger.lines()) == lines
        assert ledger.lines()[-1].is_answered  # by `unavailable`
    assert CANARY not in caplog.text
    assert "ValueError at histograms" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_a_failure_after_the_draw_is_the_answer_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = []
    honest = SecureNoise.discrete_gaussian

    def counted(self: SecureNoise, count: int, sigma: float) -> Integers:
        draws.append(count)
        return honest(self, count, sigma)

    def failing(*_: object) -> CountsReply:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(SecureNoise, "discrete_gaussian", counted)
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    north = enrolled(ledger)
    with monkeypatch.context() as fault:  # anything between noise and stored reply
        fault.setitem(ANSWERS, CountsRequest, replace(ANSWERS[CountsRequest], reply=failing))
        assert to_bytes(north.handle(ASK)) == to_bytes(Unavailable("north"))
    assert to_bytes(north.handle(ASK)) == to_bytes(Unavailable("north"))
    ledger.close()
    again = open_ledger(tmp_path / "ledger.sqlite")
    assert to_bytes(hospital(again).handle(ASK)) == to_bytes(Unavailable("north"))
    assert len(draws) == len(again.lines()) == 1
    again.close()


@pytest.mark.parametrize("request_", ["histograms", "round"])
def test_a_killed_computation_is_repeated_with_its_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    """A process dies once its reply is computed; a copy of the state shows what it would have sent."""
    asked: Request = ASK if request_ == "histograms" else training_request()
    computed: list[bytes] = []
    for life in range(3):
        ledger = open_ledger(tmp_path / "ledger.sqlite")
        north = hospital(ledger) if life else enrolled(ledger)

        def dies(slot: Slot, reply: bytes) -> None:
            computed.append(reply)
            raise KeyboardInterrupt

        with monkeypatch.context() as crash:
            if life < 2:
                crash.setattr(ledger, "store_reply", dies)
                with pytest.raises(KeyboardInterrupt):
                    north.handle(asked)
            else:
                assert not isinstance(north.handle(asked), Unavailable)
                computed.append(ledger_reply(ledger))
        ledger.close()
    assert len(set(computed)) == 1
    assert not list(tmp_path.glob("ledger.draw-*"))  # the noise is gone once its reply is stored


def ledger_reply(ledger: Ledger) -> bytes:
    """The stored reply of the only release."""
    (slot,) = ledger.charged("run-1")
    row = ledger._store.database.execute("SELECT reply FROM replies").fetchone()
    assert slot
    return bytes(row[0])


def test_records_open_once_the_charge_is_on_the_disk(ledger: Ledger) -> None:
    on_disk = []

    def noting(study: Study) -> Shard:
        on_disk.append([line.slot.phase for line in Ledger.view(ledger.path).lines()])
        return Shard(clinic_table(100, seed=0), study, key=b"key")

    assert isinstance(enrolled(ledger, open_shard=noting).handle(ASK), CountsReply)
    assert on_disk == [[HISTOGRAMS]]


def test_records_that_do_not_open_are_charged_and_show_no_cell(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    def failing(study: Study) -> Shard:
        attempts.append(study.name)
        raise RuntimeError(CANARY)

    north = enrolled(ledger, open_shard=failing)
    for _ in range(2):
        assert to_bytes(north.handle(ASK)) == to_bytes(Unavailable("north"))
    assert [line.is_answered for line in ledger.lines()] == [True]
    assert len(attempts) == 1
    assert CANARY not in caplog.text


def test_crash_after_the_charge_is_not_charged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    first = open_ledger(path)
    north = enrolled(first)
    with monkeypatch.context() as crash:
        crash.setattr(first, "store_reply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            north.handle(ASK)
    first.close()

    second = open_ledger(path)  # a new process over the same file
    north = hospital(second)
    reply = north.handle(ASK)
    assert isinstance(reply, CountsReply)
    assert len(second.lines()) == 1
    assert second.lines()[0].is_answered
    second.close()

    third = open_ledger(path)
    assert to_bytes(hospital(third).handle(ASK)) == to_bytes(reply)
    assert third.events() == PLAN.events(PLAN.hospitals[0])[:1]
    third.close()


def test_hospital_answers_from_its_own_records(tmp_path: Path) -> None:
    replies = {}
    for seed, name in enumerate(("north", "south")):
        ledger = open_ledger(tmp_path / f"{name}.sqlite")
        one = hospital(ledger, table=clinic_table(100, seed), policy=replace(NORTH, hospital=name))
        assert reason_of(one.handle(ENROLL)) == Reason.ACCEPTED
        replies[name] = [one.handle(ASK), one.handle(coarse_request()), one.handle(training_request())]
        ledger.close()
    for name, answers in replies.items():
        assert [answer.hospital for answer in answers] == [name] * 3
    for north, south in zip(replies["north"][:2], replies["south"][:2], strict=True):
        assert isinstance(north, CountsReply)
        assert isinstance(south, CountsReply)
        assert (north.counts != south.counts).any()


def without(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    return {other: array for other, array in arrays.items() if other != name}


def test_answer_to_hostile_requests_is_independent_of_records(
    tmp_path: Path,
) -> None:
    request = training_request()
    coarse = request.released[COARSE]
    changes: list[dict[str, Array]] = [
        {HISTOGRAMS: HISTOGRAM[:-1]},
        {HISTOGRAMS: np.full_like(HISTOGRAM, -(2**62))},
        {COARSE: coarse[:-1]},
        {COARSE: np.full_like(coarse, 2**62)},
        {COARSE: np.full_like(coarse, -(2**62))},
        {f"{PAIRS}.columns": np.array([0, 3, 0, 3])},
        {f"{PAIRS}.columns": np.array([0, 2**40, 1, 3])},
        {f"{COARSE}.columns": np.array([0, 1])},
        {f"{PAIRS}.weights": np.array([72])},
        {f"{PAIRS}.weights": np.array([72, 2**40])},
        {f"{PAIRS}.weights": np.array([71, 100])},
        {f"{COARSE}.weights": np.array([72])},
        {"triples": coarse, "triples.columns": np.array([0, 1, 3])},
    ]
    hostile: list[Request] = [
        replace(request, weights={}),
        replace(request, weights={name: value[:-1] for name, value in request.weights.items()}),
        replace(request, weights={name: np.full_like(value, np.nan) for name, value in request.weights.items()}),
        replace(request, weights={name: np.full_like(value, np.inf) for name, value in request.weights.items()}),
        *(replace(request, released=request.released | change) for change in changes),
        *(replace(request, released=without(request.released, name)) for name in request.released),
        coarse_request(),
        replace(coarse_request(), released={HISTOGRAMS: np.full_like(HISTOGRAM, -(2**62))}),
        replace(coarse_request(), released={HISTOGRAMS: HISTOGRAM[:-1]}),
        replace(coarse_request(), released={}),
        replace(coarse_request(), released=request.released),
        pairs_request(np.array([0, -1])),
    ]
    for number, message in enumerate(hostile):
        kinds = set()
        for rows in (1, 100):
            ledger = open_ledger(tmp_path / f"{number}-{rows}.sqlite")
            reply = enrolled(ledger, table=clinic_table(rows, seed=1)).handle(message)
            finite = isinstance(reply, RoundReply) and tuple(
                np.isfinite(value).all() for value in reply.weights.values()
            )
            kinds.add((type(reply), finite))
            ledger.close()
        assert len(kinds) == 1


def test_runs_without_charges_share_one_cap(ledger: Ledger) -> None:
    north = hospital(ledger, policy=replace(NORTH, max_epsilon=3.0))
    reasons = [reason_of(north.handle(replace(ENROLL, run_id=f"run-{number}"))) for number in range(3)]
    assert reasons == [Reason.ACCEPTED, Reason.BUDGET_EXHAUSTED, Reason.BUDGET_EXHAUSTED]


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


def test_predictable_noise_is_refused_outside_a_simulation(ledger: Ledger) -> None:
    records = opener(clinic_table(100, seed=0))
    with pytest.raises(PolicyRefusal, match="predictable noise protects no patient"):
        Hospital(NORTH, records, ledger, SeededNoise(5))
    with pytest.raises(PolicyRefusal, match="predictable noise protects no patient"):
        Hospital(NORTH, records, ledger, lambda study: SeededNoise(study.seed))
    for allowed in (Policy("north", is_simulation=True), replace(NORTH, is_rehearsal=True)):
        Hospital(allowed, records, ledger, SeededNoise(5))


def test_a_receipt_that_the_ledger_lacks_is_refused(ledger: Ledger) -> None:
    shown = receipts_to_json({"north": Receipt(7, "0" * 64)})
    assert reason_of(hospital(ledger).handle(replace(ENROLL, receipts=shown))) == Reason.LEDGER_BEHIND


def test_a_coordinator_that_shows_its_receipt_no_more_is_refused(ledger: Ledger) -> None:
    study = STUDY.amended(federation={"coordinator": Identity.simulated(1, "coordinator").public})
    plan, shown = make_plan(study).to_json(), receipts_to_json({"north": ledger.head})
    north = hospital(ledger, policy=replace(NORTH, max_epsilon=100.0, consent=agreed_to(study)))
    first = EnrollRequest("run-1", study.to_toml(), study.fingerprint, plan, shown)
    assert reason_of(north.handle(first)) == Reason.ACCEPTED
    ledger.close_run("run-1")
    assert reason_of(north.handle(replace(first, run_id="run-2", receipts="{}"))) == Reason.RECEIPT_MISSING


def test_a_phase_or_an_approval_taken_back_ends_a_run_under_way(ledger: Ledger) -> None:
    assert isinstance(enrolled(ledger).handle(ASK), CountsReply)
    charged = len(ledger.lines())
    for changed in (replace(NORTH, phases=frozenset({HISTOGRAMS})), replace(NORTH, consent=None)):
        north = hospital(ledger, policy=changed)  # whose records could be read
        assert isinstance(north.handle(coarse_request()), Unavailable)
        assert len(ledger.lines()) == charged
    assert isinstance(hospital(ledger).handle(coarse_request()), CountsReply)


def test_a_run_is_answered_from_its_table_alone(ledger: Ledger) -> None:
    """Whoever consents, and to whichever table."""
    digests = ["a" * 64]
    records = opener(clinic_table(100, seed=0))
    north = Hospital(NORTH, records, ledger, SecureNoise(), table=lambda: digests[-1])
    assert reason_of(north.handle(ENROLL)) == Reason.ACCEPTED
    digests.append("b" * 64)
    assert isinstance(north.handle(ASK), Unavailable)
    assert ledger.lines() == ()
    digests.pop()
    assert isinstance(north.handle(ASK), CountsReply)


def test_a_plan_that_another_version_accepted_is_not_answered(ledger: Ledger) -> None:
    coarse = replace(PLAN.vectors[1], squared_sensitivity=PLAN.vectors[1].squared_sensitivity + 1)
    vectors = (PLAN.vectors[0], coarse, *PLAN.vectors[2:])
    ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), replace(PLAN, vectors=vectors).to_json()))
    north = hospital(ledger)  # whose records could be read
    assert isinstance(north.handle(coarse_request()), Unavailable)
    assert not ledger.lines()
