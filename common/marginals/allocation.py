"""How precisely each table is worth counting, and which triples: from noisy tables alone, so post-processing.

A vector of tables spends a total of precision: table t costs its sensitivity factor s_t times its precision x_t, the
inverse variance of a cell's proportion. After the next count, a cell's error is expected to be

    sqrt(1 / (1 / S + 1 / V + x)),

from its prior variance S (P tau for pairs, P^2 tau for sets of three and four columns), its earlier tables and the next
one. The precisions minimize the sum of these errors over all cells at a total cost of sum_t s_t x_t. A price per unit
of cost, found by bisection, splits the problem by table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Floats, Integers
from common.marginals.evidence import Evidence
from common.marginals.pair_priors import LEAST_FREEDOM, PairLevel
from common.marginals.queries import FULL, Query, groups_of_set
from common.marginals.resolutions import Resolution

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Set = tuple[int, ...]
"""Three or four columns."""

LEAST_PAIR_PRIOR = 1e-5
"""Squared relative deviation. No pair's interaction is ruled out."""

PAIR_GRID = (0.0, *np.geomspace(1e-3, 30, 40))
SET_GRID = (0.0, *np.geomspace(1e-2, 40, 40))
"""Precisions that a table may get, relative to an equal part of the total."""

CELLS_AT_ONCE = 2**13
"""Cells, of one or more tables of pairs, whose errors are computed in one array; it bounds memory."""

MOST_LISTED = 1_000_000
"""Triples. Where there are more, only those of a column with two of its strongest partners are looked at."""

PARTNERS = 32
"""Strongest partners of a column among which triples are then looked for."""

TARGET_SCORE = 3.0
"""Factor on the score of a triple that holds the target."""


@dataclass(frozen=True, slots=True)
class NextCount:
    """What the next count of tables may spend, and on what.

    Attributes:
        total: sum over tables of sensitivity factor times precision.
        target: column that synthetic data will be used to predict.
        favor: factor on the errors of tables that hold the target.
        groups: groups of codes in each column of two or three; a resolution of the evidence, or all codes.
    """

    total: float
    target: int
    favor: float
    groups: int = FULL


def pair_precisions(evidence: Evidence, pairs: Sequence[Pair], count: NextCount) -> Floats:
    """Return how precisely each pair is worth counting once more.

    Args:
        evidence: of all tables so far.
        pairs: of columns.
        count: the count to come.

    Returns:
        Inverse variances of a cell's proportion, shape (pairs,); 0 for a pair that is not worth its cost.
    """
    next_level = evidence.resolutions.level_of(count.groups)
    refined = evidence.resolutions.levels[next_level]
    refined_codes = np.unique(refined.positions, return_index=True)[1]  # one code of every group
    grid = np.array(PAIR_GRID) * count.total / max(1, len(pairs))
    errors = np.zeros((len(pairs), len(grid)))
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    for level, counted in zip(evidence.resolutions.levels[: next_level + 1], evidence.pairs, strict=False):
        codes = np.bincount(level.positions[refined_codes], minlength=level.width)
        for some in _alike(level, columns):
            errors[some] += _expected_errors(level, counted, codes, columns[some], grid)
    errors *= np.where([count.target in pair for pair in pairs], count.favor, 1.0)[:, None]
    costs = _costs(evidence, pairs)
    return _cheapest(errors, costs, grid, count.total)


def _alike(level: Resolution, pairs: Integers) -> Iterator[Integers]:
    """Yield indices into `pairs` of tables with the same shape, at most `CELLS_AT_ONCE` cells at a time.

    Args:
        level: resolution of the tables.
        pairs: indices of columns, shape (pairs, 2).
    """
    shapes = level.sizes[pairs]
    order = np.lexsort(shapes.T[::-1])
    starts = np.flatnonzero((np.diff(shapes[order], axis=0, prepend=0) != 0).any(axis=1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        together = max(1, CELLS_AT_ONCE // int(shapes[rows[0]].prod()))
        yield from np.split(rows, range(together, len(rows), together))


def _expected_errors(level: Resolution, counted: PairLevel, codes: Integers, pairs: Integers, grid: Floats) -> Floats:
    """Return the expected error of each pair, summed over its cells, at each precision: shape (pairs, precisions).

    Args:
        level: resolution of the tables.
        counted: what is known of all pairs at it.
        codes: groups of the next count in each group of the level.
        pairs: columns of tables of one shape, shape (pairs, 2).
        grid: precisions of the next count, shape (precisions,).
    """
    first, second = (level.offsets[pairs[:, side], None] + np.arange(level.size(pairs[0, side])) for side in (0, 1))
    cells = first[:, :, None], second[:, None, :]
    independent = counted.independent[cells]
    least = LEAST_PAIR_PRIOR * (independent**2).sum((1, 2))
    signal, freedom = counted.unexplained.signal(first, second), counted.unexplained.freedom(first, second)
    tau = np.maximum(counted.prior[pairs[:, 0], pairs[:, 1]], least)[:, None, None]
    prior = signal * tau / np.maximum(freedom, LEAST_FREEDOM)  # on the scale of V: of the noise, V f is left
    known = 1 / np.maximum(prior, 1e-16) + 1 / counted.variances[cells]
    merged = codes[first][:, :, None] * codes[second][:, None, :]
    return np.asarray(np.sqrt(1 / (known[..., None] + grid / merged[..., None])).sum((1, 2)))


def set_precisions(evidence: Evidence, sets: Sequence[Set], count: NextCount) -> Floats:
    """Return how precisely each set of three or four columns is worth counting once more.

    Args:
        evidence: of all tables so far; each of the sets was counted in groups.
        sets: of columns.
        count: the count to come.

    Returns:
        Inverse variances of a cell's proportion, shape (sets,); 0 for a set that is not worth its cost.

    Raises:
        KeyError: a set was not counted.
    """
    priors = {table.columns: table.prior for table in evidence.sets}
    grid = np.array(SET_GRID) * count.total / max(1, len(sets))
    errors = np.zeros((len(sets), len(grid)))
    for row, columns in enumerate(sets):
        level = evidence.resolutions.nearest(groups_of_set(len(columns), count.groups))
        prior = np.maximum(evidence.independent(columns, level).ravel() ** 2 * priors[columns], 1e-16)
        errors[row] = [np.sqrt(1 / (1 / prior + precision)).sum() for precision in grid]
        errors[row] *= count.favor if count.target in columns else 1.0
    costs = _costs(evidence, sets)
    return _cheapest(errors, costs, grid, count.total)


def choose_triples(evidence: Evidence, *, target: int, most: int) -> tuple[Triple, ...]:
    """Return the triples to count in groups: columns that depend on each other, preferably with the target.

    With S^2 the sum over resolutions of a pair's tau / sum(P^2), its mean squared relative deviation from what coarser
    resolutions explain, a triple (a, b, c) scores

        S_ab S_bc + S_ab S_ac + S_bc S_ac,

    three times that if it holds the target.

    Args:
        evidence: of all pairs so far.
        target: column that synthetic data will be used to predict.
        most: number of triples to choose; all if there are fewer.

    Returns:
        Triples in increasing order.
    """
    strength = np.sqrt(np.sum([_relative(evidence, level) for level in range(len(evidence.pairs))], axis=0))
    triples = np.array(list(_possible_triples(strength)), dtype=np.int64).reshape(-1, 3)
    first, second, third = (
        strength[triples[:, 0], triples[:, 1]],
        strength[triples[:, 0], triples[:, 2]],
        strength[triples[:, 1], triples[:, 2]],
    )
    score = first * second + first * third + second * third
    score *= np.where((triples == target).any(1), TARGET_SCORE, 1.0)
    chosen = np.argsort(-score, kind="stable")[:most]
    return tuple(sorted((int(a), int(b), int(c)) for a, b, c in triples[chosen]))


def _relative(evidence: Evidence, level: int) -> Floats:
    """Return the mean squared relative deviation of every pair at a resolution, tau / sum(P^2)."""
    counted = evidence.pairs[level]
    return np.asarray(counted.prior / evidence.resolutions.levels[level].column_sums(counted.independent**2))


def _possible_triples(strength: Floats) -> Iterator[Triple]:
    """Yield triples that may score high, each once, in increasing order."""
    columns = len(strength)
    if math.comb(columns, 3) <= MOST_LISTED:
        yield from combinations(range(columns), 3)
        return
    partners = np.argsort(-strength, axis=1, kind="stable")[:, :PARTNERS]
    triples = {
        tuple(sorted((column, int(first), int(second))))
        for column in range(columns)
        for first, second in combinations(partners[column], 2)
        if column not in (first, second)
    }
    yield from sorted((a, b, c) for a, b, c in triples)


def _costs(evidence: Evidence, tables: Sequence[Set]) -> Floats:
    """Return each table's sensitivity factor, `Domain.kept`, shape (tables,)."""
    domain = evidence.resolutions.domain
    return np.array([domain.kept(Query(table, is_centered=True)) for table in tables])


def _cheapest(errors: Floats, costs: Floats, grid: Floats, total: float) -> Floats:
    """Return each table's precision of least error plus price times cost, at the price that spends the total.

    Args:
        errors: expected error of each table at each precision, shape (tables, precisions).
        costs: of each table per unit of precision, shape (tables,).
        grid: precisions, shape (precisions,).
        total: sum over tables of cost times precision.
    """
    if not len(errors):
        return np.empty(0)
    cost = np.outer(costs, grid)
    low, high = -60.0, 60.0  # logarithm of the price: too low, high enough
    for _ in range(60):
        middle = (low + high) / 2
        best = np.argmin(errors + math.exp(middle) * cost, axis=1)
        spent = float(np.take_along_axis(cost, best[:, None], axis=1).sum())
        low, high = (middle, high) if spent > total else (low, middle)
    precisions = grid[np.argmin(errors + math.exp(high) * cost, axis=1)]
    spent = float(costs @ precisions)
    if spent > 0:
        return np.asarray(precisions * (total / spent))
    return np.full(len(costs), total / (float(costs.sum()) or 1.0))  # a column of one code costs nothing
