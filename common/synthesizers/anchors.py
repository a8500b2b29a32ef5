"""Anchors: noisy marginals that the generator must meet. Everything here works on released sums and costs nothing.

The total number of patients is estimated from the noisy tables, never taken as known. The tables are used as they are:
the generator, a mixture that must meet all of them at once, is what takes the noise out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from common.encoding import project_to_simplex
from common.errors import WireError
from common.messages import Array
from common.privacy.mechanisms import Floats, Integers
from common.privacy.plan import HISTOGRAMS, PAIRS, TRIPLES, Plan
from common.synthesizers.marginals import Layout, Query, requested, split


@dataclass(frozen=True)
class Anchors:
    """Released noisy sums over hospitals.

    Args:
        layout: codes of each column.
        queries: what was counted; every column by itself comes first.
        sums: their tables, flattened one after the other.
        deviations: the noise's standard deviation in each query's cells, in patients.
    """

    layout: Layout
    queries: tuple[Query, ...]
    sums: Integers
    deviations: tuple[float, ...]

    @cached_property
    def total(self) -> float:
        """Patients, estimated: each table's sum, weighted by the inverse of its noise variance."""
        tables = split(self.sums, self.queries, self.layout)
        weights = [1 / (table.size * max(sd, 1e-9) ** 2) for table, sd in zip(tables, self.deviations, strict=True)]
        sums = [float(table.sum()) for table in tables]
        return max(1.0, float(np.average(sums, weights=weights)))

    @cached_property
    def singles(self) -> list[Floats]:
        """Each column's shares, denoised."""
        tables = split(self.sums, self.queries, self.layout)[: len(self.layout.sizes)]
        return [project_to_simplex(table / self.total, 1.0) for table in tables]

    def shares(self) -> list[Floats]:
        """Every query's table as shares of the patients; single columns on the simplex, the others as they came."""
        tables = split(self.sums, self.queries, self.layout)
        single = len(self.layout.sizes)
        return [*self.singles, *(table / self.total for table in tables[single:])]

    def _grouped_singles(self, query: Query) -> list[Floats]:
        maps = [(self.singles[column], self.layout.groups(column, query.groups)) for column in query.columns]
        return [np.bincount(groups, weights=single).astype(np.float64) for single, groups in maps]

    def dependence(self) -> dict[tuple[int, int], float]:
        """For every pair counted: the squared residual from independence, less what noise alone would give."""
        tables = split(self.sums, self.queries, self.layout)
        found: dict[tuple[int, int], float] = {}
        for query, table, sd in zip(self.queries, tables, self.deviations, strict=True):
            if len(query.columns) == 2:
                residual = table / self.total - np.multiply.outer(*self._grouped_singles(query))
                found[query.columns[0], query.columns[1]] = float(
                    (residual**2).sum() - table.size * (sd / self.total) ** 2
                )
        return found


def assemble(plan: Plan, layout: Layout, pairs: Array, triples: Array, sums: Array) -> Anchors | None:
    """The anchors of a run from what was released, or None for a plan without them.

    Args:
        pairs, triples: columns of the tables after the coarse ones, flattened; empty where the plan has none.
        sums: of all phases, in the plan's order.

    Raises:
        WireError: the columns are no tables of the plan, or the sums are not as long as the tables.
    """
    named = {PAIRS: pairs, TRIPLES: triples}
    phases = [phase for phase in plan.vectors if phase.name != HISTOGRAMS]
    if not phases:
        return None
    queries: list[Query] = []
    deviations: list[float] = []
    for phase in phases:
        tables = requested(phase.name, phase.groups, named.get(phase.name, sums[:0]), len(layout.sizes))
        queries += tables
        deviations += [plan.total_deviation(phase.name)] * len(tables)
    if layout.cells(queries) != len(sums):
        raise WireError("the anchors are not as long as their tables")
    return Anchors(layout, tuple(queries), sums, tuple(deviations))


def choose_pairs(anchors: Anchors, always: Sequence[int], most: int) -> tuple[Query, ...]:
    """The `most` pairs to count in full: those with a column of `always`, then the most dependent."""
    ranked = sorted(anchors.dependence().items(), key=lambda item: (not set(item[0]) & set(always), -item[1]))
    return tuple(Query(pair) for pair in sorted(pair for pair, _ in ranked[:most]))


def choose_triples(anchors: Anchors, target: int, most: int, groups: int) -> tuple[Query, ...]:
    """The `most` triples with the target: pairs of columns that both depend on it strongly."""
    dependence = {pair: max(value, 0.0) for pair, value in anchors.dependence().items()}

    def with_target(column: int) -> float:
        return dependence[min(column, target), max(column, target)]

    pairs = [pair for pair in dependence if target not in pair]
    ranked = sorted(pairs, key=lambda pair: (-with_target(pair[0]) * with_target(pair[1]), pair))
    return tuple(Query(triple, groups) for triple in sorted(tuple(sorted((*pair, target))) for pair in ranked[:most]))


ENTROPY, MOST_ENTROPY = 90.0, 0.5
"""Weight of the entropy: so many times the squared noise of a share, at most this. What is left of the noise after the
fit grows with its square, and so does what a less decided mixture saves."""


class AnchorLoss:
    """How far a mixture of products is from the anchors: squared differences of shares, weighted by inverse variance.

    The weights are relative to the first query's, so that more noise everywhere does not change the scale. A small
    reward for undecided prototypes keeps a generator from learning the noise; it fades as the noise does. Only the
    blocks in use are formed: memory follows the queries, not the square of the width.
    """

    def __init__(self, anchors: Anchors) -> None:
        self._layout = anchors.layout
        offsets = np.cumsum([0, *self._layout.sizes])
        shares = anchors.shares()
        reference = max(anchors.deviations[0], 1e-9)
        noise = anchors.deviations[0] / anchors.total
        self._entropy = min(MOST_ENTROPY, ENTROPY * noise**2)
        weights = [(reference / max(sd, 1e-9)) ** 2 for sd in anchors.deviations]
        self._merges: dict[int, tuple[Tensor, Integers]] = {}
        for groups in {query.groups for query in anchors.queries if len(query.columns) > 1 and query.groups}:
            self._merges[groups] = self._merge(groups, offsets)
        self._merges[0] = torch.empty(0), offsets
        self._single = torch.tensor(np.concatenate(anchors.singles), dtype=torch.float32)
        self._pairs = self._pair_terms(anchors.queries, shares, weights)
        self._triples = [
            (query.groups, self._slices(query), torch.tensor(share, dtype=torch.float32), weight)
            for query, share, weight in zip(anchors.queries, shares, weights, strict=True)
            if len(query.columns) == 3
        ]

    def _merge(self, groups: int, offsets: Integers) -> tuple[Tensor, Integers]:
        """A 0/1 matrix from codes to groups, and where each column's groups begin."""
        maps = [self._layout.groups(column, groups) for column in range(len(self._layout.sizes))]
        starts = np.cumsum([0, *(int(one[-1]) + 1 for one in maps)])
        matrix = torch.zeros(int(offsets[-1]), int(starts[-1]))
        for column, one in enumerate(maps):
            matrix[offsets[column] + np.arange(len(one)), starts[column] + one] = 1.0
        return matrix, starts

    def _slices(self, query: Query) -> list[slice]:
        starts = self._merges[query.groups][1]
        return [slice(int(starts[column]), int(starts[column + 1])) for column in query.columns]

    def _pair_terms(
        self, queries: Sequence[Query], shares: Sequence[Floats], weights: Sequence[float]
    ) -> list[tuple[int, slice, Tensor, Tensor, Tensor]]:
        """For each first column and resolution: its slice, its partners' places, their shares and weights."""
        partners: dict[tuple[int, int], list[tuple[slice, slice, Floats, float]]] = {}
        for query, share, weight in zip(queries, shares, weights, strict=True):
            if len(query.columns) == 2:
                first, second = self._slices(query)
                partners.setdefault((query.groups, query.columns[0]), []).append((first, second, share, weight))
        terms = []
        for (groups, _), found in partners.items():
            places = torch.cat([torch.arange(second.start, second.stop) for _, second, _, _ in found])
            target = torch.tensor(np.concatenate([share for _, _, share, _ in found], axis=1), dtype=torch.float32)
            scales = torch.cat([torch.full((share.shape[1],), scale) for _, _, share, scale in found])
            terms.append((groups, found[0][0], places, target, scales))
        return terms

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The weighted squared distance, a scalar, of (prototypes, width) column probabilities."""
        rows = len(probabilities)
        merged = {
            groups: probabilities @ matrix if groups else probabilities for groups, (matrix, _) in self._merges.items()
        }
        loss = (probabilities.mean(0) - self._single).square().sum()
        for groups, first, places, target, weight in self._pairs:
            values = merged[groups]
            table = values[:, first].T @ values.index_select(1, places) / rows
            loss = loss + ((table - target).square() * weight).sum()
        for groups, (a, b, c), triple, one in self._triples:
            values = merged[groups]
            pairs = (values[:, a, None] * values[:, None, b]).flatten(1)
            table = pairs.T @ values[:, c] / rows
            loss = loss + one * (table - triple.flatten(0, 1)).square().sum()
        if self._entropy:
            loss = loss + self._entropy * (probabilities * probabilities.clamp_min(1e-9).log()).sum(1).mean()
        return loss
