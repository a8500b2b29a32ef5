from __future__ import annotations

import time
from pathlib import Path

import pytest

from client.agent import request_checks
from client.agent.request_checks import CoordinatorCheck, check_state, is_plain
from common.errors import PolicyRefusal, Reason
from common.protocol.messages import EnrollRequest
from common.protocol.seals import seal_request
from tests.testbeds.clinic import clinic_study
from tests.testbeds.site_requests import Coordinator, histograms

OURS, THEIRS = Coordinator.new(), Coordinator.new()


def reason(check: CoordinatorCheck, *arguments: object) -> Reason | None:
    try:
        check(*arguments)  # type: ignore[arg-type]
    except PolicyRefusal as refusal:
        return refusal.reason
    return None


def accepted(run_id: str) -> str | None:
    return OURS.study.to_toml() if run_id == "run-1" else None


def test_only_the_coordinator_of_the_accepted_study_may_ask() -> None:
    check, ask = CoordinatorCheck(accepted), histograms()
    assert reason(check, ask, seal_request(OURS.identity, ask)) is None
    assert reason(check, ask, b"") == Reason.SIGNATURE_REFUSED
    assert reason(check, ask, seal_request(THEIRS.identity, ask)) == Reason.SIGNATURE_REFUSED
    assert reason(check, ask, seal_request(OURS.identity, histograms("run-2"))) == Reason.SIGNATURE_REFUSED


def test_an_expired_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check, ask = CoordinatorCheck(accepted), histograms()
    seal, now = seal_request(OURS.identity, ask, lifetime_s=60), time.time()
    assert reason(check, ask, seal) is None
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert reason(check, ask, seal) == Reason.REQUEST_EXPIRED
    assert reason(check, ask, seal_request(OURS.identity, ask)) is None  # sealed again, as by a resumed run


def test_a_run_that_was_never_accepted_is_refused_whoever_signs() -> None:
    ask = histograms("run-2")
    assert reason(CoordinatorCheck(accepted), ask, seal_request(OURS.identity, ask)) == Reason.STUDY_NOT_APPROVED


def test_an_accepted_run_cannot_be_taken_over_by_another_key() -> None:
    takeover = THEIRS.enroll("run-1")
    assert reason(CoordinatorCheck(accepted), takeover, seal_request(THEIRS.identity, takeover)) == (
        Reason.SIGNATURE_REFUSED
    )


def test_a_new_run_needs_its_coordinators_signature() -> None:
    check, enroll = CoordinatorCheck(lambda run_id: None), OURS.enroll("run-7")
    assert reason(check, enroll, seal_request(OURS.identity, enroll)) is None
    assert reason(check, enroll, seal_request(THEIRS.identity, enroll)) == Reason.SIGNATURE_REFUSED


def test_a_study_that_cannot_be_read_is_refused() -> None:
    enroll = EnrollRequest("run-7", "not [toml", "f", "{}", "{}")
    assert reason(CoordinatorCheck(lambda run_id: None), enroll, b"") == Reason.STUDY_ALTERED


def test_only_rehearsals_may_omit_the_coordinator_key() -> None:
    def open_study(*, rehearsal: bool) -> EnrollRequest:
        return EnrollRequest("run-7", clinic_study(study={"rehearsal": rehearsal}).to_toml(), "f", "{}", "{}")

    def never(run_id: str) -> str | None:
        return None

    assert reason(CoordinatorCheck(never), open_study(rehearsal=False), b"") == Reason.SIGNATURE_REFUSED
    assert reason(CoordinatorCheck(never, is_rehearsal=True), open_study(rehearsal=True), b"") is None


def test_rehearsals_and_work_in_earnest_never_mix() -> None:
    # Predictable noise must not reach a real run, nor a real site's budget a rehearsal.
    rehearsal = Coordinator.new(rehearsal=True)
    for coordinator, is_rehearsal in ((rehearsal, False), (OURS, True)):
        enroll = coordinator.enroll("run-7")
        check = CoordinatorCheck(lambda run_id: None, is_rehearsal=is_rehearsal)
        assert reason(check, enroll, seal_request(coordinator.identity, enroll)) == Reason.STUDY_REHEARSAL


def test_a_missing_state_folder_is_refused(tmp_path: Path) -> None:
    check_state(tmp_path)
    with pytest.raises(PolicyRefusal, match=r"cannot be written \(No such file or directory\)"):
        check_state(tmp_path / "missing")


def test_a_nearly_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_checks, "FREE_BYTES", 2**80)
    with pytest.raises(PolicyRefusal, match="the state folder has less than"):
        check_state(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 500_001,
        "a." * 5_001 + "a = 1",
        "a." * 33 + "a = 1",
        "[" + "a . " * 33 + "a]",
        '"a".' * 33 + "a = 1",
        "x = {" + "a." * 33 + "a = 1}",
        "a.\u2028" * 33 + "a = 1",  # which ends a line for Python and not for TOML
    ],
)
def test_long_texts_are_refused_unparsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(text: str) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("client.agent.request_checks.parse_study", parsed)
    enroll = EnrollRequest("run-7", text, "f", "{}", "{}")
    assert reason(CoordinatorCheck(lambda run_id: None), enroll, b"") == Reason.STUDY_ALTERED


def test_numbers_sentences_and_short_keys_are_plain() -> None:
    assert is_plain("edges = [" + ", ".join("0.25" for _ in range(999)) + "]")
    assert is_plain('description = "' + "A sentence. " * 20 + '"')
    assert is_plain("a.b.c = 1\n" * 1000)
    assert is_plain(clinic_study().to_toml())
