from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.answers import ANSWERS
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.arrays import Array, Integers
from common.errors import REASON_TEXTS, PolicyRefusal, Reason
from common.ledger.enrollment import Enrollment
from common.ledger.ledger import Ledger, Slot
from common.planning.phases import COARSE, HISTOGRAMS, PAIRS
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise, SeededNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollRequest,
    Request,
    RoundReply,
    Unavailable,
)
from common.study.study import Study
from tests.testbeds.clinic import clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.hospital_runs import (
    ASK,
    CANARY,
    ENROLL,
    HISTOGRAM,
    NORTH,
    PLAN,
    PLAN_HISTOGRAMS,
    STUDY,
    Broken,
    coarse_request,
    enrolled,
    hospital,
    never_opened,
    open_ledger,
    opener,
    pairs_request,
    reason_of,
    training_request,
)


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


def test_predictable_noise_is_refused_outside_a_simulation(ledger: Ledger) -> None:
    records = opener(clinic_table(100, seed=0))
    with pytest.raises(PolicyRefusal, match="predictable noise protects no patient"):
        Hospital(NORTH, records, ledger, SeededNoise(5))
    with pytest.raises(PolicyRefusal, match="predictable noise protects no patient"):
        Hospital(NORTH, records, ledger, lambda study: SeededNoise(study.seed))
    for allowed in (Policy("north", is_simulation=True), replace(NORTH, is_rehearsal=True)):
        Hospital(allowed, records, ledger, SeededNoise(5))


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
