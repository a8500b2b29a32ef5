from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from client.consent.partners import Partners, Pin, read_aloud
from client.consent.policy import Policy
from client.consent.statement import partner_keys
from client.hospital import Hospital
from client.shard import Shard
from common.errors import PolicyRefusal, Reason, SiteError
from common.ledger.ledger import Ledger
from common.planning.phases import HISTOGRAMS
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise
from common.protocol.messages import EnrollReply, EnrollRequest, KeysReply, KeysRequest, Unavailable
from common.protocol.signing import Identity, fingerprint
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.consent import agreed_to

TODAY = date(2026, 11, 29)
KEYS = {name: Identity.simulated(1, name).public for name in ("north", "south", "west")}
AT_NORTH = {"north": fingerprint(KEYS["north"])}
SOUTH = fingerprint(KEYS["south"])


def study_of(noise: str = "distributed", **keys: str | None) -> Study:
    """A study of the three hospitals; a keyword gives one of them another key."""
    facts = tuple(HospitalFacts(name=name, declared_rows=100, identity=key) for name, key in {**KEYS, **keys}.items())
    return clinic_study(privacy={"noise": noise}, training={"rounds": 0}).with_hospitals(facts)


@pytest.fixture
def partners(tmp_path: Path) -> Partners:
    """What north pinned: both partners."""
    pinned = Partners(tmp_path / "partners.toml")
    for name in ("south", "west"):
        pinned.add(name, fingerprint(KEYS[name]), TODAY, own=AT_NORTH)
    return pinned


def reason_of(check: Callable[[], object]) -> Reason | None:
    try:
        check()
    except PolicyRefusal as refusal:
        return refusal.reason
    return None


class TestPins:
    def test_the_file_is_readable_by_people_and_by_no_other_account(self, partners: Partners) -> None:
        text = partners.path.read_text()
        assert f'[south]\nfingerprint = "{SOUTH}"\nsince = 2026-11-29\n' in text
        assert text.startswith("# Partners whose identity key this hospital compared by telephone")
        assert stat.S_IMODE(partners.path.stat().st_mode) == 0o600
        assert partners.pins()["south"] == Pin(SOUTH, TODAY)

    def test_without_a_file_there_are_no_pins(self, tmp_path: Path) -> None:
        assert Partners(tmp_path / "partners.toml").pins() == {}

    def test_removed_pins_are_gone(self, partners: Partners) -> None:
        partners.remove("south")
        assert list(partners.pins()) == ["west"]
        with pytest.raises(SiteError, match="no partner 'south' is pinned"):
            partners.remove("south")

    @pytest.mark.parametrize(
        ("name", "digits", "words"),
        [
            ("South Hospital", SOUTH, "'South Hospital' is no name of a hospital"),
            ("north", SOUTH, "'north' is this hospital"),
            ("east", SOUTH[:-1], "and 31 characters were typed"),
            ("east", SOUTH[:-1] + "g", "32 hexadecimal digits"),
            ("east", AT_NORTH["north"], "this hospital's own identity"),
            ("south", SOUTH, "is pinned to this fingerprint since 2026-11-29"),
            ("south", "ab" * 16, "pinned to another fingerprint since 2026-11-29"),
            ("east", SOUTH, "is pinned as 'south': one party would count as two hospitals"),
        ],
    )
    def test_add_refuses_with_a_sentence_and_writes_nothing(
        self, name: str, digits: str, words: str, partners: Partners
    ) -> None:
        before = partners.path.read_bytes()
        with pytest.raises(SiteError) as problem:
            partners.add(name, digits, TODAY, own=AT_NORTH)
        assert words in str(problem.value)
        assert partners.path.read_bytes() == before

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[south", "is not valid TOML"),
            ("south = 3", "[south]: it needs fingerprint and since"),
            (f'[south]\nfingerprint = "{SOUTH}"', "[south]: it needs fingerprint and since"),
            (f'[south]\nfingerprint = "{SOUTH}"\nsince = "today"', "[south]: since is not a date"),
            ('[south]\nfingerprint = "ab12"\nsince = 2026-11-29', "[south]: a fingerprint has 32"),
            (f'[south]\nfingerprint = "{SOUTH.upper()}"\nsince = 2026-11-29', "[south]: a fingerprint is written"),
            ("\udcff", "it is not UTF-8 text"),
        ],
    )
    def test_a_file_changed_by_hand_is_named_with_its_fault(self, text: str, words: str, partners: Partners) -> None:
        partners.path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(SiteError) as problem:
            partners.pins()
        assert words in str(problem.value)
        assert reason_of(lambda: partners.check(study_of(), "north")) == Reason.PARTNER_NOT_PINNED

    def test_a_fingerprint_may_be_typed_with_or_without_groups(self) -> None:
        bare = SOUTH.replace(" ", "")
        for typed in (SOUTH, bare, bare.upper(), SOUTH.replace(" ", ":"), f" {SOUTH.replace(' ', '-')}\n"):
            assert read_aloud(typed) == SOUTH


class TestCheck:
    def test_partners_whose_keys_were_compared_are_accepted(self, partners: Partners) -> None:
        partners.check(study_of(), "north")

    def test_the_coordinators_key_under_a_partners_name_is_refused(self, partners: Partners) -> None:
        forged = study_of(west=Identity.simulated(2, "coordinator").public)
        assert reason_of(lambda: partners.check(forged, "north")) == Reason.PARTNER_CHANGED

    def test_hospitals_that_nobody_pinned_cannot_pad_a_study(self, partners: Partners) -> None:
        padding = {f"hospital-{number}": Identity.simulated(2, str(number)).public for number in range(4)}
        assert reason_of(lambda: partners.check(study_of(**padding), "north")) == Reason.PARTNER_NOT_PINNED

    def test_a_partner_without_a_key_is_refused(self, partners: Partners) -> None:
        assert reason_of(lambda: partners.check(study_of(west=None), "north")) == Reason.PARTNER_CHANGED


class TestPolicy:
    """What the agent asks when a run enrolls, and again at every request of it."""

    def policy(self, study: Study, partners: Partners | None) -> Policy:
        return Policy("north", max_epsilon=5.0, delta=1e-4, consent=agreed_to(study), partners=partners)

    def reasons(self, study: Study, partners: Partners | None) -> tuple[Reason | None, Reason | None]:
        policy, plan = self.policy(study, partners), make_plan(study)
        return (
            reason_of(lambda: policy.check("run-1", study, plan, ())),
            reason_of(lambda: policy.check_still_agreed("run-1", study, plan)),
        )

    def test_pins_count_at_enrollment_and_in_the_middle_of_a_run(self, partners: Partners) -> None:
        assert self.reasons(study_of(), partners) == (None, None)
        partners.remove("west")  # after the approval
        assert self.reasons(study_of(), partners) == (Reason.PARTNER_NOT_PINNED,) * 2
        partners.add("west", "ab" * 16, TODAY, own=AT_NORTH)
        assert self.reasons(study_of(), partners) == (Reason.PARTNER_CHANGED,) * 2
        assert self.reasons(study_of(), None) == (Reason.PARTNER_NOT_PINNED,) * 2

    def test_a_rehearsal_pins_its_partners_too(self, partners: Partners) -> None:
        study = study_of().amended(study={"rehearsal": True})
        policy = replace(self.policy(study, partners), is_rehearsal=True)
        policy.check("run-1", study, make_plan(study), ())
        partners.remove("south")
        refused = reason_of(lambda: policy.check("run-1", study, make_plan(study), ()))
        assert refused == Reason.PARTNER_NOT_PINNED

    def test_local_noise_needs_no_partner_and_a_simulation_neither(self, tmp_path: Path) -> None:
        nobody = Partners(tmp_path / "none.toml")
        assert self.reasons(study_of("local"), nobody) == (None, None)
        study = study_of()
        Policy("north", is_simulation=True).check("run-1", study, make_plan(study), ())


class TestHospital:
    """The agent's answers, from enrollment to the first step of a masked sum."""

    @pytest.fixture
    def north(self, tmp_path: Path, partners: Partners) -> Iterator[Hospital]:
        def never_opened(study: Study) -> Shard:
            raise AssertionError("records were read")

        policy = Policy("north", max_epsilon=5.0, delta=1e-4, consent=agreed_to(study_of()), partners=partners)
        identity = Identity.simulated(1, "north")
        with closing(Ledger(tmp_path / "ledger.sqlite", cohort="north", delta=1e-4)) as ledger:
            yield Hospital(policy, never_opened, ledger, SecureNoise(), identity=identity)

    def enrolled(self, north: Hospital, run_id: str = "run-1") -> str:
        study, plan = study_of(), make_plan(study_of())
        reply = north.handle(EnrollRequest(run_id, study.to_toml(), study.fingerprint, plan.to_json(), "{}"))
        assert isinstance(reply, EnrollReply)
        return reply.reason

    def test_a_pin_that_is_removed_ends_a_run_under_way(
        self, north: Hospital, partners: Partners, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = KeysRequest("run-1", HISTOGRAMS, 0, 1, "a" * 64)
        assert self.enrolled(north) == Reason.ACCEPTED
        assert isinstance(north.handle(asked), KeysReply)
        partners.remove("west")
        assert isinstance(north.handle(asked), Unavailable)
        assert f"refused query.keys: {Reason.PARTNER_NOT_PINNED}" in caplog.text
        assert self.enrolled(north) == Reason.PARTNER_NOT_PINNED
        assert self.enrolled(north, "run-2") == Reason.PARTNER_NOT_PINNED
        assert north.ledger.lines() == ()


class TestPartnerKeys:
    def test_every_hospital_has_a_line_with_its_standing(self, partners: Partners) -> None:
        east = Identity.simulated(1, "east").public
        study = study_of(west=Identity.simulated(2, "west").public, east=east)
        lines = partner_keys(study, "north", partners.of(study, "north"))
        assert f"    north: {AT_NORTH['north']} (this hospital)" in lines
        assert f"    south: {SOUTH} (known since 2026-11-29)" in lines
        assert f"    east: {fingerprint(east)} (new)" in lines
        (west,) = [line for line in lines if line.startswith("    west: ")]
        assert west.endswith(f"(CHANGED: you pinned {fingerprint(KEYS['west'])} on 2026-11-29)")
        assert "by telephone with the partner itself" in lines[-1]

    def test_known_partners_need_no_call(self, partners: Partners) -> None:
        lines = partner_keys(study_of(), "north", partners.of(study_of(), "north"))
        assert "telephone" not in " ".join(lines)
