"""Junction trees: how a model of overlapping marginals is computed exactly (Lauritzen and Spiegelhalter 1988)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Clique = tuple[int, ...]
"""Columns of one marginal, ascending."""

BYTES = 8
"""Bytes of one cell."""


@dataclass(frozen=True, slots=True)
class JunctionTree:
    """Cliques in an order in which each one meets the earlier ones in its separator alone.

    Attributes:
        sizes: number of codes of each column.
        cliques: the maximal cliques, a root first.
        parents: index of each clique's parent; -1 for the first.
        separators: columns that a clique shares with its parent; empty where it shares none.
    """

    sizes: tuple[int, ...]
    cliques: tuple[Clique, ...]
    parents: tuple[int, ...]
    separators: tuple[Clique, ...]

    @classmethod
    def of(cls, sizes: Sequence[int], marginals: Iterable[Clique]) -> JunctionTree:
        """Return a tree that contains every column, and every marginal in one of its cliques."""
        maximal = maximal_cliques(sizes, marginals)
        cliques, parents = [maximal[0]], [-1]
        separators: list[Clique] = [()]
        # Prim's maximum spanning tree by the size of the separators is a junction tree.
        best: dict[Clique, tuple[int, int]] = {
            clique: (len(set(clique) & set(maximal[0])), 0) for clique in maximal[1:]
        }
        while best:
            clique = max(best, key=lambda candidate: best[candidate][0])
            parent = best.pop(clique)[1]
            cliques.append(clique)
            parents.append(parent)
            separators.append(tuple(sorted(set(clique) & set(cliques[parent]))))
            for other, (shared, _) in best.items():
                if (now := len(set(other) & set(clique))) > shared:
                    best[other] = (now, len(cliques) - 1)
        return cls(tuple(sizes), tuple(cliques), tuple(parents), tuple(separators))

    def host(self, columns: Clique) -> int | None:
        """Return the smallest clique that contains these columns, or None if there is none."""
        hosts = [index for index, clique in enumerate(self.cliques) if set(columns) <= set(clique)]
        return min(hosts, key=lambda index: cells(self.sizes, self.cliques[index])) if hosts else None


def cells(sizes: Sequence[int], columns: Iterable[int]) -> int:
    """Return the number of cells of a marginal."""
    return math.prod(sizes[column] for column in columns)


def model_megabytes(sizes: Sequence[int], marginals: Iterable[Clique]) -> float:
    """Return the memory that a model of these marginals needs, in megabytes."""
    return sum(cells(sizes, clique) for clique in maximal_cliques(sizes, marginals)) * BYTES / 2**20


def maximal_cliques(sizes: Sequence[int], marginals: Iterable[Clique]) -> list[Clique]:
    """Return the maximal cliques of a triangulated graph in which the columns of each marginal are connected.

    Columns are eliminated greedily: next is the one that forms the clique of fewest cells with its neighbors.
    """
    neighbors: dict[int, set[int]] = {column: {column} for column in range(len(sizes))}
    for marginal in marginals:
        for column in marginal:
            neighbors[column].update(marginal)
    weights = {column: cells(sizes, around) for column, around in neighbors.items()}
    eliminated: list[set[int]] = []
    while neighbors:
        column = min(weights, key=weights.__getitem__)
        clique = neighbors.pop(column)
        del weights[column]
        if not any(clique <= earlier for earlier in eliminated):
            eliminated.append(clique)
        rest = clique - {column}
        for other in rest:
            neighbors[other] |= rest
            neighbors[other].discard(column)
            weights[other] = cells(sizes, neighbors[other])
    return [tuple(sorted(clique)) for clique in eliminated]
