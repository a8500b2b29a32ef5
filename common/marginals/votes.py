"""Votes: each patient adds one to the candidate row that is most like them.

A candidate is a row of groups of codes (`Domain.groups`, at most `VOTE_GROUPS` a column). The distance of a patient
from a candidate is the sum of the weights of the columns in which their groups differ (weighted Hamming distance).
Whom a patient votes for is a public function of the patient's own codes, the candidates and the domain:

- It does not depend on other patients or their order, so adding or removing a patient changes one entry, by one.
- The server computes the same function for rows of its model, which gives the votes that the model expects.

Among the nearest candidates a hash of both rows decides, keyed by all candidates: no position is preferred.
"""

from __future__ import annotations

import hashlib

import numpy as np

from common.arrays import Array, Floats, Integers
from common.columns.base import Codes
from common.errors import WireError
from common.marginals.hashing import mixed, row_hashes
from common.marginals.queries import Domain, Query

VOTE_GROUPS = 4
"""Groups of a column, missing not counted. Coarser rows have more patients near them."""

MOST_CANDIDATES = 4000
"""Rows. More resolve more columns, and spread the patients over more noise."""

WEIGHT_UNIT = 16
"""Weight of a column in which two independent rows always differ."""

HEAVIEST_COLUMN = 8 * WEIGHT_UNIT
"""Largest weight of a column: a column that hardly varies must not decide alone."""

BLOCK = 512
"""Rows whose agreement with all candidates is computed at once."""

HASHED = 16
"""Rows whose hashes with all candidates are computed at once: half a megabyte stays in the processor's cache."""

LARGEST = np.uint64(2**64 - 1)
"""Stands in the place of the hash of a candidate that is not among the nearest."""


def sizes(domain: Domain) -> tuple[int, ...]:
    """Return the number of groups of each column."""
    return domain.shape(Query(tuple(range(len(domain.sizes))), VOTE_GROUPS))


def grouped(codes: Codes, domain: Domain) -> Integers:
    """Return the groups of rows of codes, int64, the same shape."""
    columns = [domain.groups(column, VOTE_GROUPS)[codes[:, column]] for column in range(codes.shape[1])]
    return np.stack(columns, axis=1).astype(np.int64)


def draw_candidates(rows: Codes, domain: Domain) -> Integers:
    """Return the first `MOST_CANDIDATES` different rows of groups among these rows, shape (candidates, columns)."""
    different = np.unique(grouped(rows, domain), axis=0, return_index=True)[1]
    return grouped(rows[np.sort(different)[:MOST_CANDIDATES]], domain)


def read_candidates(flat: Array, domain: Domain) -> Integers:
    """Return the candidates that a request holds, shape (candidates, columns).

    Args:
        flat: groups of one candidate after the other, int64.
        domain: codes of every column.

    Raises:
        WireError: there are none or too many, or they are not rows of groups of this domain.
    """
    width = len(domain.sizes)
    if not len(flat) or len(flat) % width or len(flat) > MOST_CANDIDATES * width:
        raise WireError(f"the request does not hold 1 to {MOST_CANDIDATES} candidates of all columns")
    candidates = flat.reshape(-1, width)
    if (candidates < 0).any() or (candidates >= np.array(sizes(domain))).any():
        raise WireError("a candidate holds a group that its column does not have")
    return candidates


def column_weights(domain: Domain) -> Integers:
    """Return the weight of every column, int64: the inverse of how often two independent rows differ in it.

        w = 16 / (1 - sum p^2), rounded, at most 128,    p = proportions of the groups by the released histograms

    Whole numbers: distances and ties are then the same on every machine.
    """
    weights = []
    for column, size in enumerate(domain.sizes):
        masses = np.asarray(domain.masses[column] if domain.masses else (1.0,) * size)
        proportions = np.bincount(domain.groups(column, VOTE_GROUPS), weights=masses) / masses.sum()
        differ = 1 - float((proportions**2).sum())
        weights.append(round(min(HEAVIEST_COLUMN, WEIGHT_UNIT / max(differ, 1e-9))))
    return np.array(weights, dtype=np.int64)


def count_votes(codes: Codes, candidates: Integers, domain: Domain) -> Integers:
    """Return how many rows vote for each candidate, int64, shape (candidates,).

    One row more adds one to exactly one entry.

    Args:
        codes: rows of codes, (rows, columns).
        candidates: rows of groups, (candidates, columns).
        domain: codes of every column.
    """
    return np.bincount(nearest(codes, candidates, domain), minlength=len(candidates)).astype(np.int64)


def nearest(codes: Codes, candidates: Integers, domain: Domain) -> Integers:
    """Return the number of the candidate that each row votes for, shape (rows,); see `count_votes`.

    Args:
        codes: encoded rows, int16, shape (rows, columns).
        candidates: rows of the model in groups of codes, shape (candidates, columns).
        domain: number of codes of each column.
    """
    key = int.from_bytes(hashlib.sha256(np.ascontiguousarray(candidates, dtype="<i8").tobytes()).digest()[:8])
    weights, starts = column_weights(domain), np.cumsum([0, *sizes(domain)])
    targets = _one_hot(candidates, starts, np.ones(len(weights)))
    hashes = row_hashes(candidates, key)
    chosen = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        rows = grouped(codes[start : start + BLOCK], domain)
        agreement = _one_hot(rows, starts, weights) @ targets.T  # whole numbers below 2^24: exact
        own = row_hashes(rows, ~key)
        for first in range(0, len(rows), HASHED):
            part = slice(first, first + HASHED)
            chosen[start : start + BLOCK][part] = _best(agreement[part], own[part], hashes)
    return chosen


def _one_hot(rows: Integers, starts: Integers, weights: Array) -> Floats:
    """Return every column's weight at the row's group, (rows, groups of all columns), float32."""
    hot = np.zeros((len(rows), starts[-1]), dtype=np.float32)
    hot[np.arange(len(rows))[:, None], rows + starts[:-1]] = weights
    return hot


def _best(agreement: Floats, rows: Array, candidates: Array) -> Integers:
    """Return the candidate of largest agreement with each row, of several the one of the smallest hash of both.

    Every row takes the same operations on all candidates, without a branch: how many of them tie depends on what is in
    a record, and how long this takes must not.
    """
    falls_short = agreement != agreement.max(axis=1, keepdims=True)
    hashes = mixed(rows[:, None] ^ candidates) >> np.uint64(1)  # below `LARGEST`, so that it stands for no hash
    hashes |= falls_short * LARGEST
    return np.asarray(hashes.argmin(axis=1))
