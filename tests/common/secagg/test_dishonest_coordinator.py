"""Honest sessions against a coordinator that lies to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from common.errors import MaskingError
from common.secagg import shamir
from common.secagg.keys import (
    Envelope,
    Secrets,
    digest_of,
    encrypt,
    own_mask_key,
    public_of,
    roster_digest,
)
from common.secagg.session import Held, Session
from common.secagg.words import stream, to_integers
from tests.testbeds.masking import (
    CONTEXT,
    LEDGER,
    NAMES,
    VECTORS,
    MaskingTestbed,
    assert_over,
    in_other_bytes,
    masked,
    signed,
)


def advertise(testbed: MaskingTestbed, name: str, *, mask: bytes) -> Secrets:
    """A hospital signs keys of which it does not know the one for masks; the others are the secrets'."""
    mine = Secrets.draw()
    keys = public_of(mine.box) + mask + digest_of(mine.seed)
    testbed.roster[name] = signed(testbed.context, name, keys, testbed.identities[name])
    return mine


def swap_keys(testbed: MaskingTestbed) -> None:
    """Keys of its own, under the hospital's name: it would know the masks."""
    mine = Secrets.draw().advertise(CONTEXT, "birch", testbed.identities["amber"], LEDGER)
    testbed.roster["birch"] = mine


def keys_of_another_run(testbed: MaskingTestbed) -> None:
    context = replace(CONTEXT, run_id="run-0")
    testbed.roster["birch"] = Session(
        context, testbed.terms, "birch", testbed.identities["birch"], LEDGER
    ).advertisement


def keys_of_another_attempt(testbed: MaskingTestbed) -> None:
    context = replace(CONTEXT, attempt=2)
    testbed.roster["birch"] = Session(
        context, testbed.terms, "birch", testbed.identities["birch"], LEDGER
    ).advertisement


def keys_of_another_question(testbed: MaskingTestbed) -> None:
    context = replace(CONTEXT, question="0" * 64)
    testbed.roster["birch"] = Session(
        context, testbed.terms, "birch", testbed.identities["birch"], LEDGER
    ).advertisement


def another_ones_keys(testbed: MaskingTestbed) -> None:
    testbed.roster["birch"] = replace(testbed.roster["cedar"], hospital="birch")


def stranger(testbed: MaskingTestbed) -> None:
    del testbed.roster["birch"]
    testbed.roster["fake"] = Secrets.draw().advertise(CONTEXT, "fake", testbed.identities["birch"], LEDGER)


def too_few_on_the_roster(testbed: MaskingTestbed) -> None:
    del testbed.roster["birch"], testbed.roster["cedar"]


def a_key_that_agrees_on_nothing(testbed: MaskingTestbed) -> None:
    advertise(testbed, "birch", mask=bytes(32))


def stale_keys_of_its_own(testbed: MaskingTestbed) -> None:
    """The hospital's own keys, signed by it, from before it was restarted."""
    stale = Session(CONTEXT, testbed.terms, "amber", testbed.identities["amber"], LEDGER)
    testbed.roster["amber"] = stale.advertisement


def replayed_share(testbed: MaskingTestbed) -> dict[str, bytes]:
    return testbed.for_whom("amber") | {"birch": testbed.encrypted["birch"]["cedar"]}


def altered_share(testbed: MaskingTestbed) -> dict[str, bytes]:
    encrypted = bytearray(testbed.encrypted["birch"]["amber"])
    encrypted[0] ^= 1
    return testbed.for_whom("amber") | {"birch": bytes(encrypted)}


def cut_share(testbed: MaskingTestbed) -> dict[str, bytes]:
    return testbed.for_whom("amber") | {"birch": b""}


def under_another_name(testbed: MaskingTestbed) -> dict[str, bytes]:
    whole = testbed.for_whom("amber")
    return whole | {"birch": whole["cedar"], "cedar": whole["birch"]}


def from_itself(testbed: MaskingTestbed) -> dict[str, bytes]:
    return testbed.for_whom("amber") | {"amber": testbed.encrypted["birch"]["amber"]}


def from_nobody(testbed: MaskingTestbed) -> dict[str, bytes]:
    return testbed.for_whom("amber") | {"fake": testbed.encrypted["birch"]["amber"]}


def too_few_shares(testbed: MaskingTestbed) -> dict[str, bytes]:
    return {name: testbed.encrypted[name]["amber"] for name in ("birch", "cedar")}


def forged_signature(testbed: MaskingTestbed) -> dict[str, bytes]:
    return {**testbed.signed, "birch": testbed.signed["cedar"]}


def without_its_own(testbed: MaskingTestbed) -> dict[str, bytes]:
    return {name: one for name, one in testbed.signed.items() if name != "amber"}


def signature_of_another_phase(testbed: MaskingTestbed) -> dict[str, bytes]:
    earlier = MaskingTestbed(context=replace(CONTEXT, phase="histograms"), identities=testbed.identities)
    return {**testbed.signed, "birch": earlier.advertise().share().mask(VECTORS).sign().signed["birch"]}


class TestRoster:
    @pytest.mark.parametrize(
        ("lie", "said"),
        [
            (swap_keys, "'birch' did not sign"),
            (keys_of_another_run, "'birch' did not sign"),
            (keys_of_another_attempt, "'birch' did not sign"),
            (keys_of_another_question, "'birch' did not sign"),
            (another_ones_keys, "'birch' did not sign"),
            (a_key_that_agrees_on_nothing, "'birch' advertised a key that agrees on nothing secret"),
            (stranger, "outside the study"),
            (too_few_on_the_roster, "3 hospitals advertised keys and 4 are required"),
            (stale_keys_of_its_own, "does not hold this hospital's key"),
        ],
    )
    def test_a_tampered_roster_ends_the_session(self, lie: Callable[[MaskingTestbed], None], said: str) -> None:
        testbed = MaskingTestbed().advertise()
        lie(testbed)
        amber = testbed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.share(list(testbed.roster.values()))
        assert_over(amber)

    def test_a_key_that_two_hospitals_claim_ends_the_session(self) -> None:
        testbed = MaskingTestbed().advertise()
        testbed.roster["birch"] = signed(CONTEXT, "birch", testbed.roster["cedar"].keys, testbed.identities["birch"])
        with pytest.raises(MaskingError, match="advertised twice"):
            testbed.sessions["amber"].share(list(testbed.roster.values()))

    @pytest.mark.parametrize("copy", range(2))
    @pytest.mark.parametrize("names", [("m", "n", "z"), ("a", "m", "z"), ("a", "b", "m")])
    def test_a_key_copied_in_other_bytes_strips_no_mask(self, names: tuple[str, str, str], copy: int) -> None:
        """`m` colludes with the coordinator, both of whom everybody takes for honest: all seeds are opened in the end.

        Were the streams that an honest hospital shares with `m` and with the one that `m` copies the same, they would
        cancel in its vector where it stands between the two in the order of names, or in a sum of both with weights.
        """
        testbed = MaskingTestbed(names, dropouts=0, colluders=1).advertise()
        honest = [name for name in names if name != "m"]
        for copied in honest:
            testbed = MaskingTestbed(names, dropouts=0, colluders=1).advertise()
            mine = advertise(testbed, "m", mask=in_other_bytes(testbed.roster[copied].mask)[copy])
            digest = roster_digest(testbed.context, testbed.roster.values())
            points = {name: testbed.terms.point(name) for name in names}
            dealt = shamir.split(mine.seed, testbed.terms.threshold, list(points.values()))
            testbed.encrypted = {name: testbed.sessions[name].share(list(testbed.roster.values())) for name in honest}
            testbed.encrypted["m"] = {
                name: encrypt(
                    Held(dealt[points[name]], 1).to_bytes(),
                    mine.box,
                    testbed.roster[name].box,
                    Envelope("m", name, testbed.context, digest),
                )
                for name in honest
            }
            unmasked, vectors = [], []
            for index, name in enumerate(honest):
                session = testbed.sessions[name]
                session.receive(testbed.for_whom(name))
                secrets = session._secrets
                assert secrets is not None
                own = stream(
                    own_mask_key(secrets.seed, testbed.context, digest), 50
                )  # which the coordinator is to learn
                vectors.append(np.arange(50) * (7 + index))
                unmasked.append((session.mask(vectors[-1]) - own).astype(np.int64))
            for weights in ((1, 0), (0, 1), (1, 1), (1, 2), (2, 1), (1, -1)):
                found, hidden = (sum(w * v for w, v in zip(weights, each, strict=True)) for each in (unmasked, vectors))
                assert (to_integers(np.asarray(found % 2**32, dtype=np.uint32)) != hidden).mean() > 0.9, (
                    copied,
                    weights,
                )

    def test_a_hospital_listed_twice_ends_the_session(self) -> None:
        testbed = MaskingTestbed().advertise()
        with pytest.raises(MaskingError, match="on the roster twice"):
            testbed.sessions["amber"].share([*testbed.roster.values(), testbed.roster["birch"]])

    def test_different_rosters_cannot_read_each_others_shares(self) -> None:
        testbed = MaskingTestbed().advertise()
        whole = list(testbed.roster.values())
        for name in NAMES:  # amber is told that elder is missing
            shown = [one for one in whole if one.hospital != "elder" or name != "amber"]
            testbed.encrypted[name] = testbed.sessions[name].share(shown)
        with pytest.raises(MaskingError, match=r"'amber' were not encrypted for this exchange"):
            testbed.sessions["birch"].receive(
                {name: testbed.encrypted[name]["birch"] for name in ("amber", "cedar", "delta")}
            )
        with pytest.raises(MaskingError, match=r"'birch' were not encrypted for this exchange"):
            testbed.sessions["amber"].receive(
                {name: testbed.encrypted[name]["amber"] for name in ("birch", "cedar", "delta")}
            )


class TestShares:
    @pytest.mark.parametrize(
        ("lie", "said"),
        [
            (replayed_share, "not encrypted for this"),
            (altered_share, "not encrypted for this"),
            (cut_share, "not encrypted for this"),
            (under_another_name, "not encrypted for this"),
            (from_itself, "to itself"),
            (from_nobody, "advertised no key"),
            (too_few_shares, "3 hospitals shared their secrets and 4 are required"),
        ],
    )
    def test_tampered_shares_end_the_session(
        self, lie: Callable[[MaskingTestbed], dict[str, bytes]], said: str
    ) -> None:
        testbed = MaskingTestbed().advertise().share()
        amber = testbed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.receive(lie(testbed))
        assert_over(amber)

    @pytest.mark.parametrize("gone", [(), ("elder",)])
    def test_one_kind_of_share_is_opened_then_all_is_forgotten(self, gone: tuple[str, ...]) -> None:
        testbed = MaskingTestbed().advertise().share().mask(VECTORS, gone).sign()
        held = {name: dict(session._held) for name, session in testbed.sessions.items()}
        testbed.open()
        for name, opened in testbed.opened.items():
            for other, share in opened.items():
                mine = held[name][other]
                assert share == (mine.key if other in gone else mine.seed)
                assert mine.seed != mine.key
            session = testbed.sessions[name]
            assert (session._secrets, session._held) == (None, {})
            with pytest.raises(MaskingError, match="out of order"):
                session.open(testbed.signed)


class TestSurvivors:
    @pytest.mark.parametrize(
        ("survivors", "said"),
        [
            (["birch", "cedar", "delta", "elder"], "do not include this hospital"),
            (["amber", "birch", "cedar"], "3 hospitals survived and 4 are required"),
            (["amber", "amber", "birch", "cedar", "delta"], "the survivors name a hospital twice"),
            (["amber", "birch", "cedar", "delta", "fake"], "shared no secrets"),
        ],
    )
    def test_impossible_survivors_end_the_session(self, survivors: list[str], said: str) -> None:
        amber = masked().sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.sign(survivors)
        assert_over(amber)

    def test_nobody_opens_for_two_sets_of_survivors(self) -> None:
        testbed = masked()
        amber = testbed.sessions["amber"]
        amber.sign(NAMES)
        with pytest.raises(MaskingError, match="out of order"):
            amber.sign(NAMES[:4])
        assert_over(amber)

    def test_a_coordinator_that_splits_the_view_gets_no_sum(self) -> None:
        testbed = masked()
        everyone, fewer = list(NAMES), list(NAMES[:4])  # elder's vector arrived, and it claims that it did not
        shown = {"amber": everyone, "birch": everyone, "cedar": fewer, "delta": fewer, "elder": everyone}
        signed = {name: testbed.sessions[name].sign(shown[name]) for name in NAMES}
        for name in NAMES:
            with pytest.raises(MaskingError, match=r"did not sign these survivors|not among the survivors"):
                testbed.sessions[name].open({other: signed[other] for other in NAMES if other in shown[name]})
        testbed = masked()
        signed = {name: testbed.sessions[name].sign(shown[name]) for name in NAMES}
        for name in NAMES:  # those who saw the same are two or three, and four must be
            with pytest.raises(MaskingError, match="too few hospitals signed"):
                testbed.sessions[name].open({other: signed[other] for other in NAMES if shown[other] == shown[name]})

    @pytest.mark.parametrize(
        ("lie", "said"),
        [
            (forged_signature, "'birch' did not sign these survivors"),
            (without_its_own, "own signature is missing"),
            (signature_of_another_phase, "'birch' did not sign these survivors"),
        ],
    )
    def test_wrong_signatures_open_nothing(self, lie: Callable[[MaskingTestbed], dict[str, bytes]], said: str) -> None:
        testbed = masked().sign()
        amber = testbed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.open(lie(testbed))
        assert_over(amber)

    def test_the_signature_of_a_dropout_does_not_count(self) -> None:
        testbed = MaskingTestbed().advertise().share().mask(VECTORS, ["elder"]).sign()
        amber = testbed.sessions["amber"]
        late = testbed.identities["elder"].sign(amber._survivors_text())  # valid, of a hospital outside the sum
        three = {name: testbed.signed[name] for name in ("amber", "birch", "cedar")}
        with pytest.raises(MaskingError, match="a signature is from a hospital that is not among the survivors"):
            amber.open({**three, "elder": late})
        assert_over(amber)

    def test_colluders_who_sign_twice_cannot_open_two_sets(self) -> None:
        """Two of seven sign whatever the coordinator likes; five are honest, and five must sign (2 x 5 > 7 + 2)."""
        names = tuple("abcdefg")
        vectors = {name: np.array([1]) for name in names}
        testbed = MaskingTestbed(names, dropouts=2, colluders=2).advertise().share().mask(vectors)
        everyone, fewer = names, ("a", "c", "d", "f", "g")  # b and e were "lost"; f and g collude
        honest = {"a": everyone, "b": everyone, "c": fewer, "d": fewer, "e": everyone}
        signed = {name: testbed.sessions[name].sign(shown) for name, shown in honest.items()}
        for shown in (everyone, fewer):
            helpers = {}
            for name in ("f", "g"):  # they sign whatever they are asked to
                text = testbed.sessions["a"].context.text(
                    "survivors",
                    roster=roster_digest(CONTEXT, testbed.roster.values()),
                    sharers=",".join(names),
                    survivors=",".join(sorted(shown)),
                )
                helpers[name] = testbed.identities[name].sign(text)
            mine = {name: one for name, one in signed.items() if honest[name] == shown} | helpers
            for name in [name for name in honest if honest[name] == shown]:
                assert len(mine) == (5 if shown == everyone else 4)
                if shown == everyone:  # a, b and e with f and g: this one set is opened
                    testbed.sessions[name].open(mine)
                else:  # and the other is not: c and d with f and g are four
                    with pytest.raises(MaskingError, match="too few hospitals signed"):
                        testbed.sessions[name].open(mine)
