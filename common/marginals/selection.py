"""Which pairs and triples of columns to count next, from the noisy coarse tables alone: post-processing."""

from __future__ import annotations

from collections.abc import Sequence

from common.marginals.measurements import Measurements
from common.marginals.queries import Query


def choose_pairs(measurements: Measurements, always: Sequence[int], most: int) -> tuple[Query, ...]:
    """Return the pairs of columns to count in full.

    Args:
        measurements: coarse tables of every pair.
        always: columns of which every pair comes first; the other pairs follow by their dependence.
        most: number of pairs to choose; all if there are fewer.
    """
    ranked = sorted(measurements.dependence().items(), key=lambda item: (not set(item[0]) & set(always), -item[1]))
    return tuple(Query(pair) for pair in sorted(pair for pair, _ in ranked[:most]))


def choose_triples(measurements: Measurements, target: int, most: int, groups: int) -> tuple[Query, ...]:
    """Return the triples to count: the target with two columns that both depend on it strongly.

    Args:
        measurements: coarse tables of every pair.
        target: column that every triple holds.
        most: number of triples to choose; all if there are fewer.
        groups: groups of codes in each column of a triple.
    """
    dependence = {pair: max(value, 0.0) for pair, value in measurements.dependence().items()}

    def with_target(column: int) -> float:
        return dependence[min(column, target), max(column, target)]

    pairs = [pair for pair in dependence if target not in pair]
    ranked = sorted(pairs, key=lambda pair: (-with_target(pair[0]) * with_target(pair[1]), pair))
    return tuple(Query(triple, groups) for triple in sorted(tuple(sorted((*pair, target))) for pair in ranked[:most]))
