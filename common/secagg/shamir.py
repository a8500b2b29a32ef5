"""Shamir's secret sharing: any `threshold` shares give the secret; fewer are independent of it.

Shamir 1979, "How to share a secret". The field is that of the integers modulo the order of the NIST P-256 group, since
RFC 9591 (appendix E.4) publishes shares over it; any prime above 2^255 would do.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

PRIME = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the NIST P-256 group: secrets and shares are integers below it."""

SHARE_BYTES = 32
"""Bytes of a share."""

Shares = dict[int, int]
"""Values of the polynomial by the point at which it was evaluated; never at 0, where the secret is."""


def evaluate(coefficients: Sequence[int], point: int) -> int:
    """Return the polynomial's value by Horner's rule, modulo `PRIME`.

    Args:
        coefficients: coefficients of the polynomial, lowest power first.
        point: point at which to evaluate the polynomial.
    """
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % PRIME
    return value


def split(secret: int, threshold: int, points: Sequence[int]) -> Shares:
    """Return one share for each point, of which any `threshold` give the secret.

        share(x) = secret + c_1 x + ... + c_(threshold - 1) x^(threshold - 1)    modulo `PRIME`

    with coefficients from the operating system's random source. Source: Shamir 1979.

    Args:
        secret: an element of the field.
        threshold: how many shares are needed.
        points: one for each holder; distinct, and never 0.

    Raises:
        ValueError: the secret is outside the field, the points repeat or hold 0, or are fewer than the threshold.
    """
    if not 0 <= secret < PRIME:
        raise ValueError("the secret is not an element of the field")
    if len(set(points)) < len(points) or not all(0 < point < PRIME for point in points):
        raise ValueError("points are distinct and lie between 0 and the prime")
    if not 1 <= threshold <= len(points):
        raise ValueError(f"threshold={threshold} is not between 1 and the number of points, {len(points)}")
    coefficients = [secret, *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {point: evaluate(coefficients, point) for point in points}


def combine(shares: Mapping[int, int]) -> int:
    """Return the secret, by Lagrange interpolation at 0. Wrong shares give a wrong secret without an error.

    secret = sum_i s_i prod_(j != i) x_j / (x_j - x_i)    modulo `PRIME`
    """
    secret = 0
    for point, share in shares.items():
        above, below = 1, 1
        for other in shares:
            if other != point:
                above = above * other % PRIME
                below = below * (other - point) % PRIME
        secret = (secret + share * above * pow(below, -1, PRIME)) % PRIME
    return secret


def to_bytes(share: int) -> bytes:
    """Return the share in 32 bytes, highest first."""
    return share.to_bytes(SHARE_BYTES)


def from_bytes(data: bytes) -> int:
    """Return the share in 32 bytes. Raises `ValueError` if they are not 32, or not an element of the field."""
    value = int.from_bytes(data)
    if len(data) != SHARE_BYTES or value >= PRIME:
        raise ValueError("these bytes are not a share")
    return value
