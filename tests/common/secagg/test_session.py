"""Honest sessions against a coordinator that lies, and against one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from common.errors import MaskingError, StudyError
from common.protocol.signing import Identity
from common.secagg import shamir
from common.secagg.keys import (
    Secrets,
    digest_of,
    own_mask_key,
    pair_mask_key,
    public_of,
    roster_digest,
    seal,
)
from common.secagg.masks import stream, to_integers, to_words
from common.secagg.session import Held, Session, Step
from common.secagg.terms import Terms
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study
from tests.testbeds.masking import NAMES, PLACE, Bed, in_other_bytes, signed

VECTORS = {name: np.array([place, -place, 10**6 * place, 0]) for place, name in enumerate(NAMES, start=1)}
"""1 + 2 + 3 + 4 + 5 = 15."""


def masked(**settings: object) -> Bed:
    return Bed(**settings).advertise().share().mask(VECTORS)  # type: ignore[arg-type]


# --- a coordinator that lies


def advertise(bed: Bed, name: str, *, mask: bytes) -> Secrets:
    """A hospital signs keys of which it does not know the one for masks; the others are the secrets'."""
    mine = Secrets.draw()
    keys = public_of(mine.box) + mask + digest_of(mine.seed)
    bed.roster[name] = signed(bed.place, name, keys, bed.identities[name])
    return mine


def swap_keys(bed: Bed) -> None:
    """Keys of its own, under the hospital's name: it would know the masks."""
    mine = Secrets.draw().advertise(PLACE, "birch", bed.identities["amber"])
    bed.roster["birch"] = mine


def keys_of_another_run(bed: Bed) -> None:
    place = replace(PLACE, run_id="run-0")
    bed.roster["birch"] = Session(place, bed.terms, "birch", bed.identities["birch"]).advertisement


def keys_of_another_attempt(bed: Bed) -> None:
    place = replace(PLACE, attempt=2)
    bed.roster["birch"] = Session(place, bed.terms, "birch", bed.identities["birch"]).advertisement


def keys_of_another_question(bed: Bed) -> None:
    place = replace(PLACE, question="0" * 64)
    bed.roster["birch"] = Session(place, bed.terms, "birch", bed.identities["birch"]).advertisement


def another_ones_keys(bed: Bed) -> None:
    bed.roster["birch"] = replace(bed.roster["cedar"], hospital="birch")


def stranger(bed: Bed) -> None:
    del bed.roster["birch"]
    bed.roster["fake"] = Secrets.draw().advertise(PLACE, "fake", bed.identities["birch"])


def too_few_on_the_roster(bed: Bed) -> None:
    del bed.roster["birch"], bed.roster["cedar"]


def a_key_that_agrees_on_nothing(bed: Bed) -> None:
    advertise(bed, "birch", mask=bytes(32))


def stale_keys_of_its_own(bed: Bed) -> None:
    """The hospital's own keys, signed by it, from before it was restarted."""
    bed.roster["amber"] = Session(PLACE, bed.terms, "amber", bed.identities["amber"]).advertisement


def assert_over(session: Session) -> None:
    """Nothing is left to give away, and no step is open any more."""
    assert session.step == Step.ENDED
    assert session._secrets is None
    assert session._held == {}
    for ask in (
        lambda: session.share([]),
        lambda: session.receive({}),
        lambda: session.mask(np.zeros(1, dtype=np.int64)),
        lambda: session.sign([]),
        lambda: session.open({}),
    ):
        with pytest.raises(MaskingError, match="out of order"):
            ask()


def replayed_share(bed: Bed) -> dict[str, bytes]:
    return bed.for_whom("amber") | {"birch": bed.sealed["birch"]["cedar"]}


def altered_share(bed: Bed) -> dict[str, bytes]:
    sealed = bytearray(bed.sealed["birch"]["amber"])
    sealed[0] ^= 1
    return bed.for_whom("amber") | {"birch": bytes(sealed)}


def cut_share(bed: Bed) -> dict[str, bytes]:
    return bed.for_whom("amber") | {"birch": b""}


def under_another_name(bed: Bed) -> dict[str, bytes]:
    whole = bed.for_whom("amber")
    return whole | {"birch": whole["cedar"], "cedar": whole["birch"]}


def from_itself(bed: Bed) -> dict[str, bytes]:
    return bed.for_whom("amber") | {"amber": bed.sealed["birch"]["amber"]}


def from_nobody(bed: Bed) -> dict[str, bytes]:
    return bed.for_whom("amber") | {"fake": bed.sealed["birch"]["amber"]}


def too_few_shares(bed: Bed) -> dict[str, bytes]:
    return {name: bed.sealed[name]["amber"] for name in ("birch", "cedar")}


def forged_signature(bed: Bed) -> dict[str, bytes]:
    return {**bed.signed, "birch": bed.signed["cedar"]}


def without_its_own(bed: Bed) -> dict[str, bytes]:
    return {name: one for name, one in bed.signed.items() if name != "amber"}


def signature_of_another_phase(bed: Bed) -> dict[str, bytes]:
    earlier = Bed(place=replace(PLACE, phase="histograms"), identities=bed.identities)
    return {**bed.signed, "birch": earlier.advertise().share().mask(VECTORS).sign().signed["birch"]}


# --- how many must stay


class TestSum:
    def test_the_coordinator_gets_the_exact_sum(self) -> None:
        np.testing.assert_array_equal(masked().sign().open().sum(), [15, -15, 15 * 10**6, 0])

    @pytest.mark.parametrize("step", ["advertise", "share", "mask", "sign", "open"])
    @pytest.mark.parametrize("who", NAMES)
    def test_a_dropout_at_any_step_costs_its_own_vector_only(self, step: str, who: str) -> None:
        gone: dict[str, tuple[str, ...]] = dict.fromkeys(("advertise", "share", "mask", "sign", "open"), ())
        gone[step] = (who,)
        bed = Bed().advertise(gone["advertise"]).share(gone["share"]).mask(VECTORS, gone["mask"])
        found = bed.sign(gone["sign"]).open(gone["open"]).sum()
        # Whoever vanishes after its vector arrived is in the sum.
        left = [name for name in NAMES if name != who or step in ("sign", "open")]
        np.testing.assert_array_equal(found, np.sum([VECTORS[name] for name in left], axis=0))

    def test_wrong_shares_are_detected_and_left_out(self) -> None:
        names = tuple(f"h{place:02d}" for place in range(13))
        bed = Bed(names, dropouts=4, colluders=2).advertise().share()
        bed.mask({name: np.array([1]) for name in names}, missing=["h05"]).sign().open()
        for bad in ("h00", "h06"):  # further apart than any window of nine leaves out
            bed.opened[bad] = {name: (share + 1) % shamir.PRIME for name, share in bed.opened[bad].items()}
        assert bed.sum() == [12]
        for bad in ("h01", "h02", "h03"):  # seven are right, and nine are needed
            bed.opened[bad] = bed.opened["h00"]
        with pytest.raises(MaskingError, match="are not enough, or wrong"):
            bed.sum()

    def test_two_of_seven_may_drop_out_at_different_steps(self) -> None:
        names = tuple("abcdefg")  # 2 x 5 > 7 + 1
        vectors = {name: np.array([2**place]) for place, name in enumerate(names)}
        bed = Bed(names, dropouts=2).advertise(["a"]).share().mask(vectors, ["d"]).sign().open()
        np.testing.assert_array_equal(bed.sum(), [127 - 1 - 8])

    def test_one_dropout_too_many_opens_nothing(self) -> None:
        with pytest.raises(MaskingError, match="3 hospitals advertised keys and 4 must"):
            Bed().advertise(["amber", "birch"]).share()
        with pytest.raises(MaskingError, match="3 hospitals shared their secrets and 4 must"):
            Bed().advertise(["amber"]).share(["birch"]).mask(VECTORS)
        with pytest.raises(MaskingError, match="3 hospitals survived and 4 must"):
            Bed().advertise().share(["amber"]).mask(VECTORS, ["birch"]).sign()
        with pytest.raises(MaskingError, match="too few hospitals signed"):
            masked().sign(["amber", "birch"]).open()
        bed = masked().sign().open(["amber", "birch"])
        with pytest.raises(MaskingError, match="shares of the secret of 'amber' are not enough"):
            bed.sum()


class TestSecrecy:
    def test_a_masked_vector_is_uniform(self) -> None:
        zeros = {name: np.zeros(100_000, dtype=np.int64) for name in NAMES}
        for words in Bed().advertise().share().mask(zeros).masked.values():
            for shift in (0, 8, 16, 24):
                counts = np.bincount(words >> shift & 255, minlength=256)
                # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6; 6 deviations.
                assert abs(((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() - 255) < 6 * 22.6

    def test_sums_of_fewer_than_all_are_uniform(self) -> None:
        zeros = {name: np.zeros(100_000, dtype=np.int64) for name in NAMES}
        bed = Bed().advertise().share().mask(zeros)
        for chosen in (NAMES, NAMES[:4], NAMES[1:3]):  # without an opened seed even the sum of all of them
            words = np.sum([bed.masked[name] for name in chosen], axis=0, dtype=np.uint32)
            counts = np.bincount(words >> 24, minlength=256)
            assert abs(((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() - 255) < 6 * 22.6

    def test_below_the_threshold_two_inputs_explain_a_transcript(self) -> None:
        """The coordinator holds a masked count and three of the four shares that a seed takes.

        Beside these it knows public keys, a digest of the seed and sealed shares, which hide what they stand for from
        anyone who cannot break X25519, SHA-256 or ChaCha20-Poly1305: no unbounded reader is meant.
        """
        one = {name: np.array([place]) for place, name in enumerate(NAMES, start=1)}
        bed = Bed().advertise().share().mask(one)
        amber = bed.sessions["amber"]
        recorded = bed.masked["amber"]
        seen = {bed.terms.point(name): bed.sessions[name]._held["amber"].seed for name in NAMES[1:4]}
        digest = roster_digest(PLACE, bed.roster.values())
        assert amber._secrets is not None
        pairs = np.zeros(1, dtype=np.uint32)
        for name in NAMES[1:]:  # amber comes first, so it adds
            pairs += stream(
                pair_mask_key(amber._secrets.mask, bed.roster[name].mask, ("amber", name), PLACE, digest), 1
            )

        def explained(seed: int) -> int:
            """The count that amber had, if this was its seed."""
            own = stream(own_mask_key(seed, PLACE, digest), 1)
            return int((recorded - own - pairs)[0])

        assert explained(amber._secrets.seed) == 1  # what it had
        # Another seed leaves another count; of 2^32 remainders, 2^20 are counts that a hospital could have had.
        other = next(seed for seed in range(10**6) if explained(seed) < 2**20)
        assert explained(other) != 1
        # And the three shares are as likely for that seed: with it they determine a polynomial, and so a fourth share.
        polynomial = {0: other, **seen}
        fourth = shamir.combine(
            {point - 1: value for point, value in polynomial.items()}
        )  # its value at amber's point, 1
        for points in ((1, 2, 3, 4), (4, 3, 2, 1)):
            assert shamir.combine({point: {**seen, 1: fourth}[point] for point in points}) == other

    def test_keys_and_masks_are_fresh_in_every_session(self) -> None:
        first, second = masked(), masked()
        assert first.roster["amber"].keys != second.roster["amber"].keys
        assert (first.masked["amber"] != second.masked["amber"]).any()
        assert (first.masked["amber"] != to_words(VECTORS["amber"])).all()


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
            (too_few_on_the_roster, "3 hospitals advertised keys and 4 must"),
            (stale_keys_of_its_own, "does not hold this hospital's key"),
        ],
    )
    def test_a_tampered_roster_ends_the_session(self, lie: Callable[[Bed], None], said: str) -> None:
        bed = Bed().advertise()
        lie(bed)
        amber = bed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.share(list(bed.roster.values()))
        assert_over(amber)

    def test_a_key_that_two_hospitals_claim_ends_the_session(self) -> None:
        bed = Bed().advertise()
        bed.roster["birch"] = signed(PLACE, "birch", bed.roster["cedar"].keys, bed.identities["birch"])
        with pytest.raises(MaskingError, match="advertised twice"):
            bed.sessions["amber"].share(list(bed.roster.values()))

    @pytest.mark.parametrize("copy", range(2))
    @pytest.mark.parametrize("names", [("m", "n", "z"), ("a", "m", "z"), ("a", "b", "m")])
    def test_a_key_copied_in_other_bytes_strips_no_mask(self, names: tuple[str, str, str], copy: int) -> None:
        """`m` colludes with the coordinator, both of whom everybody takes for honest: all seeds are opened in the end.

        Were the streams that an honest hospital shares with `m` and with the one that `m` copies the same, they would
        cancel in its vector where it stands between the two in the order of names, or in a sum of both with weights.
        """
        bed = Bed(names, dropouts=0, colluders=1).advertise()
        honest = [name for name in names if name != "m"]
        for copied in honest:
            bed = Bed(names, dropouts=0, colluders=1).advertise()
            mine = advertise(bed, "m", mask=in_other_bytes(bed.roster[copied].mask)[copy])
            digest = roster_digest(bed.place, bed.roster.values())
            points = {name: bed.terms.point(name) for name in names}
            dealt = shamir.split(mine.seed, bed.terms.threshold, list(points.values()))
            bed.sealed = {name: bed.sessions[name].share(list(bed.roster.values())) for name in honest}
            bed.sealed["m"] = {
                name: seal(Held(dealt[points[name]], 1).to_bytes(), mine.box, bed.roster[name], "m", bed.place, digest)
                for name in honest
            }
            unmasked, vectors = [], []
            for place, name in enumerate(honest):
                session = bed.sessions[name]
                session.receive(bed.for_whom(name))
                secrets = session._secrets
                assert secrets is not None
                own = stream(own_mask_key(secrets.seed, bed.place, digest), 50)  # which the coordinator is to learn
                vectors.append(np.arange(50) * (7 + place))
                unmasked.append((session.mask(vectors[-1]) - own).astype(np.int64))
            for weights in ((1, 0), (0, 1), (1, 1), (1, 2), (2, 1), (1, -1)):
                found, hidden = (sum(w * v for w, v in zip(weights, each, strict=True)) for each in (unmasked, vectors))
                assert (to_integers(np.asarray(found % 2**32, dtype=np.uint32)) != hidden).mean() > 0.9, (
                    copied,
                    weights,
                )

    def test_a_hospital_listed_twice_ends_the_session(self) -> None:
        bed = Bed().advertise()
        with pytest.raises(MaskingError, match="on the roster twice"):
            bed.sessions["amber"].share([*bed.roster.values(), bed.roster["birch"]])

    def test_different_rosters_cannot_read_each_others_shares(self) -> None:
        bed = Bed().advertise()
        whole = list(bed.roster.values())
        for name in NAMES:  # amber is told that elder is missing
            shown = [one for one in whole if one.hospital != "elder" or name != "amber"]
            bed.sealed[name] = bed.sessions[name].share(shown)
        with pytest.raises(MaskingError, match=r"'amber' were not sealed for this exchange"):
            bed.sessions["birch"].receive({name: bed.sealed[name]["birch"] for name in ("amber", "cedar", "delta")})
        with pytest.raises(MaskingError, match=r"'birch' were not sealed for this exchange"):
            bed.sessions["amber"].receive({name: bed.sealed[name]["amber"] for name in ("birch", "cedar", "delta")})


class TestShares:
    @pytest.mark.parametrize(
        ("lie", "said"),
        [
            (replayed_share, "not sealed for this"),
            (altered_share, "not sealed for this"),
            (cut_share, "not sealed for this"),
            (under_another_name, "not sealed for this"),
            (from_itself, "to itself"),
            (from_nobody, "advertised no key"),
            (too_few_shares, "3 hospitals shared their secrets and 4 must"),
        ],
    )
    def test_tampered_shares_end_the_session(self, lie: Callable[[Bed], dict[str, bytes]], said: str) -> None:
        bed = Bed().advertise().share()
        amber = bed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.receive(lie(bed))
        assert_over(amber)

    @pytest.mark.parametrize("gone", [(), ("elder",)])
    def test_one_kind_of_share_is_opened_then_all_is_forgotten(self, gone: tuple[str, ...]) -> None:
        bed = Bed().advertise().share().mask(VECTORS, gone).sign()
        held = {name: dict(session._held) for name, session in bed.sessions.items()}
        bed.open()
        for name, opened in bed.opened.items():
            for other, share in opened.items():
                mine = held[name][other]
                assert share == (mine.key if other in gone else mine.seed)
                assert mine.seed != mine.key
            session = bed.sessions[name]
            assert (session._secrets, session._held) == (None, {})
            with pytest.raises(MaskingError, match="out of order"):
                session.open(bed.signed)


class TestSurvivors:
    @pytest.mark.parametrize(
        ("survivors", "said"),
        [
            (["birch", "cedar", "delta", "elder"], "do not include this hospital"),
            (["amber", "birch", "cedar"], "3 hospitals survived and 4 must"),
            (["amber", "amber", "birch", "cedar", "delta"], "survived twice"),
            (["amber", "birch", "cedar", "delta", "fake"], "shared no secrets"),
        ],
    )
    def test_impossible_survivors_end_the_session(self, survivors: list[str], said: str) -> None:
        amber = masked().sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.sign(survivors)
        assert_over(amber)

    def test_nobody_opens_for_two_sets_of_survivors(self) -> None:
        bed = masked()
        amber = bed.sessions["amber"]
        amber.sign(NAMES)
        with pytest.raises(MaskingError, match="out of order"):
            amber.sign(NAMES[:4])
        assert_over(amber)

    def test_a_coordinator_that_splits_the_view_gets_no_sum(self) -> None:
        bed = masked()
        everyone, fewer = list(NAMES), list(NAMES[:4])  # elder's vector arrived, and it claims that it did not
        shown = {"amber": everyone, "birch": everyone, "cedar": fewer, "delta": fewer, "elder": everyone}
        signed = {name: bed.sessions[name].sign(shown[name]) for name in NAMES}
        for name in NAMES:
            with pytest.raises(MaskingError, match=r"did not sign these survivors|did not survive"):
                bed.sessions[name].open({other: signed[other] for other in NAMES if other in shown[name]})
        bed = masked()
        signed = {name: bed.sessions[name].sign(shown[name]) for name in NAMES}
        for name in NAMES:  # those who saw the same are two or three, and four must be
            with pytest.raises(MaskingError, match="too few hospitals signed"):
                bed.sessions[name].open({other: signed[other] for other in NAMES if shown[other] == shown[name]})

    @pytest.mark.parametrize(
        ("lie", "said"),
        [
            (forged_signature, "'birch' did not sign these survivors"),
            (without_its_own, "own signature is missing"),
            (signature_of_another_phase, "'birch' did not sign these survivors"),
        ],
    )
    def test_wrong_signatures_open_nothing(self, lie: Callable[[Bed], dict[str, bytes]], said: str) -> None:
        bed = masked().sign()
        amber = bed.sessions["amber"]
        with pytest.raises(MaskingError, match=said):
            amber.open(lie(bed))
        assert_over(amber)

    def test_colluders_who_sign_twice_cannot_open_two_sets(self) -> None:
        """Two of seven sign whatever the coordinator likes; five are honest, and five must sign (2 x 5 > 7 + 2)."""
        names = tuple("abcdefg")
        vectors = {name: np.array([1]) for name in names}
        bed = Bed(names, dropouts=2, colluders=2).advertise().share().mask(vectors)
        everyone, fewer = names, ("a", "c", "d", "f", "g")  # b and e were "lost"; f and g collude
        honest = {"a": everyone, "b": everyone, "c": fewer, "d": fewer, "e": everyone}
        signed = {name: bed.sessions[name].sign(shown) for name, shown in honest.items()}
        for shown in (everyone, fewer):
            helpers = {}
            for name in ("f", "g"):  # they sign whatever they are asked to
                text = bed.sessions["a"].place.text(
                    "survivors",
                    roster=roster_digest(PLACE, bed.roster.values()),
                    sharers=",".join(names),
                    survivors=",".join(sorted(shown)),
                )
                helpers[name] = bed.identities[name].sign(text)
            mine = {name: one for name, one in signed.items() if honest[name] == shown} | helpers
            for name in [name for name in honest if honest[name] == shown]:
                assert len(mine) == (5 if shown == everyone else 4)
                if shown == everyone:  # a, b and e with f and g: this one set is opened
                    bed.sessions[name].open(mine)
                else:  # and the other is not: c and d with f and g are four
                    with pytest.raises(MaskingError, match="too few hospitals signed"):
                        bed.sessions[name].open(mine)


class TestSteps:
    def test_steps_go_forward_only(self) -> None:
        amber = Bed().sessions["amber"]
        with pytest.raises(MaskingError, match="the step to masked was asked for out of order"):
            amber.mask(VECTORS["amber"])
        assert_over(amber)

    def test_one_vector_is_masked_once(self) -> None:
        amber = masked().sessions["amber"]
        with pytest.raises(MaskingError, match="out of order"):
            amber.mask(VECTORS["amber"])


class TestTerms:
    @pytest.mark.parametrize(
        ("hospitals", "dropouts", "colluders", "is_safe"),
        [
            (3, 0, 1, True),  # 2 x 3 > 3 + 1
            (3, 1, 1, False),  # 2 x 2 = 3 + 1: three hospitals tolerate no dropout
            (4, 1, 1, True),  # 2 x 3 > 4 + 1
            (4, 1, 2, False),  # 2 x 3 = 4 + 2
            (5, 2, 1, False),  # 2 x 3 = 5 + 1
            (25, 5, 5, True),  # 2 x 20 > 30
        ],
    )
    def test_a_threshold_that_opens_two_sums_is_refused(
        self, hospitals: int, dropouts: int, colluders: int, is_safe: bool
    ) -> None:
        def terms() -> Terms:
            stay = hospitals - dropouts
            return Terms({f"h{number:02d}": f"key {number}" for number in range(hospitals)}, stay, stay, colluders)

        if is_safe:
            assert terms().threshold == hospitals - dropouts
        else:
            with pytest.raises(StudyError, match="lower dropouts or list more hospitals"):
                terms()

    def test_a_threshold_that_dropouts_could_miss_is_refused(self) -> None:
        with pytest.raises(StudyError, match="5 hospitals open a sum and 4 of 5 are sure to stay"):
            Terms({name: f"key of {name}" for name in NAMES}, 4, 5, 1)

    def test_repeated_keys_are_refused(self) -> None:
        keys = {name: Identity.simulated(1, name).public for name in ("a", "b", "c")}
        with pytest.raises(StudyError, match="'a' and 'c' list the same identity"):
            Terms({**keys, "c": keys["a"]}, 3, 3, 1)
        facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in keys)
        study = clinic_study(privacy={"noise": "distributed"}, federation={"coordinator": keys["b"]}).with_hospitals(
            facts
        )
        with pytest.raises(StudyError, match="the coordinator's key is the identity of 'b'"):
            Terms.of(study, keys)
