"""Unmask a sum: rebuild each survivor's own mask, and the dropouts' masks in the other vectors.

The coordinator learns nothing else from the shares. A wrong share is detected: a rebuilt seed or key must be the one
that its hospital advertised.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.arrays import Integers, Words
from common.errors import MaskingError
from common.secagg import shamir
from common.secagg.keys import Advertisement, Context, digest_of, own_mask_key, pair_mask_key, public_of, roster_digest
from common.secagg.terms import Terms
from common.secagg.words import stream, to_integers

TRIES = 2000
"""Largest number of choices of shares that are tried for one secret where some are wrong. With 25 hospitals that all
open, 20 that must and 3 wrong shares, one choice in 240 holds no wrong one: this fails once in 4,000 times."""


@dataclass(frozen=True, slots=True, eq=False)
class Transcript:
    """What the coordinator holds of one masked vector when all exchanges are over.

    Attributes:
        context: context of the masked vectors.
        terms: gives the threshold and every hospital's point.
        roster: the advertised keys, by hospital.
        sharers: the hospitals that were masked against each other.
        masked: the masked vector of each survivor.
        opened: shares of every sharer's secret, by the hospital that opened them.
    """

    context: Context
    terms: Terms
    roster: Mapping[str, Advertisement]
    sharers: Sequence[str]
    masked: Mapping[str, Words]
    opened: Mapping[str, Mapping[str, int]]

    def shares(self, name: str) -> dict[int, int]:
        """Return the opened shares of one hospital's secret, by point."""
        return {self.terms.point(holder): shares[name] for holder, shares in self.opened.items()}


def unmask(transcript: Transcript) -> Integers:
    """Return the sum of the survivors' vectors, int64, as long as they are.

    Raises:
        MaskingError: the shares do not give the secrets that were advertised.
    """
    context, roster, masked = transcript.context, transcript.roster, transcript.masked
    digest, threshold = roster_digest(context, roster.values()), transcript.terms.threshold
    good = sorted(transcript.terms.point(holder) for holder in transcript.opened)
    total: Words = np.asarray(np.sum(list(masked.values()), axis=0, dtype=np.uint32))
    for name in transcript.sharers:
        shares, advertised = transcript.shares(name), roster[name]
        if name in masked:
            is_seed = partial(_has_form, digest_of, advertised.seed_digest)
            seed, good = _rebuild(shares, threshold, good, is_seed, name)
            total -= stream(own_mask_key(seed, context, digest), len(total))
            continue
        private, good = _rebuild(shares, threshold, good, partial(_has_form, public_of, advertised.mask), name)
        for other in masked:
            leftover = stream(pair_mask_key(private, roster[other].mask, (name, other), context, digest), len(total))
            if other < name:  # as in `Session.mask`: the first of two names added the stream
                total -= leftover
            else:
                total += leftover
    return to_integers(total)


def _has_form(public: Callable[[int], bytes], advertised: bytes, secret: int) -> bool:
    """Return whether the public form of a secret is the advertised one."""
    return public(secret) == advertised


def _rebuild(
    shares: Mapping[int, int], threshold: int, good: Sequence[int], is_advertised: Callable[[int], bool], name: str
) -> tuple[int, list[int]]:
    """Return the secret whose public form was advertised, and all points, those that gave it first.

    Args:
        shares: shares of the secret, by point.
        threshold: number of shares that give it.
        good: the points, those that gave an earlier secret first.
        is_advertised: whether a secret has the public form that was advertised.
        name: name of the hospital whose secret it is.

    Raises:
        MaskingError: none of the tried choices of shares gives it.
    """
    for choice in itertools.islice(_choices(good, threshold), TRIES):
        secret = shamir.combine({point: shares[point] for point in choice})
        if is_advertised(secret):
            return secret, [*choice, *(point for point in good if point not in choice)]
    raise MaskingError(f"the shares of the secret of '{name}' are too few, or wrong")


def _choices(points: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Yield sets of that size: the first points, then windows around the circle (one leaves out any one), then any."""
    if len(points) == size:
        yield points
    if len(points) <= size:
        return
    twice = [*points, *points]
    yield from (twice[start : start + size] for start in range(len(points)))
    draws = random.Random(0)  # noqa: S311 the order of the trials is not secret
    while True:
        yield draws.sample(points, size)
