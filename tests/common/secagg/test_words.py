from __future__ import annotations

import numpy as np

from common.secagg.words import MOST, stream, to_integers, to_words


class TestWords:
    def test_integers_come_back_from_their_remainders(self) -> None:
        vector = np.array([0, 1, -1, MOST, -MOST, 12345], dtype=np.int64)
        np.testing.assert_array_equal(to_integers(to_words(vector)), vector)
        np.testing.assert_array_equal(to_words(np.array([-1, 2**32 + 5])), [2**32 - 1, 5])

    def test_sums_of_remainders_are_remainders_of_sums(self) -> None:
        # 3 x 700,000,000 = 2,100,000,000 < 2^31 = 2,147,483,648.
        large = np.full(3, 700_000_000, dtype=np.int64)
        words = to_words(large) + to_words(large) + to_words(large)
        np.testing.assert_array_equal(to_integers(words), 3 * large)


class TestStream:
    def test_it_is_chacha20(self) -> None:
        # RFC 8439, appendix A.1, test vector 1: key, nonce and counter all zero.
        expected = bytes.fromhex(
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
            "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        )
        assert stream(bytes(32), 16).astype("<u4").tobytes() == expected

    def test_it_is_uniform_and_differs_by_key(self) -> None:
        ours = stream(b"k" * 32, 100_000)
        counts = np.bincount(ours >> 24, minlength=256)
        # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6; 6 deviations.
        assert abs(((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() - 255) < 6 * 22.6
        assert (ours != stream(b"l" * 32, 100_000)).mean() > 0.999
