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

from common.errors import WireError
from common.histograms import project_to_simplex
from common.messages import Array
from common.privacy.mechanisms import Floats, Integers
from common.privacy.plan import HISTOGRAMS, PAIRS, TRIPLES, Plan
from common.synthesizers.marginals import FULL, Layout, Query, requested, split


@dataclass(frozen=True)
class Anchors:
    """Released noisy sums over hospitals.

    Args:
        layout: codes of each column.
        queries: what was counted; every column by itself comes first.
        sums: their tables, flattened one after the other.
        deviations: the noise's standard deviation in each query's cells, in patients.
        phases: which phase of the run each query came with. Hospitals may come and go between phases, so shares are
            taken of each phase's own total. All with one phase if not given.
    """

    layout: Layout
    queries: tuple[Query, ...]
    sums: Integers
    deviations: tuple[float, ...]
    phases: tuple[str, ...] = ()

    def _phases(self) -> tuple[str, ...]:
        return self.phases or ("",) * len(self.queries)

    @cached_property
    def totals(self) -> dict[str, float]:
        """Patients by phase, estimated: each table's sum, weighted by the inverse of its noise variance."""
        found: dict[str, list[tuple[float, float]]] = {}
        tables = split(self.sums, self.queries, self.layout)
        for phase, table, sd in zip(self._phases(), tables, self.deviations, strict=True):
            found.setdefault(phase, []).append((float(table.sum()), 1 / (table.size * max(sd, 1e-9) ** 2)))
        return {
            phase: max(1.0, sum(total * weight for total, weight in pairs) / sum(weight for _, weight in pairs))
            for phase, pairs in found.items()
        }

    @cached_property
    def total(self) -> float:
        """Patients in the first phase, estimated."""
        return self.totals[self._phases()[0]]

    @cached_property
    def _raw_shares(self) -> list[Floats]:
        tables = split(self.sums, self.queries, self.layout)
        return [table / self.totals[phase] for phase, table in zip(self._phases(), tables, strict=True)]

    @cached_property
    def singles(self) -> list[Floats]:
        """Each column's shares, denoised."""
        return [project_to_simplex(share, 1.0) for share in self._raw_shares[: len(self.layout.sizes)]]

    def shares(self) -> list[Floats]:
        """Every query's table as shares of the patients; single columns on the simplex, the others as they came."""
        return [*self.singles, *self._raw_shares[len(self.layout.sizes) :]]

    def _grouped_singles(self, query: Query) -> list[Floats]:
        maps = [(self.singles[column], self.layout.groups(column, query.groups)) for column in query.columns]
        return [np.bincount(groups, weights=single).astype(np.float64) for single, groups in maps]

    def dependence(self) -> dict[tuple[int, int], float]:
        """For every pair counted: the squared residual from independence, less what noise alone would give."""
        found: dict[tuple[int, int], float] = {}
        rows = zip(self.queries, self._raw_shares, self.deviations, self._phases(), strict=True)
        for query, share, sd, phase in rows:
            if len(query.columns) == 2:
                residual = share - np.multiply.outer(*self._grouped_singles(query))
                found[query.columns[0], query.columns[1]] = float(
                    (residual**2).sum() - share.size * (sd / self.totals[phase]) ** 2
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
    names: list[str] = []
    for phase in phases:
        tables = requested(phase.name, phase.groups, named.get(phase.name, sums[:0]), len(layout.sizes))
        if len(tables) > phase.changed:
            raise WireError(f"more tables of the phase '{phase.name}' than planned")
        queries += tables
        deviations += [plan.total_deviation(phase.name)] * len(tables)
        names += [phase.name] * len(tables)
    if layout.cells(queries) != len(sums):
        raise WireError("the anchors are not as long as their tables")
    return Anchors(layout, tuple(queries), sums, tuple(deviations), tuple(names))


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


ENTROPY, MOST_ENTROPY = 150.0, 0.5
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
        reference = max(anchors.deviations[0], 1e-9)
        noise = anchors.deviations[0] / anchors.total
        self._entropy = min(MOST_ENTROPY, ENTROPY * noise**2)
        self._single = torch.tensor(np.concatenate(anchors.singles), dtype=torch.float32)
        self._merges = {
            groups: self._merge(groups)
            for groups in sorted({query.groups for query in anchors.queries if len(query.columns) > 1})
        }
        pairs: dict[tuple[int, int], list[tuple[int, Tensor, float]]] = {}
        self._triples: list[tuple[int, tuple[int, ...], Tensor, float]] = []
        for query, share, sd in zip(anchors.queries, anchors.shares(), anchors.deviations, strict=True):
            target, weight = torch.tensor(share, dtype=torch.float32), (reference / max(sd, 1e-9)) ** 2
            if len(query.columns) == 2:
                pairs.setdefault((query.groups, query.columns[0]), []).append((query.columns[1], target, weight))
            elif len(query.columns) == 3:
                self._triples.append((query.groups, query.columns, target.flatten(0, 1), weight))
        self._pairs = [
            (
                groups,
                first,
                [second for second, _, _ in partners],
                torch.cat([target for _, target, _ in partners], 1),
                torch.cat([torch.full((target.shape[1],), weight) for _, target, weight in partners]),
            )
            for (groups, first), partners in pairs.items()
        ]

    def _merge(self, groups: int) -> tuple[Tensor | None, list[int]]:
        """A 0/1 matrix from codes to groups (None: every code by itself), and how many groups each column has."""
        if groups == FULL:
            return None, list(self._layout.sizes)
        maps = [self._layout.groups(column, groups) for column in range(len(self._layout.sizes))]
        blocks = [torch.nn.functional.one_hot(torch.from_numpy(one)).float() for one in maps]
        matrix: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        return matrix, [block.shape[1] for block in blocks]

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The weighted squared distance, a scalar, of (prototypes, width) column probabilities."""
        rows = len(probabilities)
        columns = {
            groups: torch.split(probabilities if matrix is None else probabilities @ matrix, sizes, 1)
            for groups, (matrix, sizes) in self._merges.items()
        }
        loss = (probabilities.mean(0) - self._single).square().sum()
        for groups, first, partners, target, weight in self._pairs:
            values = columns[groups]
            table = values[first].T @ torch.cat([values[second] for second in partners], 1) / rows
            loss = loss + ((table - target).square() * weight).sum()
        for groups, (a, b, c), target, one in self._triples:
            values = columns[groups]
            pairs = (values[a][:, :, None] * values[b][:, None, :]).flatten(1)
            loss = loss + one * (pairs.T @ values[c] / rows - target).square().sum()
        if self._entropy:
            loss = loss + self._entropy * (probabilities * probabilities.clamp_min(1e-9).log()).sum(1).mean()
        return loss
