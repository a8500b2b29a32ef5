"""The sum under the masks: rebuilds each survivor's own mask, and what those who dropped out left in the others'.

The coordinator learns nothing else from the shares. A wrong share is found out: a rebuilt seed or key must be the one
that its hospital advertised.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from common.arrays import Integers, Words
from common.errors import MaskingError
from common.secagg import shamir
from common.secagg.keys import Advertisement, Place, digest_of, own_mask_key, pair_mask_key, public_of, roster_digest
from common.secagg.masks import stream, to_integers
from common.secagg.terms import Terms

TRIES = 2000
"""Choices of shares that are tried for one secret where some are wrong: enough, but for one time in 4,000, where one
choice in 240 holds no wrong one (25 hospitals, all open, 20 must, 3 of them wrongly)."""


def unmask(
    place: Place,
    terms: Terms,
    roster: Mapping[str, Advertisement],
    sharers: Sequence[str],
    masked: Mapping[str, Words],
    opened: Mapping[str, Mapping[str, int]],
) -> Integers:
    """The sum of the survivors' vectors.

    Args:
        sharers: the hospitals that were masked against each other.
        masked: the vector of each survivor.
        opened: by hospital that opened: its share of every sharer's secret.

    Raises:
        MaskingError: the shares do not give the secrets that were advertised.
    """
    digest, good = roster_digest(place, roster.values()), sorted(terms.point(holder) for holder in opened)
    total: Words = np.asarray(np.sum(list(masked.values()), axis=0, dtype=np.uint32))
    for name in sharers:
        shares = {terms.point(holder): given[name] for holder, given in opened.items()}
        if name in masked:
            seed, good = _rebuild(shares, terms.threshold, good, digest_of, roster[name].seed_digest, name)
            total -= stream(own_mask_key(seed, place, digest), len(total))
            continue
        private, good = _rebuild(shares, terms.threshold, good, public_of, roster[name].mask, name)
        for other in masked:
            left = stream(pair_mask_key(private, roster[other].mask, (name, other), place, digest), len(total))
            if other < name:  # as in `Session.mask`: it added the stream
                total -= left
            else:
                total += left
    return to_integers(total)


def _rebuild(
    shares: Mapping[int, int],
    threshold: int,
    good: Sequence[int],
    public: Callable[[int], bytes],
    advertised: bytes,
    name: str,
) -> tuple[int, list[int]]:
    """The secret whose public form was advertised, and all points with those first that gave it.

    Args:
        good: the points, those first that gave the secret before.
    """
    for choice in itertools.islice(_choices(good, threshold), TRIES):
        secret = shamir.combine({point: shares[point] for point in choice})
        if public(secret) == advertised:
            return secret, [*choice, *(point for point in good if point not in choice)]
    raise MaskingError(f"the shares of the secret of '{name}' are not enough, or wrong")


def _choices(points: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Sets of that size: the first points; windows around the circle, of which one leaves any one point out; any."""
    if len(points) == size:
        yield points
    if len(points) <= size:
        return
    twice = [*points, *points]
    yield from (twice[start : start + size] for start in range(len(points)))
    draws = random.Random(0)  # noqa: S311 which of them is tried first is nobody's secret
    while True:
        yield draws.sample(points, size)
