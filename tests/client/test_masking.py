"""What a hospital does and refuses in a masked phase, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import answers
from client.gate import fault
from client.hospital import Hospital
from client.masking import check_attempt
from client.shard import Shard
from common.arrays import Integers
from common.encoding import histogram_length
from common.errors import FederationError, LedgerError, PolicyRefusal, Reason
from common.ledger.ledger import Answer, Ledger, Slot
from common.ledger.receipts import Receipt
from common.planning.phases import COARSE
from common.planning.planner import make_plan
from common.privacy.events import DistributedGaussianVector
from common.privacy.mechanisms import NoiseSource, release_counts
from common.protocol.byte_form import digest, to_bytes
from common.protocol.messages import (
    CountsRequest,
    EnrollReply,
    EnrollRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    MaskedRequest,
    OpenReply,
    OpenRequest,
    Reply,
    Request,
    SharesReply,
    SharesRequest,
    SurvivorsReply,
    SurvivorsRequest,
    Unavailable,
)
from common.protocol.signing import Identity
from common.secagg.keys import Advertisement, Context, Secrets
from common.secagg.packing import pack, pack_names, to_vector
from common.secagg.terms import simulated_identities
from common.study.study import Study
from tests.testbeds.masked_federation import NAMES, RUN, MaskedFederation, shared_study

NOTHING = np.empty(0, dtype=np.int64)
ASK = CountsRequest(RUN, "histograms")


class Told(MaskedFederation):
    """A testbed in which each request and reply of the hospital `north` is noted as it would travel."""

    def talk(self) -> dict[str, tuple[Request, Reply]]:
        counting = self.counting()
        counting.add_up(ASK, histogram_length(self.study.table, counting.agreed.plan.cells))
        mine = [(one, reply) for one, reply in self.sent if reply.hospital == "north"]
        return {type(request).__name__: (request, reply) for request, reply in mine}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def testbed(tmp_path: Path, stack: ExitStack) -> Told:
    return Told(shared_study(), tmp_path, stack)


def enrolled(testbed: Told, run_id: str = RUN) -> Hospital:
    plan = make_plan(testbed.study)
    request = EnrollRequest(run_id, testbed.study.to_toml(), testbed.study.fingerprint, plan.to_json(), "{}")
    for hospital in testbed.hospitals.values():
        reply = hospital.handle(request)
        assert isinstance(reply, EnrollReply)
        assert reply.reason == Reason.ACCEPTED
    return testbed.hospitals["north"]


def keys_request(**changes: object) -> KeysRequest:
    request = KeysRequest(RUN, "histograms", 0, 1, digest(CountsRequest(RUN, "histograms")))
    return replace(request, **changes)  # type: ignore[arg-type]


def test_one_share_of_the_noise_never_leaves_without_a_mask(testbed: Told) -> None:
    north = enrolled(testbed)
    histograms = np.zeros(1, dtype=np.int64)
    for request in (CountsRequest(RUN, "histograms"), CountsRequest(RUN, COARSE, {"histograms": histograms}, NOTHING)):
        assert isinstance(north.handle(request), Unavailable)
    assert north.ledger.lines() == ()


def test_charge_of_shared_noise_precedes_the_vector(testbed: Told) -> None:
    request, reply = testbed.talk()["MaskedRequest"]
    north = testbed.hospitals["north"]
    plan = make_plan(testbed.study)
    line = north.ledger.lines()[0]
    assert line.event == DistributedGaussianVector(plan.hospitals[1].sigmas[0], 2, plan.vectors[0].squared_sensitivity)
    assert line.slot == Slot(plan.fingerprint, RUN, "histograms", 0, 1)
    assert isinstance(reply, MaskedReply)
    assert reply.counter > line.receipt.counter  # the answer's entry comes after the charge
    assert isinstance(request, MaskedRequest)


def test_a_repeated_request_gets_the_reply_it_had_at_every_step(testbed: Told) -> None:
    for request, reply in testbed.talk().values():
        again = testbed.hospitals["north"].handle(request)
        if not isinstance(request, EnrollRequest):  # whose receipt goes with the ledger
            assert to_bytes(again) == to_bytes(reply)
    assert len(testbed.hospitals["north"].ledger.lines()) == 1


def test_another_request_for_a_taken_step_is_refused(testbed: Told) -> None:
    told = testbed.talk()
    north = testbed.hospitals["north"]
    for kind, field in (
        ("KeysRequest", "question"),
        ("SharesRequest", "keys"),
        ("MaskedRequest", "encrypted"),
        ("SurvivorsRequest", "hospitals"),
        ("OpenRequest", "hospitals"),
    ):
        request: Any = told[kind][0]
        other = {"question": "0" * 64, "hospitals": "east,north,south"}.get(field, getattr(request, field)[:-1])
        assert isinstance(north.handle(replace(request, **{field: other})), Unavailable)
    assert len(north.ledger.lines()) == 1


def test_other_question_than_the_keys_are_for_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    def other_question(request: Request, answer: object) -> Reply:
        if isinstance(request, MaskedRequest):
            other = CountsRequest(RUN, COARSE, {"histograms": NOTHING}, NOTHING)
            request = replace(request, question=to_vector(to_bytes(other)))
        return told_bed.hospitals["north"].handle(request)

    told_bed = Told(shared_study(), tmp_path, stack, {"north": other_question})
    told = told_bed.talk()
    assert isinstance(told["MaskedRequest"][1], Unavailable)
    assert told_bed.hospitals["north"].ledger.lines() == ()


def test_same_phase_under_another_encoding_is_refused(tmp_path: Path, stack: ExitStack) -> None:
    study = shared_study()
    length = histogram_length(study.table, make_plan(study).cells)
    other = CountsRequest(RUN, COARSE, {"histograms": np.ones(length, dtype=np.int64)}, NOTHING)

    def other_histograms(request: Request, answer: Callable[[], Reply]) -> Reply:
        if not isinstance(request, MaskedRequest) or request.phase != COARSE:
            return answer()
        return federation.hospitals["north"].handle(replace(request, question=to_vector(to_bytes(other))))

    federation = MaskedFederation(study, tmp_path, stack, {"north": other_histograms})
    federation.run()
    assert federation.charged()["north"] == [("histograms", 1)]


def test_other_shares_after_a_failure_are_refused(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_first(request: Request, answer: Callable[[], Reply]) -> Reply:
        if not isinstance(request, MaskedRequest):
            return answer()
        north = federation.hospitals["north"]
        with monkeypatch.context() as failing:  # before the charge
            failing.setattr(north.ledger, "stored_reply", lambda slot, asked: 1 // 0)
            assert isinstance(answer(), Unavailable)
        return north.handle(replace(request, encrypted=request.encrypted[::-1].copy()))

    federation = Told(shared_study(), tmp_path, stack, {"north": fails_first})
    assert isinstance(federation.talk()["MaskedRequest"][1], Unavailable)
    assert federation.charged()["north"] == []


def test_records_open_once_a_masked_vector_is_charged(tmp_path: Path, stack: ExitStack) -> None:
    on_disk: list[list[int]] = []

    def noting(request: Request, answer: Callable[[], Reply]) -> Reply:
        run = federation.hospitals["north"]._run(RUN) if isinstance(request, MaskedRequest) else None
        if run is not None:
            run._open_records = noted
        return answer()

    def noted(study: Study) -> Shard:
        path = federation.hospitals["north"].ledger.path
        on_disk.append([line.slot.attempt for line in Ledger.view(path).lines()])
        return federation.shards["north"]()

    federation = Told(shared_study(), tmp_path, stack, {"north": noting})
    assert isinstance(federation.talk()["MaskedRequest"][1], MaskedReply)
    assert on_disk == [[1]]


def test_vector_that_failed_after_its_charge_is_not_repeated(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_first(request: Request, answer: Callable[[], Reply]) -> Reply:
        if not isinstance(request, MaskedRequest):
            return answer()
        with monkeypatch.context() as failing:
            failing.setattr(Shard, "histograms", lambda self, cells: 1 // 0)
            assert isinstance(answer(), Unavailable)
        return answer()

    federation = Told(shared_study(), tmp_path, stack, {"north": fails_first})
    assert isinstance(federation.talk()["MaskedRequest"][1], Unavailable)
    assert federation.charged()["north"] == [("histograms", 1)]


def test_a_masked_vector_not_stored_draws_no_second_noise(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[str] = []

    def counted(counts: Integers, sigma: float, noise: NoiseSource) -> Integers:
        draws.append("drawn")
        return release_counts(counts, sigma, noise)

    def full_disk(slot: Slot, reply: bytes) -> Answer:
        raise LedgerError("the disk is full")

    def fails_first(request: Request, answer: Callable[[], Reply]) -> Reply:
        if not isinstance(request, MaskedRequest):
            return answer()
        with monkeypatch.context() as patch:
            patch.setattr(answers, "release_counts", counted)
            with monkeypatch.context() as failing:
                failing.setattr(federation.hospitals["north"].ledger, "store_reply", full_disk)
                assert isinstance(answer(), Unavailable)
            return answer()

    federation = Told(shared_study(), tmp_path, stack, {"north": fails_first})
    assert isinstance(federation.talk()["MaskedRequest"][1], Unavailable)
    assert draws == ["drawn"]
    assert federation.charged()["north"] == [("histograms", 1)]


@pytest.mark.parametrize(
    "request_",
    [
        keys_request(phase="pairs"),  # not in the plan
        keys_request(phase="rounds"),
        keys_request(run_id="another-run"),
        keys_request(phase="Coarse"),  # no name at all
        SharesRequest(RUN, "histograms", 0, 1, "north", *[to_vector(b"")] * 3),  # before keys
        MaskedRequest(RUN, "histograms", 0, 1, "east", to_vector(b""), to_vector(to_bytes(ASK))),
        SurvivorsRequest(RUN, "histograms", 0, 1, "north"),
        OpenRequest(RUN, "histograms", 0, 1, "north", to_vector(b"")),
    ],
)
def test_a_step_that_no_plan_or_session_knows_is_refused(testbed: Told, request_: Request) -> None:
    assert isinstance(enrolled(testbed).handle(request_), Unavailable)


def test_charged_phase_is_not_begun_again_after_a_restart(testbed: Told) -> None:
    request, _ = testbed.talk()["KeysRequest"]
    assert isinstance(testbed.restarted("north").handle(request), Unavailable)


def test_a_restart_before_the_charge_begins_anew_with_other_keys(testbed: Told) -> None:
    before = enrolled(testbed).handle(keys_request())
    after = testbed.restarted("north").handle(keys_request())
    assert isinstance(before, KeysReply)
    assert isinstance(after, KeysReply)
    assert (before.keys != after.keys).any()


def test_a_hospital_without_its_identity_takes_no_part(testbed: Told) -> None:
    enrolled(testbed)
    for identity in (None, Identity.simulated(1, "north")):
        north = testbed.restarted("north")
        north._masking._identity = identity
        assert isinstance(north.handle(keys_request()), Unavailable)


def test_study_with_another_key_of_the_hospital_is_refused(testbed: Told) -> None:
    plan = make_plan(testbed.study).to_json()
    north = testbed.hospitals["north"]
    north._masking._identity = Identity.simulated(1, "north")
    reply = north.handle(EnrollRequest(RUN, testbed.study.to_toml(), testbed.study.fingerprint, plan, "{}"))
    assert isinstance(reply, EnrollReply)
    assert reply.reason == Reason.IDENTITY_DIFFERS
    assert north.ledger.enrollment(RUN) is None


def test_keys_under_another_identity_are_refused(testbed: Told) -> None:
    north = enrolled(testbed)
    north._masking._identity = Identity.simulated(1, "north")
    assert isinstance(north.handle(keys_request()), Unavailable)


def test_question_of_another_phase_is_refused(testbed: Told) -> None:
    counting = testbed.counting()
    length = histogram_length(testbed.study.table, counting.agreed.plan.cells)
    assert counting.masked is not None
    with pytest.raises(FederationError, match="0 hospitals are left after the exchange of masked"):
        counting.masked.sum(ASK, COARSE, NAMES, length=length, most=2**31 - 1)
    assert testbed.charged() == {name: [] for name in NAMES}


def shares_request(replies: dict[str, Reply], phase: str = "histograms") -> SharesRequest:
    """The keys of all hospitals, as a coordinator passes them on."""
    keys = {name: reply for name, reply in replies.items() if isinstance(reply, KeysReply)}
    parts = [
        pack({name: getattr(reply, field).tobytes() for name, reply in keys.items()})
        for field in ("keys", "ledger", "signature")
    ]
    return SharesRequest(RUN, phase, 0, 1, pack_names(NAMES), *parts)


@pytest.mark.parametrize("went_back", [False, True])
def test_a_partner_whose_ledger_went_back_is_refused(tmp_path: Path, stack: ExitStack, went_back: bool) -> None:
    testbed = Told(shared_study(), tmp_path, stack)
    testbed.talk()  # every hospital has delivered the histograms, and knows where the others' ledgers were
    if went_back:
        older = Ledger(tmp_path / "older.sqlite", cohort="north", delta=testbed.study.privacy.delta)
        stack.callback(older.close)
        testbed.hospitals["north"] = testbed.restarted("north", older)
        plan = make_plan(testbed.study).to_json()
        again = EnrollRequest(RUN, testbed.study.to_toml(), testbed.study.fingerprint, plan, "{}")
        assert isinstance(testbed.hospitals["north"].handle(again), EnrollReply)  # nobody shows it a receipt
    asked = {name: testbed.hospitals[name].handle(keys_request(phase=COARSE)) for name in NAMES}
    answer = testbed.hospitals["south"].handle(shares_request(asked, COARSE))
    assert isinstance(answer, Unavailable if went_back else SharesReply)


def test_a_partner_with_an_impossible_ledger_is_refused(
    testbed: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    advertise = Secrets.advertise

    def many(mine: Secrets, context: Context, hospital: str, identity: Identity, ledger: bytes) -> Advertisement:
        head = (2**53 + 1).to_bytes(8, "big") + ledger[8:] if hospital == "north" else ledger
        return advertise(mine, context, hospital, identity, head)

    monkeypatch.setattr(Secrets, "advertise", many)
    enrolled(testbed)
    asked = {name: testbed.hospitals[name].handle(keys_request()) for name in NAMES}
    assert isinstance(testbed.hospitals["south"].handle(shares_request(asked)), Unavailable)
    assert "'north' advertised a ledger of more than 2^53 entries" in caplog.text


def test_a_head_passed_on_late_is_no_evidence(testbed: Told) -> None:
    enrolled(testbed, "other")
    asked = {name: testbed.hospitals[name].handle(keys_request(run_id="other")) for name in NAMES}
    testbed.talk()  # in another run, after which every ledger has grown
    late = replace(shares_request(asked), run_id="other")
    assert isinstance(testbed.hospitals["south"].handle(late), SharesReply)


def test_a_survivor_that_signed_nothing_has_delivered_nothing(tmp_path: Path, stack: ExitStack) -> None:
    def silent(request: Request, reply: Callable[[], Reply]) -> Reply:
        return Unavailable("north") if isinstance(request, SurvivorsRequest) else reply()

    testbed = Told(shared_study(), tmp_path, stack, spoil={"north": silent})
    testbed.talk()
    known = testbed.hospitals["south"]._masking._peers.known()
    more = {
        name: known[key].least - known[key].counter
        for name, key in simulated_identities(testbed.study).items()
        if name != "south"
    }
    assert more == {"east": 2, "north": 0, "west": 2}


def test_an_advertisement_holds_the_head_of_the_ledger(testbed: Told) -> None:
    north = enrolled(testbed)
    reply = north.handle(keys_request())
    assert isinstance(reply, KeysReply)
    assert Receipt.from_bytes(reply.ledger.tobytes()) == north.ledger.head


def test_step_of_another_attempt_is_refused(testbed: Told) -> None:
    enrolled(testbed)
    replies = {name: testbed.hospitals[name].handle(keys_request()) for name in NAMES}
    assert all(isinstance(reply, KeysReply) for reply in replies.values())
    shares = shares_request(replies)
    north = testbed.hospitals["north"]
    assert isinstance(north.handle(replace(shares, attempt=2)), Unavailable)
    assert isinstance(north.handle(shares), SharesReply)


def test_a_study_without_shared_noise_has_no_masked_phases(tmp_path: Path, stack: ExitStack) -> None:
    study = shared_study().amended(privacy={"noise": "local"})
    assert isinstance(enrolled(Told(study, tmp_path, stack)).handle(keys_request()), Unavailable)


def slot(phase: str, attempt: int, number: int = 0) -> Slot:
    return Slot("f", RUN, phase, number, attempt)


def test_attempts_beyond_the_first_count_over_the_whole_run() -> None:
    done = (slot("histograms", 1), slot("coarse", 1), slot("coarse", 2), Slot("f", RUN, "rounds", 1))
    check_attempt(slot("pairs", 1), done, retries=1)
    check_attempt(slot("rounds", 1, 7), done, retries=1)
    check_attempt(slot("pairs", 3), done, retries=1)  # whatever it is called, it is the first of its phase
    for again in (slot("coarse", 3), slot("histograms", 2), slot("coarse", 2), slot("coarse", 1)):
        with pytest.raises(PolicyRefusal):
            check_attempt(again, done, retries=1)
    check_attempt(slot("histograms", 2), done, retries=2)
    with pytest.raises(PolicyRefusal):  # what an attempt before it would be charged for nobody needs
        check_attempt(slot("coarse", 1), (slot("coarse", 2),), retries=2)


@pytest.mark.parametrize("attempt", [0, -1, -2])
def test_attempts_count_from_one_so_that_none_escapes_the_count(testbed: Told, attempt: int) -> None:
    assert isinstance(enrolled(testbed).handle(keys_request(attempt=attempt)), Unavailable)
    with pytest.raises(PolicyRefusal):
        check_attempt(slot("coarse", attempt), (), retries=0)


def test_no_attempt_begins_behind_a_later_one(testbed: Told) -> None:
    north = enrolled(testbed)
    assert isinstance(north.handle(keys_request(attempt=2)), KeysReply)
    assert isinstance(north.handle(keys_request(attempt=1)), Unavailable)
    assert isinstance(north.handle(keys_request(attempt=2)), KeysReply)  # which goes on


@pytest.mark.parametrize("size", [80, 79])
def test_repeating_what_ended_a_session_charges_nothing(testbed: Told, size: int) -> None:
    north = enrolled(testbed)
    question = CountsRequest(RUN, "histograms")
    assert isinstance(north.handle(keys_request()), KeysReply)
    encrypted = np.zeros(3 * size, dtype=np.uint8)
    wrong = MaskedRequest(RUN, "histograms", 0, 1, "east,south,west", encrypted, to_vector(to_bytes(question)))
    for _ in range(3):
        assert isinstance(north.handle(wrong), Unavailable)
        assert north.ledger.lines() == ()


@pytest.mark.parametrize("kind", [KeysReply, SharesReply, MaskedReply, SurvivorsReply, OpenReply])
def test_the_gate_holds_back_what_is_longer_or_of_another_type(testbed: Told, kind: type[Reply]) -> None:
    request, reply = next(pair for pair in testbed.talk().values() if isinstance(pair[1], kind))
    _, permit = testbed.hospitals["north"]._answer(request)
    assert fault(reply, permit) is None
    fields = {"keys", "signature", "encrypted", "masked", "shares"} & set(type(reply).__dataclass_fields__)
    assert fields
    for name in fields:
        vector = getattr(reply, name)
        for changed in (np.append(vector, vector[:1]), vector[:-1], vector.astype(np.int64)):
            assert fault(altered(reply, name, changed), permit) == (
                f"field '{name}' of '{reply.kind}' is not what the site expects"
            )
    if isinstance(reply, MaskedReply):
        assert fault(altered(reply, "masked", reply.masked ^ np.uint32(1)), permit) == (
            "'query.masked.reply' is not the answer that the ledger stored"
        )


def altered(reply: Any, name: str, value: Any) -> Reply:
    changed: Reply = replace(reply, **{name: value})
    return changed


def test_all_hospitals_of_the_bed_are_in_the_study() -> None:
    assert tuple(facts.name for facts in shared_study().hospitals) == NAMES
