from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.hospital import Hospital
from client.policy import Policy
from client.shard import Shard
from common import wire
from common.encoding import Codes, Encoder
from common.errors import PolicyRefusal, Reason
from common.messages import (
    EnrolReply,
    EnrolRequest,
    HistogramsReply,
    HistogramsRequest,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
    Unavailable,
    to_bytes,
)
from common.privacy.ledger import Ledger
from common.privacy.mechanisms import Integers, SecureNoise, SeededNoise
from common.privacy.planner import make_plan
from common.study import HospitalFacts, Study
from common.synthesizers.gan import make_synthesizer
from tests.clinic import clinic_study, clinic_table

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 2, "steps": 10}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)
ENROL = EnrolRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json())
ASK = HistogramsRequest("run-1")
CANARY = "canary-4711"

Opener = Callable[[Study], Shard]


def opener(table: pd.DataFrame) -> Opener:
    return lambda study: Shard(table, study, key=b"key")


class Broken(Shard):
    """A shard whose every use fails with a cell's text in the exception."""

    def __init__(self) -> None:
        pass

    def histograms(self, cells: int) -> Integers:
        raise ValueError(f"could not convert string to float: '{CANARY}'")

    def encoded(self, histograms: object, cells: int) -> tuple[Encoder, Codes]:
        raise KeyError(CANARY)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def hospital(
    ledger: Ledger, *, table: pd.DataFrame | None = None, open_shard: Opener | None = None, policy: Policy | None = None
) -> Hospital:
    records = clinic_table(100, seed=0) if table is None else table
    return Hospital(policy or Policy("north"), open_shard or opener(records), ledger, SecureNoise())


def enrolled(ledger: Ledger, **settings: object) -> Hospital:
    one = hospital(ledger, **settings)  # type: ignore[arg-type]
    assert reason_of(one.handle(ENROL)) == Reason.ACCEPTED
    return one


def reason_of(reply: Reply) -> str:
    assert isinstance(reply, EnrolReply)
    return reply.reason


def training_request(number: int = 1, *, run_id: str = "run-1") -> RoundRequest:
    length = len(PLAN_HISTOGRAMS.counts)
    histograms = np.arange(length, dtype=np.int64)
    encoder = Encoder(STUDY.table, histograms, cells=PLAN.cells, bins=STUDY.synthesizer.bins)
    return RoundRequest(run_id, number, histograms, make_synthesizer(STUDY.synthesizer, encoder).initial_weights(0))


def _released_histograms() -> HistogramsReply:
    shard = Shard(clinic_table(100, seed=0), STUDY, key=b"key")
    return HistogramsReply("north", shard.histograms(PLAN.cells))


PLAN_HISTOGRAMS = _released_histograms()


def test_a_hospital_answers_histograms_and_rounds_with_one_ledger_line_each(ledger: Ledger) -> None:
    north = enrolled(ledger)
    counts = north.handle(ASK)
    assert isinstance(counts, HistogramsReply)
    assert counts.counts.shape == PLAN_HISTOGRAMS.counts.shape
    for number in (1, 2):
        assert isinstance(north.handle(training_request(number)), RoundReply)
    assert ledger.events() == PLAN.events(PLAN.hospitals[0])
    assert [line.slot.round for line in ledger.lines()] == [0, 1, 2]


def test_the_counts_that_leave_are_noisy(ledger: Ledger) -> None:
    counts = enrolled(ledger).handle(ASK)
    assert isinstance(counts, HistogramsReply)
    noise = counts.counts - PLAN_HISTOGRAMS.counts
    sigma = PLAN.hospitals[0].histogram_sigma
    # The deviation of n normal numbers errs by sigma / sqrt(2 n).
    assert abs(noise.std() - sigma) < 5 * sigma / np.sqrt(2 * len(noise))


def test_enrolling_reads_no_record_and_gives_the_same_bytes_for_any_table(tmp_path: Path) -> None:
    def never(study: Study) -> Shard:
        raise AssertionError("records were read")

    replies = set()
    shards = [never, opener(clinic_table(100, seed=0)), opener(clinic_table(3, seed=9)), lambda study: Broken()]
    for number, open_shard in enumerate(shards):
        ledger = Ledger(tmp_path / f"{number}.sqlite")
        replies.add(to_bytes(hospital(ledger, open_shard=open_shard).handle(ENROL)))
        ledger.close()
    assert len(replies) == 1


def test_enrolling_again_is_accepted_and_charges_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(ENROL)) == Reason.ACCEPTED
    assert ledger.lines() == ()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(ENROL, fingerprint="ab" * 32), Reason.STUDY_ALTERED),
        (replace(ENROL, study=ENROL.study.replace("seed = 11", "seed = 12")), Reason.STUDY_ALTERED),
        (replace(ENROL, plan=replace(PLAN, fingerprint="ab" * 32).to_json()), Reason.STUDY_ALTERED),
        (replace(ENROL, plan=replace(PLAN, numeric=1).to_json()), Reason.PLAN_MISMATCH),
        (replace(ENROL, plan=replace(PLAN, hospitals=PLAN.hospitals[1:]).to_json()), Reason.UNKNOWN_HOSPITAL),
    ],
    ids=["fingerprint", "text", "another study's plan", "tampered plan", "without this hospital"],
)
def test_an_altered_study_or_plan_is_refused_with_the_reason(
    ledger: Ledger, request_: EnrolRequest, reason: Reason
) -> None:
    north = hospital(ledger)
    assert reason_of(north.handle(request_)) == reason
    assert isinstance(north.handle(ASK), Unavailable)


def test_the_policys_reason_is_what_travels(ledger: Ledger) -> None:
    north = hospital(ledger, policy=Policy("north", declared_rows=99))
    assert reason_of(north.handle(ENROL)) == Reason.DECLARED_ROWS_DIFFER
    assert ledger.enrolment("run-1") is None


def test_a_run_cannot_change_its_plan_after_enrolment(ledger: Ledger) -> None:
    north = enrolled(ledger)
    assert reason_of(north.handle(replace(ENROL, plan=ENROL.plan + " "))) == Reason.PLAN_MISMATCH


@pytest.mark.parametrize("text", ["", "not toml [", "[study]", CANARY])
def test_texts_that_are_no_study_or_plan_get_no_answer(ledger: Ledger, text: str) -> None:
    north = hospital(ledger)
    for request in (replace(ENROL, study=text), replace(ENROL, plan=text)):
        assert to_bytes(north.handle(request)) == to_bytes(Unavailable("north"))


def test_a_repeated_request_gets_the_stored_reply_byte_for_byte_and_costs_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    for request in (ASK, training_request()):
        first = to_bytes(north.handle(request))
        lines = ledger.lines()
        again = replace(request)  # an equal message, another object
        assert to_bytes(north.handle(again)) == first
        assert ledger.lines() == lines


def test_another_request_for_the_same_round_gets_nothing_and_costs_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    request = training_request()
    north.handle(request)
    lines = ledger.lines()
    other = replace(request, histograms=request.histograms + 1)
    assert to_bytes(north.handle(other)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == lines


@pytest.mark.parametrize("number", [0, -1, 3, 2**70])
def test_a_round_outside_the_plan_gets_nothing_and_costs_nothing(ledger: Ledger, number: int) -> None:
    north = enrolled(ledger)
    assert to_bytes(north.handle(replace(training_request(), round=number))) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()


def test_a_run_nobody_enrolled_gets_nothing_and_costs_nothing(ledger: Ledger) -> None:
    north = enrolled(ledger)
    for request in (HistogramsRequest("run-2"), training_request(run_id="run-2")):
        assert to_bytes(north.handle(request)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()


def test_what_fails_is_charged_first_and_travels_as_a_constant_without_any_cell(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    north = enrolled(ledger, open_shard=lambda study: Broken())
    requests: list[Request] = [ASK, training_request()]
    for count, request in enumerate(requests, start=1):
        reply = north.handle(request)
        assert to_bytes(reply) == to_bytes(Unavailable("north"))
        assert str(wire.encode(reply)).count(CANARY) == 0
        assert len(ledger.lines()) == count
        assert not ledger.lines()[-1].is_answered
    assert CANARY not in caplog.text
    assert "ValueError at histograms" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_a_shard_that_cannot_be_opened_costs_nothing_and_shows_no_cell(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(study: Study) -> Shard:
        raise RuntimeError(CANARY)

    north = enrolled(ledger, open_shard=failing)
    assert to_bytes(north.handle(ASK)) == to_bytes(Unavailable("north"))
    assert ledger.lines() == ()
    assert CANARY not in caplog.text


def test_a_crash_after_the_charge_is_made_good_without_a_second_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"
    first = Ledger(path)
    north = enrolled(first)
    with monkeypatch.context() as crash:
        crash.setattr(first, "keep", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            north.handle(ASK)
    first.close()

    second = Ledger(path)  # a new process over the same file
    north = hospital(second)
    reply = north.handle(ASK)
    assert isinstance(reply, HistogramsReply)
    assert len(second.lines()) == 1
    assert second.lines()[0].is_answered
    second.close()

    third = Ledger(path)
    assert to_bytes(hospital(third).handle(ASK)) == to_bytes(reply)
    assert third.events() == PLAN.events(PLAN.hospitals[0])[:1]
    third.close()


def test_hospitals_answer_in_their_own_name_from_their_own_records(tmp_path: Path) -> None:
    replies = {}
    for seed, name in enumerate(("north", "south")):
        ledger = Ledger(tmp_path / f"{name}.sqlite")
        one = hospital(ledger, table=clinic_table(100, seed), policy=Policy(name))
        assert reason_of(one.handle(ENROL)) == Reason.ACCEPTED
        replies[name] = [one.handle(ASK), one.handle(training_request())]
        ledger.close()
    for name, answers in replies.items():
        assert [answer.hospital for answer in answers] == [name] * 2
    north, south = replies["north"][0], replies["south"][0]
    assert isinstance(north, HistogramsReply)
    assert isinstance(south, HistogramsReply)
    assert (north.counts != south.counts).any()


def test_hostile_weights_and_histograms_get_an_answer_that_does_not_depend_on_the_records(tmp_path: Path) -> None:
    request = training_request()
    hostile = [
        replace(request, weights={}),
        replace(request, weights={name: value[:-1] for name, value in request.weights.items()}),
        replace(request, weights={name: np.full_like(value, np.nan) for name, value in request.weights.items()}),
        replace(request, weights={name: np.full_like(value, np.inf) for name, value in request.weights.items()}),
        replace(request, histograms=request.histograms[:-1]),
        replace(request, histograms=np.full_like(request.histograms, -(2**62))),
    ]
    for number, message in enumerate(hostile):
        kinds = set()
        for rows in (1, 100):
            ledger = Ledger(tmp_path / f"{number}-{rows}.sqlite")
            reply = enrolled(ledger, table=clinic_table(rows, seed=1)).handle(message)
            finite = isinstance(reply, RoundReply) and tuple(
                np.isfinite(value).all() for value in reply.weights.values()
            )
            kinds.add((type(reply), finite))
            ledger.close()
        assert len(kinds) == 1


def test_runs_enrolled_before_any_of_them_is_charged_share_one_cap(ledger: Ledger) -> None:
    north = hospital(ledger, policy=Policy("north", max_epsilon=3.0))
    reasons = [reason_of(north.handle(replace(ENROL, run_id=f"run-{number}"))) for number in range(3)]
    assert reasons == [Reason.ACCEPTED, Reason.BUDGET_EXHAUSTED, Reason.BUDGET_EXHAUSTED]


def test_predictable_noise_is_refused_outside_a_simulation(ledger: Ledger) -> None:
    records = opener(clinic_table(100, seed=0))
    with pytest.raises(PolicyRefusal, match="predictable noise protects nobody"):
        Hospital(Policy("north"), records, ledger, SeededNoise(5))
    Hospital(Policy("north", is_simulation=True), records, ledger, SeededNoise(5))
