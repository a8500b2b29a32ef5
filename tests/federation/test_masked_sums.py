"""Runs under shared noise: what the coordinator gets is the plain sum plus the noise shares, whoever vanishes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import FederationError
from common.planning.phases import COARSE, HISTOGRAMS
from common.privacy.accountant import epsilon
from common.protocol.messages import (
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
from common.run_events.events import AttemptFailed, HospitalExcluded
from common.run_events.exclusions import Exclusion, Fault
from common.secagg.keys import Advertisement, Context, Secrets
from tests.testbeds.events import Killed, exclusions
from tests.testbeds.masked_federation import NAMES, MaskedFederation, Spoil, shared_study, total
from tests.testbeds.masking import signed

STEPS = (KeysRequest, SharesRequest, MaskedRequest, SurvivorsRequest, OpenRequest)
HISTOGRAMS_1, COARSE_1, COARSE_2 = (HISTOGRAMS, 1), (COARSE, 1), (COARSE, 2)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def silent(step: type[Request], phase: str, attempts: Collection[int] = (1,)) -> Spoil:
    """From this step of an attempt on, until its end, the hospital says nothing."""
    gone: set[int] = set()

    def spoil(request: Request, answer: Callable[[], Reply]) -> Reply:
        attempt = getattr(request, "attempt", 0)
        if getattr(request, "phase", "") == phase and attempt in attempts:
            if isinstance(request, step):
                gone.add(attempt)
            if attempt in gone:
                raise RuntimeError
        return answer()

    return spoil


def spoilt(kind: type[Reply], change: Callable[[Reply], Reply]) -> Spoil:
    def spoil(request: Request, answer: Callable[[], Reply]) -> Reply:
        reply = answer()
        is_here = isinstance(reply, kind) and getattr(request, "phase", "") == COARSE
        return change(reply) if is_here else reply

    return spoil


def garbled(field: str) -> Callable[[Reply], Reply]:
    return lambda reply: replace(reply, **{field: getattr(reply, field) ^ 0xA5})


def cut(field: str) -> Callable[[Reply], Reply]:
    return lambda reply: replace(reply, **{field: getattr(reply, field)[:-1]})


def too_large(reply: Reply) -> Reply:
    assert isinstance(reply, OpenReply)
    return replace(reply, shares=np.full_like(reply.shares, 255))


class TestSums:
    def test_the_coordinator_gets_the_exact_sum_and_all_noise(
        self, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        testbed = MaskedFederation(shared_study(), tmp_path, stack).watch(monkeypatch)
        released = testbed.run()
        np.testing.assert_array_equal(released.counts(HISTOGRAMS), total(testbed.noisy, 0))
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1))
        for name in NAMES:  # and what they counted are the counts of their own tables
            shard = testbed.shards[name]()
            np.testing.assert_array_equal(
                testbed.counts[name][0], shard.histograms(testbed.federation().agreed.plan.cells)
            )
            # All patients come first, times a weight that the plan fixes.
            coarse = testbed.federation().agreed.plan.vector(COARSE)
            assert coarse is not None
            assert coarse.has_weights
            assert testbed.counts[name][1][0] == coarse.total_weight * len(shard.training)
        noise = released.counts(COARSE) - total(testbed.counts, 1)
        plan = testbed.federation().agreed.plan
        # Each of four shares has the variance of the half of what protects: 4/2 times the central variance.
        assert plan.honest_hospitals == 2
        assert abs(noise.std() / (2 * plan.sigma(plan.hospitals[0], COARSE)) - 1) < 0.3

    def test_no_vector_that_leaves_a_hospital_is_plain(
        self, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        testbed = MaskedFederation(shared_study(), tmp_path, stack).watch(monkeypatch)
        testbed.run()
        kinds = {type(reply).__name__ for _, reply in testbed.sent}
        assert kinds == {"EnrollReply", "KeysReply", "SharesReply", "MaskedReply", "SurvivorsReply", "OpenReply"}
        for _, reply in testbed.sent:
            if isinstance(reply, MaskedReply):
                for noisy in testbed.noisy[reply.hospital]:
                    if len(noisy) == len(reply.masked):
                        # A cell agrees by chance in one of 2^32 cases.
                        assert (reply.masked.view(np.int32) != noisy).all()

    def test_results_depend_on_the_seed_alone(self, tmp_path: Path) -> None:
        found, words = [], []
        for name in ("first", "second"):
            with ExitStack() as stack:
                testbed = MaskedFederation(shared_study(), tmp_path / name, stack)
                found.append(testbed.run())
                words.append([one.masked for _, one in testbed.sent if isinstance(one, MaskedReply)])
        np.testing.assert_array_equal(found[0].counts(HISTOGRAMS), found[1].counts(HISTOGRAMS))
        np.testing.assert_array_equal(found[0].counts(COARSE), found[1].counts(COARSE))
        assert all((one != other).any() for one, other in zip(*words, strict=True))


class TestDropouts:
    @pytest.mark.parametrize("step", STEPS)
    def test_a_dropout_is_back_in_the_next_phase(
        self,
        step: type[Request],
        tmp_path: Path,
        stack: ExitStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        testbed = MaskedFederation(shared_study(), tmp_path, stack, {"north": silent(step, HISTOGRAMS)}).watch(
            monkeypatch
        )
        released = testbed.run()
        # Up to the masked vector nothing of it arrived; from the signature on its vector is in the sum.
        gone = ("north",) if STEPS.index(step) <= 2 else ()
        np.testing.assert_array_equal(released.counts(HISTOGRAMS), total(testbed.noisy, 0, without=gone))
        for one in (testbed.noisy, testbed.counts):
            if gone:
                one["north"].insert(0, released.counts(HISTOGRAMS))
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1))
        # A vector that was never asked for is not charged.
        assert testbed.charged()["north"] == ([COARSE_1] if gone else [HISTOGRAMS_1, COARSE_1])

    @pytest.mark.parametrize("step", STEPS)
    def test_one_too_many_ends_the_run_and_opens_nothing(
        self,
        step: type[Request],
        tmp_path: Path,
        stack: ExitStack,
    ) -> None:
        testbed = MaskedFederation(shared_study(dropouts=0), tmp_path, stack, {"north": silent(step, HISTOGRAMS)})
        with pytest.raises(
            FederationError, match=r"'histograms' failed and no further attempt is planned: 3 hospitals"
        ):
            testbed.run()
        assert not (tmp_path / "out" / "checkpoints" / "histograms.safetensors").exists()
        # What may have left is charged, and stays so.
        charged = [HISTOGRAMS_1] if STEPS.index(step) >= 2 else []
        assert testbed.charged() == {
            name: [] if name == "north" and step is MaskedRequest else charged for name in NAMES
        }

    def test_too_few_hospitals_end_the_run_at_enrollment(self, tmp_path: Path, stack: ExitStack) -> None:
        def absent(request: Request, answer: Callable[[], Reply]) -> Reply:
            raise RuntimeError

        testbed = MaskedFederation(shared_study(dropouts=1), tmp_path, stack, {"north": absent, "west": absent})
        with pytest.raises(FederationError, match="enrollment: 2 hospitals left, hospitals - dropouts is 3"):
            testbed.run()

    def test_a_process_that_dies_is_a_dropout_of_that_phase(
        self, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        testbed = MaskedFederation(shared_study(), tmp_path, stack)
        serving = testbed.hospitals["north"]
        lost: list[Reply] = []

        def dies_after_masking(request: Request, answer: Callable[[], Reply]) -> Reply:
            nonlocal serving
            reply = serving.handle(request)
            if isinstance(request, MaskedRequest) and request.phase == HISTOGRAMS:
                serving = testbed.restarted("north")
                lost.append(serving.handle(request))  # its relay asks the new process once more
                return lost[-1]
            return reply

        testbed.spoil = {"north": dies_after_masking}
        released = testbed.watch(monkeypatch).run()
        assert [type(reply) for reply in lost] == [Unavailable]
        np.testing.assert_array_equal(released.counts(HISTOGRAMS), total(testbed.noisy, 0, without=("north",)))
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1))
        assert testbed.charged()["north"] == [HISTOGRAMS_1, COARSE_1]  # masked, charged, and never sent


class TestRetries:
    def test_a_retry_is_a_release_of_its_own(
        self, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = shared_study(dropouts=0, retries=1)
        testbed = MaskedFederation(study, tmp_path, stack, {"north": silent(OpenRequest, COARSE)}).watch(monkeypatch)
        released = testbed.run()
        (failed,) = [event for event in testbed.events if isinstance(event, AttemptFailed)]
        assert (failed.phase, failed.attempt) == (COARSE, 1)
        assert failed.detail.startswith("3 hospitals are left")
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 2))
        for name in NAMES:
            first, second = testbed.noisy[name][1:]
            assert (first != second).any()  # fresh noise on the same counts
            np.testing.assert_array_equal(testbed.counts[name][1], testbed.counts[name][2])
            ledger = testbed.hospitals[name].ledger
            assert [(line.slot.phase, line.slot.attempt) for line in ledger.lines()] == [
                HISTOGRAMS_1,
                COARSE_1,
                COARSE_2,
            ]
            assert epsilon([line.event for line in ledger.lines()], study.privacy.delta) <= study.privacy.epsilon

    def test_hospitals_refuse_more_attempts_than_planned(self, tmp_path: Path, stack: ExitStack) -> None:
        study = shared_study(dropouts=0, retries=1)
        testbed = MaskedFederation(study, tmp_path, stack, {"north": silent(OpenRequest, COARSE, range(9))})
        counting = testbed.counting()
        assert counting.masked is not None
        counting.masked.retries = 5  # a coordinator that asks for more than was agreed
        with pytest.raises(FederationError, match="0 hospitals are left after the exchange of keys"):
            counting.run()
        assert testbed.charged() == {name: [HISTOGRAMS_1, COARSE_1, COARSE_2] for name in NAMES}


class TestFaultyHospitals:
    @pytest.mark.parametrize(
        ("kind", "change", "fault"),
        [
            (KeysReply, garbled("keys"), Fault(Exclusion.KEYS_NOT_SIGNED)),
            (KeysReply, garbled("signature"), Fault(Exclusion.KEYS_NOT_SIGNED)),
            (KeysReply, cut("keys"), Fault(Exclusion.KEYS_NOT_SIGNED)),
            (SharesReply, cut("encrypted"), Fault(Exclusion.VECTOR_LENGTH, "encrypted")),
            (MaskedReply, cut("masked"), Fault(Exclusion.VECTOR_LENGTH, "masked")),
            (SurvivorsReply, garbled("signature"), Fault(Exclusion.VECTOR_WRONG, "signature")),
            (SurvivorsReply, cut("signature"), Fault(Exclusion.VECTOR_LENGTH, "signature")),
            (OpenReply, cut("shares"), Fault(Exclusion.VECTOR_LENGTH, "shares")),
            (OpenReply, too_large, Fault(Exclusion.VECTOR_WRONG, "shares")),
            (OpenReply, lambda reply: reply, None),
            (OpenReply, garbled("shares"), None),
            (OpenReply, lambda reply: Unavailable(reply.hospital), Fault(Exclusion.NO_ANSWER)),
        ],
    )
    def test_garbage_is_left_out_and_the_sum_is_right(
        self,
        kind: type[Reply],
        change: Callable[[Reply], Reply],
        fault: Fault | None,
        tmp_path: Path,
        stack: ExitStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        testbed = MaskedFederation(shared_study(), tmp_path, stack, {"north": spoilt(kind, change)}).watch(monkeypatch)
        released = testbed.run()
        excluded = [event for event in testbed.events if isinstance(event, HospitalExcluded)]
        assert {(event.hospital, Fault(event.reason, event.detail)) for event in excluded} == (
            {("north", fault)} if fault else set()
        )
        gone = ("north",) if kind in (KeysReply, SharesReply, MaskedReply) else ()
        np.testing.assert_array_equal(released.counts(HISTOGRAMS), total(testbed.noisy, 0))
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1, without=gone))

    @pytest.mark.parametrize("start", [0, 32])
    def test_a_useless_key_is_left_out_before_any_charge(
        self,
        start: int,
        tmp_path: Path,
        stack: ExitStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        advertise = Secrets.advertise

        def weak(mine: Secrets, context: Context, hospital: str, identity: Identity, ledger: bytes) -> Advertisement:
            one = advertise(mine, context, hospital, identity, ledger)
            if hospital != "north":
                return one
            keys = one.keys[:start] + bytes(32) + one.keys[start + 32 :]
            return signed(context, hospital, keys, identity)

        monkeypatch.setattr(Secrets, "advertise", weak)
        testbed = MaskedFederation(shared_study(), tmp_path, stack).watch(monkeypatch)
        released = testbed.run()
        assert set(exclusions(testbed.events)) == {("north", Exclusion.KEYS_WEAK)}
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1, without=("north",)))
        assert testbed.charged()["north"] == []

    @pytest.mark.parametrize(("entries", "exclusion"), [(2**53, None), (2**53 + 1, Exclusion.RECEIPT_MALFORMED)])
    def test_a_number_that_no_ledger_has_is_left_out(
        self,
        entries: int,
        exclusion: Exclusion | None,
        tmp_path: Path,
        stack: ExitStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        advertise = Secrets.advertise

        def many(mine: Secrets, context: Context, hospital: str, identity: Identity, ledger: bytes) -> Advertisement:
            is_north = hospital == "north" and context.phase == COARSE
            head = entries.to_bytes(8, "big") + ledger[8:] if is_north else ledger
            return advertise(mine, context, hospital, identity, head)

        monkeypatch.setattr(Secrets, "advertise", many)
        testbed = MaskedFederation(shared_study(), tmp_path, stack, {"north": spoilt(KeysReply, lambda reply: reply)})
        testbed.run()
        assert set(exclusions(testbed.events)) == ({("north", exclusion)} if exclusion else set())
        assert testbed.charged()["north"] == ([HISTOGRAMS_1] if exclusion else [HISTOGRAMS_1, COARSE_1])

    def test_encrypted_garbage_ends_the_phase(self, tmp_path: Path, stack: ExitStack) -> None:
        testbed = MaskedFederation(
            shared_study(), tmp_path, stack, {"north": spoilt(SharesReply, garbled("encrypted"))}
        )
        with pytest.raises(
            FederationError, match=r"'coarse' failed .*: 1 hospitals are left after the exchange of masked"
        ):
            testbed.run()
        assert [name for name, phases in testbed.charged().items() if COARSE_1 in phases] == ["north"]

    def test_a_vector_not_masked_as_agreed_gives_no_sum(self, tmp_path: Path, stack: ExitStack) -> None:
        def garbage(reply: Reply) -> Reply:
            assert isinstance(reply, MaskedReply)
            rng = np.random.default_rng(0)
            return replace(reply, masked=rng.integers(0, 2**32, len(reply.masked), np.uint32))

        testbed = MaskedFederation(shared_study(), tmp_path, stack, {"north": spoilt(MaskedReply, garbage)})
        with pytest.raises(FederationError, match="the sum is out of range: a hospital did not mask as agreed"):
            testbed.run()


class TestResuming:
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("last", [False, True])
    def test_a_coordinator_killed_within_a_phase_continues_it(
        self,
        step: type[Request],
        last: bool,
        tmp_path: Path,
        stack: ExitStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Killed as it asks the first hospital or the last one: some have answered, and will repeat themselves."""
        testbed = MaskedFederation(shared_study(), tmp_path, stack).watch(monkeypatch)

        def kill(request: Request, answer: Callable[[], Reply]) -> Reply:
            answer()
            if isinstance(request, step) and getattr(request, "phase", "") == COARSE:
                raise Killed
            return answer()

        testbed.spoil = {"west" if last else "east": kill}
        with pytest.raises(Killed):
            testbed.run()
        testbed.spoil = {}
        released = testbed.run()
        assert [path.name for path in (tmp_path / "out" / "checkpoints").glob("masked-*")] == []
        np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 1))
        assert testbed.charged() == {name: [HISTOGRAMS_1, COARSE_1] for name in NAMES}  # nothing is charged twice

    @pytest.mark.parametrize("is_still_silent", [False, True])
    def test_one_killed_in_a_later_attempt_continues_that(
        self, is_still_silent: bool, tmp_path: Path, stack: ExitStack
    ) -> None:
        """Attempt 1 fails at its keys, so it is not charged; hospitals would start it again and forget attempt 2."""
        testbed = MaskedFederation(shared_study(dropouts=0, retries=1), tmp_path, stack)

        def kill(request: Request, answer: Callable[[], Reply]) -> Reply:
            if isinstance(request, SurvivorsRequest) and (request.phase, request.attempt) == (COARSE, 2):
                raise Killed
            return answer()

        testbed.spoil = {"north": silent(KeysRequest, COARSE), "west": kill}
        with pytest.raises(Killed):
            testbed.run()
        testbed.spoil = {"north": silent(KeysRequest, COARSE)} if is_still_silent else {}
        testbed.run()
        assert testbed.charged() == {name: [HISTOGRAMS_1, COARSE_2] for name in NAMES}

    @pytest.mark.parametrize("retries", [0, 1])
    def test_vectors_whose_keys_are_lost_are_never_opened(
        self, retries: int, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Coordinator and hospitals are killed once all masked vectors of a phase have arrived and been stored."""
        testbed = MaskedFederation(shared_study(dropouts=0, retries=retries), tmp_path, stack).watch(monkeypatch)

        def kill(request: Request, answer: Callable[[], Reply]) -> Reply:
            if isinstance(request, SurvivorsRequest) and request.phase == COARSE:
                raise Killed
            return answer()

        testbed.spoil = {"east": kill}  # the first that is asked to sign
        with pytest.raises(Killed):
            testbed.run()
        testbed.spoil, testbed.hospitals = {}, {name: testbed.restarted(name) for name in NAMES}
        charged = [HISTOGRAMS_1, COARSE_1]  # the lost vectors stay charged
        if retries:
            released = testbed.run()
            np.testing.assert_array_equal(released.counts(COARSE), total(testbed.noisy, 2))
            assert all((first != second).any() for _, first, second in testbed.noisy.values())  # fresh noise
            charged.append(COARSE_2)
        else:
            with pytest.raises(FederationError, match="no further attempt is planned"):
                testbed.run()
        assert testbed.charged() == dict.fromkeys(NAMES, charged)
        of_lost = [reply for request, reply in testbed.sent if getattr(request, "attempt", 0) == 1]
        assert {type(reply) for reply in of_lost} == {Unavailable}  # nobody signs survivors or opens a share

    def test_a_run_that_failed_before_a_charge_can_be_resumed(self, tmp_path: Path, stack: ExitStack) -> None:
        testbed = MaskedFederation(shared_study(dropouts=0), tmp_path, stack, {"north": silent(KeysRequest, COARSE)})
        with pytest.raises(FederationError, match="no further attempt is planned"):
            testbed.run()
        testbed.spoil = {}
        testbed.run()
        assert testbed.charged() == {name: [HISTOGRAMS_1, COARSE_1] for name in NAMES}
