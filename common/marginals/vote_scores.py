"""Which sets of three and four columns the votes contradict the model in. All of it is post-processing.

V are the noisy votes, and E the proportion of each candidate's votes under the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Floats, Integers

LEAST_Z = 4.0
"""Standard deviations. Sets below are chance: of 6,000 sets, a fifth of one is above."""

LEAST_PROPORTION = 0.05
"""Proportion. No group counts as rarer: few candidates and patients say nothing of it."""

SIZES = (3, 4)
"""Columns of a set."""


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What the hospitals' patients voted for, and what the model expects.

    Args:
        candidates: rows of groups, (candidates, columns).
        votes: noisy sums over hospitals, (candidates,).
        sigma: standard deviation of their noise.
        expected: votes of rows of the model, (candidates,).
    """

    candidates: Integers
    votes: Integers
    sigma: float
    expected: Integers

    def deviations(self) -> tuple[Floats, Floats]:
        """Return V - n E and its variance v, by candidate. The patients n are estimated from the votes themselves.

            v = sigma^2 + n' E (1 + n' / m),      n = (sum V E / v) / (sum E^2 / v)

        with n' the sum of all votes and m the number of model rows: noise, patients and model rows vary independently.
        """
        rows = float(self.expected.sum())
        proportions = self.expected / rows
        about = max(1.0, float(self.votes.sum()))
        variances = self.sigma**2 + about * proportions * (1 + about / rows) + 1e-9
        patients = (self.votes * proportions / variances).sum() / (proportions**2 / variances).sum()
        return self.votes - max(patients, 0.0) * proportions, variances


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """A set of columns, in increasing order, and how clearly the votes contradict the model in it."""

    columns: tuple[int, ...]
    z: float


def choose_sets(votes: Votes, most: int) -> tuple[ScoredSet, ...]:
    """Return the sets to count, the clearest first: those above `LEAST_Z` that no smaller set explains.

    A set of four is explained where three of its columns are chosen that contradict the model more clearly.

    Args:
        votes: noisy and expected votes.
        most: number of sets at most.
    """
    chosen: list[ScoredSet] = []
    for scored in score_sets(votes):
        is_explained = any(other.z >= scored.z and set(other.columns) < set(scored.columns) for other in chosen)
        if scored.z > LEAST_Z and not is_explained:
            chosen.append(scored)
    return tuple(sorted(chosen, key=lambda scored: -scored.z)[:most])


def score_sets(votes: Votes) -> tuple[ScoredSet, ...]:
    """Return all sets of three columns and then of four with their z; columns of one group are in none."""
    deviations, variances = votes.deviations()
    sizes = votes.candidates.max(axis=0) + 1
    columns = np.flatnonzero(sizes > 1).tolist()
    proportions = {column: _proportions(votes, column) for column in columns}
    scored = []
    for size in SIZES:
        for chosen in combinations(columns, size):
            shape = [int(sizes[column]) for column in chosen]
            cells = np.ravel_multi_index(tuple(votes.candidates[:, column] for column in chosen), shape)
            length = int(np.prod(shape))
            table = np.bincount(cells, deviations, length).astype(np.float64).reshape(shape)
            variance = np.bincount(cells, variances, length).astype(np.float64).reshape(shape)
            scored.append(ScoredSet(chosen, _z(table, variance, [proportions[column] for column in chosen])))
    return tuple(scored)


def _proportions(votes: Votes, column: int) -> Floats:
    """Return q, the proportions of a column's groups by the expected votes, none below `LEAST_PROPORTION`."""
    masses = np.bincount(votes.candidates[:, column], weights=votes.expected)
    raised = np.maximum(masses / masses.sum(), LEAST_PROPORTION)
    return np.asarray(raised / raised.sum())


def _z(table: Floats, variance: Floats, proportions: Sequence[Floats]) -> float:
    """Return z of one set: how far its table of votes is from what fewer of its columns explain.

    The table T adds up the deviations V - n E of the candidates by their groups. With q the groups' proportions of a
    column and P their products, what fewer columns explain is taken out along every axis, and what is left is measured
    in units of P:

        A = I - q 1^T along every axis,      Q = sum (A T)^2 / P

    Under the model, T has independent entries of variance v. With w = v / P,

        E[Q] = sum w prod (1 - q),      Var[Q] = 2 w^T (B o B) w,      B = I - sqrt(q) sqrt(q)^T along every axis

    and Q / E[Q] is about a chi-square of f = 2 E[Q]^2 / Var[Q] degrees of freedom over f. Its cube root is about normal
    (Wilson and Hilferty 1931):

        z = ((Q / E[Q])^(1/3) - (1 - 2 / (9 f))) / sqrt(2 / (9 f))

    Args:
        table: T, one axis of groups for each column.
        variance: v, the same shape.
        proportions: q of each axis.
    """
    weights = variance
    for axis, q in enumerate(proportions):
        along = np.expand_dims(q, tuple(other for other in range(table.ndim) if other != axis))
        table = table - along * table.sum(axis, keepdims=True)  # A T
        weights = weights / along  # w = v / P
    product, expected, spread = np.ones(()), weights, weights
    for axis, q in enumerate(proportions):
        product = np.multiply.outer(product, q)  # P
        along = np.expand_dims(q, tuple(other for other in range(table.ndim) if other != axis))
        expected = expected * (1 - along)
        # B o B is (1 - q)^2 on the diagonal and q_i q_j beside it.
        spread = (1 - 2 * along) * spread + along * (along * spread).sum(axis, keepdims=True)
    mean, var = float(expected.sum()), 2 * float((weights * spread).sum())
    ratio = float((table**2 / product).sum()) / mean
    freedom = 2 * mean**2 / var
    return float((np.cbrt(ratio) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom)))
