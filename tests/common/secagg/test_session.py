"""Honest sessions with one another: the exact sum, who may drop out, and what stays secret."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import MaskingError
from common.secagg import shamir
from common.secagg.keys import (
    own_mask_key,
    pair_mask_key,
    roster_digest,
)
from common.secagg.session import Held
from common.secagg.words import stream, to_words
from tests.testbeds.masking import CONTEXT, NAMES, VECTORS, MaskingTestbed, assert_over, masked


class TestSum:
    def test_the_coordinator_gets_the_exact_sum(self) -> None:
        np.testing.assert_array_equal(masked().sign().open().sum(), [15, -15, 15 * 10**6, 0])

    @pytest.mark.parametrize("step", ["advertise", "share", "mask", "sign", "open"])
    @pytest.mark.parametrize("who", NAMES)
    def test_a_dropout_at_any_step_costs_its_own_vector_only(self, step: str, who: str) -> None:
        gone: dict[str, tuple[str, ...]] = dict.fromkeys(("advertise", "share", "mask", "sign", "open"), ())
        gone[step] = (who,)
        testbed = MaskingTestbed().advertise(gone["advertise"]).share(gone["share"]).mask(VECTORS, gone["mask"])
        found = testbed.sign(gone["sign"]).open(gone["open"]).sum()
        # Whoever vanishes after its vector arrived is in the sum.
        left = [name for name in NAMES if name != who or step in ("sign", "open")]
        np.testing.assert_array_equal(found, np.sum([VECTORS[name] for name in left], axis=0))

    def test_wrong_shares_are_detected_and_left_out(self) -> None:
        names = tuple(f"h{index:02d}" for index in range(13))
        testbed = MaskingTestbed(names, dropouts=4, colluders=2).advertise().share()
        testbed.mask({name: np.array([1]) for name in names}, missing=["h05"]).sign().open()
        for bad in ("h00", "h06"):  # further apart than any window of nine leaves out
            testbed.opened[bad] = {name: (share + 1) % shamir.PRIME for name, share in testbed.opened[bad].items()}
        assert testbed.sum() == [12]
        for bad in ("h01", "h02", "h03"):  # seven are right, and nine are needed
            testbed.opened[bad] = testbed.opened["h00"]
        with pytest.raises(MaskingError, match="are too few, or wrong"):
            testbed.sum()

    def test_two_of_seven_may_drop_out_at_different_steps(self) -> None:
        names = tuple("abcdefg")  # 2 x 5 > 7 + 1
        vectors = {name: np.array([2**index]) for index, name in enumerate(names)}
        testbed = MaskingTestbed(names, dropouts=2).advertise(["a"]).share().mask(vectors, ["d"]).sign().open()
        np.testing.assert_array_equal(testbed.sum(), [127 - 1 - 8])

    def test_one_dropout_too_many_opens_nothing(self) -> None:
        with pytest.raises(MaskingError, match="3 hospitals advertised keys and 4 are required"):
            MaskingTestbed().advertise(["amber", "birch"]).share()
        with pytest.raises(MaskingError, match="3 hospitals shared their secrets and 4 are required"):
            MaskingTestbed().advertise(["amber"]).share(["birch"]).mask(VECTORS)
        with pytest.raises(MaskingError, match="3 hospitals survived and 4 are required"):
            MaskingTestbed().advertise().share(["amber"]).mask(VECTORS, ["birch"]).sign()
        with pytest.raises(MaskingError, match="too few hospitals signed"):
            masked().sign(["amber", "birch"]).open()
        testbed = masked().sign().open(["amber", "birch"])
        with pytest.raises(MaskingError, match="shares of the secret of 'amber' are too few"):
            testbed.sum()


class TestSecrecy:
    def test_a_masked_vector_is_uniform(self) -> None:
        zeros = {name: np.zeros(100_000, dtype=np.int64) for name in NAMES}
        for words in MaskingTestbed().advertise().share().mask(zeros).masked.values():
            for shift in (0, 8, 16, 24):
                counts = np.bincount(words >> shift & 255, minlength=256)
                # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6; 6 deviations.
                assert abs(((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() - 255) < 6 * 22.6

    def test_sums_of_fewer_than_all_are_uniform(self) -> None:
        zeros = {name: np.zeros(100_000, dtype=np.int64) for name in NAMES}
        testbed = MaskingTestbed().advertise().share().mask(zeros)
        for chosen in (NAMES, NAMES[:4], NAMES[1:3]):  # without an opened seed even the sum of all of them
            words = np.sum([testbed.masked[name] for name in chosen], axis=0, dtype=np.uint32)
            counts = np.bincount(words >> 24, minlength=256)
            assert abs(((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() - 255) < 6 * 22.6

    def test_below_the_threshold_two_inputs_explain_a_transcript(self) -> None:
        """The coordinator holds a masked count and three of the four shares that a seed takes.

        Beside these it knows public keys, a digest of the seed and encrypted shares, which hide what they stand for
        from anyone who cannot break X25519, SHA-256 or ChaCha20-Poly1305: no unbounded reader is meant.
        """
        one = {name: np.array([index]) for index, name in enumerate(NAMES, start=1)}
        testbed = MaskingTestbed().advertise().share().mask(one)
        amber = testbed.sessions["amber"]
        recorded = testbed.masked["amber"]
        seen = {testbed.terms.point(name): testbed.sessions[name]._held["amber"].seed for name in NAMES[1:4]}
        digest = roster_digest(CONTEXT, testbed.roster.values())
        assert amber._secrets is not None
        pairs = np.zeros(1, dtype=np.uint32)
        for name in NAMES[1:]:  # amber comes first, so it adds
            pairs += stream(
                pair_mask_key(amber._secrets.mask, testbed.roster[name].mask, ("amber", name), CONTEXT, digest), 1
            )

        def explained(seed: int) -> int:
            """The count that amber had, if this was its seed."""
            own = stream(own_mask_key(seed, CONTEXT, digest), 1)
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


class TestHeld:
    @pytest.mark.parametrize("content", [b"", bytes(63), b"\xff" * 64])
    def test_bytes_that_are_no_pair_of_shares_are_refused(self, content: bytes) -> None:
        with pytest.raises(MaskingError, match="'birch' encrypted something other than a pair of shares"):
            Held.from_bytes(content, "birch")


class TestSteps:
    def test_steps_go_forward_only(self) -> None:
        amber = MaskingTestbed().sessions["amber"]
        with pytest.raises(MaskingError, match="the step to masked was requested out of order"):
            amber.mask(VECTORS["amber"])
        assert_over(amber)

    def test_one_vector_is_masked_once(self) -> None:
        amber = masked().sessions["amber"]
        with pytest.raises(MaskingError, match="out of order"):
            amber.mask(VECTORS["amber"])
