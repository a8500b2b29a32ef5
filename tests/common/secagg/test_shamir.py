from __future__ import annotations

import itertools

import pytest

from common.secagg import shamir
from common.secagg.shamir import PRIME, combine, evaluate, split

SECRET = 0x8BA9BBA2E0FD8C4767154D35A0B7562244A4AAF6F36C8FB8735FA48B301BD8DE
SLOPE = 0x80F25E6C0709353E46BFBE882A11BDBB1F8097E46340EB8673B7E14556E6C3A4
SHARES = {
    1: 0x0C9C1A0FE806C184ADD50BBDCAC913DDA73E482DAF95DCB9F35DBB0D8A9F7731,
    2: 0x8D8E787BEF0FF6C2F494CA45F4DAD198C6BEE01212D6C84067159C52E1863AD5,
    3: 0x0E80D6E8F6192C003B5488CE1EEC8F5429587D48CF001541E713B2D53C09D928,
}
"""RFC 9591, appendix E.4, FROST(P-256, SHA-256): any two of three participants' shares give the group's secret key."""


def _through(values: dict[int, int], at: int) -> int:
    """Lagrange at any point: the test's own way, by moving the origin."""
    return combine({point - at: value for point, value in values.items()})


class TestPublishedVectors:
    def test_the_polynomial_gives_the_shares(self) -> None:
        assert {point: evaluate([SECRET, SLOPE], point) for point in SHARES} == SHARES

    @pytest.mark.parametrize("pair", list(itertools.combinations(SHARES, 2)))
    def test_any_two_shares_give_the_secret(self, pair: tuple[int, int]) -> None:
        assert combine({point: SHARES[point] for point in pair}) == SECRET


class TestSecrecy:
    def test_a_threshold_of_shares_is_needed(self) -> None:
        shares = split(4711, 3, [1, 2, 3, 5, 8])
        for points in itertools.combinations(shares, 3):
            assert combine({point: shares[point] for point in points}) == 4711
        for pair in itertools.combinations(shares, 2):  # right by chance in one of 2^256 cases
            assert combine({point: shares[point] for point in pair}) != 4711

    def test_fewer_shares_fit_every_secret(self) -> None:
        # Two shares of a polynomial of degree 2: through them and any value at 0 goes exactly one such polynomial.
        shares = split(4711, 3, [1, 2, 3])
        for secret in (0, 1, 4711, PRIME - 1):
            with_secret = {0: secret, 1: shares[1], 2: shares[2]}
            third = _through(with_secret, 3)
            assert combine({1: shares[1], 2: shares[2], 3: third}) == secret

    def test_two_splits_of_one_secret_are_unrelated(self) -> None:
        first, second = split(7, 2, [1, 2]), split(7, 2, [1, 2])
        assert first[1] != second[1]

    def test_a_threshold_of_one_hands_out_the_secret(self) -> None:
        assert split(7, 1, [1, 2]) == {1: 7, 2: 7}


class TestValues:
    @pytest.mark.parametrize(
        ("secret", "threshold", "points"),
        [(PRIME, 1, [1]), (-1, 1, [1]), (7, 3, [1, 2]), (7, 0, [1, 2]), (7, 2, [1, 1]), (7, 2, [0, 1])],
    )
    def test_what_cannot_be_shared_is_refused(self, secret: int, threshold: int, points: list[int]) -> None:
        with pytest.raises(ValueError, match=r"secret|threshold|points"):
            split(secret, threshold, points)

    def test_a_share_has_32_bytes_and_comes_back(self) -> None:
        assert shamir.from_bytes(shamir.to_bytes(SHARES[1])) == SHARES[1]
        for data in (b"", bytes(31), bytes(33), b"\xff" * 32):  # the last is above the prime
            with pytest.raises(ValueError, match="not a share"):
                shamir.from_bytes(data)
