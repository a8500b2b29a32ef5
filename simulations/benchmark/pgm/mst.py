"""MST: a tree of pairs (McKenna, Miklau and Sheldon 2021, arXiv 2108.04978)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from common.arrays import Floats, Integers
from simulations.benchmark.pgm.estimation import Measurement, Stop, fit
from simulations.benchmark.pgm.junction_tree import Clique
from simulations.benchmark.pgm.model import count
from simulations.benchmark.pgm.spending import choice_epsilon, ranked

STOP = Stop(1000, 1e-5)
"""Largest number of steps of the fit."""

RARE = 3.0
"""Codes whose noisy count is below this multiple of the noise become one."""


def mst(codes: Integers, sizes: Sequence[int], budget: float, rng: np.random.Generator) -> Integers:
    """Return as many synthetic rows of codes as there are real ones.

    A third of the budget measures the columns, a third chooses a tree of pairs, and a third measures these pairs.

    Args:
        codes: real rows, shape (rows, columns).
        sizes: number of codes of each column, public.
        budget: M^2 of the Gaussian privacy that everything together may cost.
        rng: draws noise, choices and rows.
    """
    deviation = (budget / 3 / len(sizes)) ** -0.5
    singles = [_measured(codes, (column,), sizes, deviation, rng) for column in range(len(sizes))]
    kept = [np.flatnonzero(single.counts >= RARE * deviation) for single in singles]
    merged = _merge(codes, kept)
    merged_sizes = [min(len(some) + 1, size) for some, size in zip(kept, sizes, strict=True)]
    columns = [_merged_measurement(single, some) for single, some in zip(singles, kept, strict=True)]
    tree = _chosen_tree(merged, merged_sizes, columns, budget / 3, rng)
    deviation = (budget / 3 / max(len(tree), 1)) ** -0.5
    pairs = [_measured(merged, pair, merged_sizes, deviation, rng) for pair in tree]
    model = fit(merged_sizes, [*columns, *pairs], len(codes), STOP).model
    return _unmerge(model.sample(len(codes), rng), kept, sizes, rng)


def _measured(
    codes: Integers, columns: Clique, sizes: Sequence[int], deviation: float, rng: np.random.Generator
) -> Measurement:
    exact = count(codes, columns, sizes)
    return Measurement(columns, exact + rng.normal(0.0, deviation, exact.shape), deviation)


def _merge(codes: Integers, kept: Sequence[Integers]) -> Integers:
    """Number the kept codes of every column from 0; all others become the next number."""
    merged = np.empty_like(codes)
    for column, some in enumerate(kept):
        number = np.full(max(int(codes[:, column].max(initial=0)) + 1, int(some.max(initial=-1)) + 1), len(some))
        number[some] = np.arange(len(some))
        merged[:, column] = number[codes[:, column]]
    return merged


def _unmerge(codes: Integers, kept: Sequence[Integers], sizes: Sequence[int], rng: np.random.Generator) -> Integers:
    """Undo `_merge`; the common code of rare ones becomes any of them."""
    original = np.empty_like(codes)
    for column, (some, size) in enumerate(zip(kept, sizes, strict=True)):
        rare = np.setdiff1d(np.arange(size), some)
        is_rare = codes[:, column] >= len(some)
        original[~is_rare, column] = some[codes[~is_rare, column]]
        if len(rare):
            original[is_rare, column] = rng.choice(rare, int(is_rare.sum()))
    return original


def _merged_measurement(single: Measurement, kept: Integers) -> Measurement:
    """Return the measurement of a merged column.

    The sum of k noisy counts has sqrt(k) times the noise. Measurements have one deviation, so the sum counts as if it
    had that of the others.
    """
    rare = np.setdiff1d(np.arange(len(single.counts)), kept)
    counts = np.append(single.counts[kept], single.counts[rare].sum()) if len(rare) else single.counts
    return Measurement(single.columns, counts, single.deviation)


def _chosen_tree(
    codes: Integers, sizes: Sequence[int], columns: Sequence[Measurement], budget: float, rng: np.random.Generator
) -> list[Clique]:
    """Choose a spanning tree: one pair after the other, by how far it is from independent."""
    independent = fit(sizes, columns, len(codes), STOP).model
    score = {
        pair: float(np.abs(count(codes, pair, sizes) - independent.marginal(pair)).sum())
        for pair in itertools.combinations(range(len(sizes)), 2)
    }
    edges = len(sizes) - 1
    component = list(range(len(sizes)))
    tree: list[Clique] = []
    for _ in range(edges):
        open_pairs = [pair for pair in score if component[pair[0]] != component[pair[1]]]
        scores: Floats = np.array([score[pair] for pair in open_pairs])
        pair = open_pairs[ranked(scores, 1.0, choice_epsilon((budget / edges) ** 0.5), rng)[0]]
        tree.append(pair)
        old, new = component[pair[1]], component[pair[0]]
        component = [new if group == old else group for group in component]
    return tree
