"""Measurements: noisy marginals that the generator must meet. Everything here works on released sums and costs nothing.

The total number of patients is estimated from the noisy tables, never taken as known. The tables are used as they are:
the generator, a mixture that must meet all of them at once, is what takes the noise out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.arrays import Array, Floats, Integers
from common.columns.histograms import project_to_simplex
from common.errors import WireError
from common.marginals.queries import FULL, Domain, Query, requested, split
from common.planning.plan import HISTOGRAMS, PAIRS, TRIPLES, Plan
from common.study.study import FIT_STEPS


@dataclass(frozen=True)
class Measurements:
    """Released noisy sums over hospitals.

    Args:
        domain: codes of each column.
        queries: what was counted; every column by itself comes first, and may come once more.
        sums: their tables, flattened one after the other.
        deviations: the noise's standard deviation in each query's cells, in patients.
        phases: which phase of the run each query came with. Hospitals may come and go between phases, so shares are
            taken of each phase's own total. All with one phase if not given.
    """

    domain: Domain
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
        tables = split(self.sums, self.queries, self.domain)
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

    @property
    def noise(self) -> float:
        """The noise of a share in the first table: its standard deviation."""
        return self.deviations[0] / self.total

    @cached_property
    def _raw_shares(self) -> list[Floats]:
        tables = split(self.sums, self.queries, self.domain)
        return [table / self.totals[phase] for phase, table in zip(self._phases(), tables, strict=True)]

    @cached_property
    def precisions(self) -> list[float]:
        """Inverse noise variance of what is known of each column by itself, that of its first table being 1."""
        found = [0.0] * len(self.domain.sizes)
        for query, sd in zip(self.queries, self.deviations, strict=True):
            if len(query.columns) == 1:
                found[query.columns[0]] += self.precision(sd)
        return found

    def precision(self, deviation: float) -> float:
        """Inverse of this noise's variance, that of the first table being 1."""
        return (max(self.deviations[0], 1e-9) / max(deviation, 1e-9)) ** 2

    @cached_property
    def singles(self) -> list[Floats]:
        """Each column's shares: the mean of its tables by inverse variance, denoised."""
        found = [np.zeros(size) for size in self.domain.sizes]
        for query, share, sd in zip(self.queries, self._raw_shares, self.deviations, strict=True):
            if len(query.columns) == 1:
                (column,) = query.columns
                found[column] += share * (self.precision(sd) / self.precisions[column])
        return [project_to_simplex(share, 1.0) for share in found]

    def shares(self) -> list[Floats]:
        """Every query's table as shares of the patients; single columns on the simplex, the others as they came."""
        return [*self.singles, *self._raw_shares[len(self.domain.sizes) :]]

    def _grouped_singles(self, query: Query) -> list[Floats]:
        maps = [(self.singles[column], self.domain.groups(column, query.groups)) for column in query.columns]
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


def assemble(plan: Plan, domain: Domain, pairs: Array, triples: Array, sums: Array) -> Measurements | None:
    """The measurements of a run from what was released, or None for a plan without them.

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
        tables = requested(phase.name, phase.groups, named.get(phase.name, sums[:0]), len(domain.sizes))
        if len(tables) > phase.max_changed_cells:
            raise WireError(f"more tables of the phase '{phase.name}' than planned")
        queries += tables
        deviations += [plan.total_deviation(phase.name)] * len(tables)
        names += [phase.name] * len(tables)
    if domain.cells(queries) != len(sums):
        raise WireError("the measurements are not as long as their tables")
    return Measurements(domain, tuple(queries), sums, tuple(deviations), tuple(names))


def choose_pairs(measurements: Measurements, always: Sequence[int], most: int) -> tuple[Query, ...]:
    """The `most` pairs to count in full: those with a column of `always`, then the most dependent."""
    ranked = sorted(measurements.dependence().items(), key=lambda item: (not set(item[0]) & set(always), -item[1]))
    return tuple(Query(pair) for pair in sorted(pair for pair, _ in ranked[:most]))


def choose_triples(measurements: Measurements, target: int, most: int, groups: int) -> tuple[Query, ...]:
    """The `most` triples with the target: pairs of columns that both depend on it strongly."""
    dependence = {pair: max(value, 0.0) for pair, value in measurements.dependence().items()}

    def with_target(column: int) -> float:
        return dependence[min(column, target), max(column, target)]

    pairs = [pair for pair in dependence if target not in pair]
    ranked = sorted(pairs, key=lambda pair: (-with_target(pair[0]) * with_target(pair[1]), pair))
    return tuple(Query(triple, groups) for triple in sorted(tuple(sorted((*pair, target))) for pair in ranked[:most]))


PRECISE = 600.0
"""With so many patients to the noise of a coarse count, twice as many steps are worth it. See docs/synthesizer.md."""


def fit_steps(measurements: Measurements, rounds: int, wanted: int) -> int:
    """The steps wanted; twice as many if they are the default, measurements are precise and no round goes on with the
    fit.

    From released tables alone, so post-processing.
    """
    has_several = any(len(query.columns) > 1 for query in measurements.queries)
    is_precise = PRECISE * measurements.noise <= 1
    return 2 * wanted if wanted == FIT_STEPS and is_precise and has_several and not rounds else wanted


ENTROPY, MOST_ENTROPY = 150.0, 0.5
"""Weight of the entropy: so many times the squared noise of a share, at most this. What is left of the noise after the
fit grows with its square, and so does what a less decided mixture saves."""

WHOLE = 16.0
"""All pairs of a grouping are formed at once where that is at most so many times the cells in use: one large product
is faster than many small ones."""


class MarginalLoss:
    """How far a mixture of products is from the measurements: squared differences of shares, weighted by inverse
    variance.

    The weights are relative to the first query's, so that more noise everywhere does not change the scale. A small
    reward for undecided prototypes keeps a generator from learning the noise; it fades as the noise does. The gradient
    is written out, which takes half the products that automatic differentiation would. Where few pairs are counted only
    their blocks are formed: memory follows the queries, not the square of the width.
    """

    def __init__(self, measurements: Measurements) -> None:
        domain = measurements.domain
        self._entropy = min(MOST_ENTROPY, ENTROPY * measurements.noise**2)
        self._single = torch.tensor(np.concatenate(measurements.singles), dtype=torch.float32)
        self._single_weights = torch.tensor(np.repeat(measurements.precisions, domain.sizes), dtype=torch.float32)
        pairs: dict[int, list[_Table]] = {}
        triples: dict[int, list[_Table]] = {}
        for query, share, sd in zip(measurements.queries, measurements.shares(), measurements.deviations, strict=True):
            table = _Table(query.columns, torch.tensor(share, dtype=torch.float32), measurements.precision(sd))
            if len(query.columns) > 1:
                (pairs if len(query.columns) == 2 else triples).setdefault(query.groups, []).append(table)
        self._groupings = [
            _Grouping(domain, groups, pairs.get(groups, []), triples.get(groups, []))
            for groups in sorted(pairs.keys() | triples.keys())
        ]

    def __call__(self, probabilities: Tensor) -> Tensor:
        """The weighted squared distance, a scalar, of (prototypes, width) column probabilities."""
        loss: Tensor = _Differentiable.apply(probabilities, self)  # type: ignore[no-untyped-call]
        return loss

    def with_gradient(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and its gradient by the probabilities."""
        rows = len(probabilities)
        off = probabilities.mean(0) - self._single
        pull = off * self._single_weights
        loss, gradient = (off * pull).sum(), (2 / rows * pull).expand_as(probabilities).clone()
        for grouping in self._groupings:
            loss = loss + grouping.miss(probabilities, gradient)
        if self._entropy:
            logs = probabilities.clamp_min(1e-9).log()
            loss = loss + self._entropy / rows * torch.vdot(probabilities.flatten(), logs.flatten())
            gradient.add_(logs.add_(1), alpha=self._entropy / rows)
        return loss, gradient


class _Differentiable(torch.autograd.Function):
    """`MarginalLoss.with_gradient` for automatic differentiation."""

    @staticmethod
    def forward(context: Any, probabilities: Tensor, loss: MarginalLoss) -> Tensor:
        value, gradient = loss.with_gradient(probabilities)
        context.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(context: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = context.saved_tensors
        return outer[0] * gradient, None


@dataclass(frozen=True, slots=True)
class _Table:
    """A noisy table of shares over some columns, and its weight in the loss."""

    columns: tuple[int, ...]
    shares: Tensor
    weight: float


class _Grouping:
    """The pairs and triples whose codes are merged in the same way."""

    def __init__(self, domain: Domain, groups: int, pairs: Sequence[_Table], triples: Sequence[_Table]) -> None:
        used = sorted({column for table in (*pairs, *triples) for column in table.columns})
        maps = [torch.from_numpy(domain.groups(column, groups)) for column in used]
        blocks = [torch.nn.functional.one_hot(one).float() for one in maps]
        ends = np.cumsum([block.shape[1] for block in blocks])
        self._places = {
            column: slice(int(end) - block.shape[1], int(end))
            for column, end, block in zip(used, ends, blocks, strict=True)
        }
        starts = np.cumsum([0, *domain.sizes])
        self._codes = torch.cat([torch.arange(starts[column], starts[column + 1]) for column in used])
        self._merge: Tensor | None = None
        if groups != FULL:
            self._merge = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        width = int(ends[-1])
        self._slabs: list[_Slab] = []
        if pairs and width**2 <= WHOLE * sum(table.shares.numel() for table in pairs):
            self._slabs = [_Slab(slice(0, width), None, *self._whole(pairs, width))]
        elif pairs:
            self._slabs = [self._slab(first, pairs) for first in sorted({table.columns[0] for table in pairs})]
        self._triples = [_Triples(self._places, pivot, tables) for pivot, tables in _by_pivot(triples)]

    def _whole(self, pairs: Sequence[_Table], width: int) -> tuple[Tensor, Tensor]:
        """All shares and their weights in one square; nothing below the diagonal."""
        shares, weights = torch.zeros(width, width), torch.zeros(width, width)
        for table in pairs:
            place = self._places[table.columns[0]], self._places[table.columns[1]]
            shares[place], weights[place] = table.shares, table.weight
        return shares, weights

    def _slab(self, first: int, pairs: Sequence[_Table]) -> _Slab:
        """The pairs of one column with later ones, side by side."""
        mine = [table for table in pairs if table.columns[0] == first]
        partners = [torch.arange(place.start, place.stop) for place in (self._places[t.columns[1]] for t in mine)]
        shares = torch.cat([table.shares for table in mine], 1)
        weights = torch.cat([torch.full((table.shares.shape[1],), table.weight) for table in mine])
        return _Slab(self._places[first], torch.cat(partners), shares, weights)

    def miss(self, probabilities: Tensor, gradient: Tensor) -> Tensor:
        """The distance of these tables; its gradient is added to `gradient`."""
        values = probabilities.index_select(1, self._codes)
        if self._merge is not None:
            values = values @ self._merge
        slope, loss = torch.zeros_like(values), values.new_zeros(())
        several: list[_Slab | _Triples] = [*self._slabs, *self._triples]
        for tables in several:
            loss = loss + tables.miss(values, slope)
        gradient.index_add_(1, self._codes, slope if self._merge is None else slope @ self._merge.T)
        return loss


@dataclass(frozen=True, slots=True)
class _Slab:
    """Pairs of the columns in `first` with the columns `second` (None: all), formed as one product."""

    first: slice
    second: Tensor | None
    shares: Tensor
    weights: Tensor

    def miss(self, values: Tensor, slope: Tensor) -> Tensor:
        rows = len(values)
        left = values[:, self.first]
        right = values if self.second is None else values[:, self.second]
        off = left.T @ right / rows - self.shares
        pull = off * self.weights
        loss = (off * pull).sum()
        pull *= 2 / rows
        if self.second is None:  # left and right are the same numbers
            slope.addmm_(values, pull + pull.T)
        else:
            slope[:, self.first] += right @ pull.T
            slope.index_add_(1, self.second, left @ pull)
        return loss


class _Triples:
    """Tables of three columns that share one, the pivot: pairs of the others, once for each of the pivot's codes."""

    def __init__(self, places: Mapping[int, slice], pivot: int, triples: Sequence[_Table]) -> None:
        others = sorted({column for table in triples for column in table.columns} - {pivot})
        self._pivot = places[pivot]
        self._others = torch.cat([torch.arange(places[column].start, places[column].stop) for column in others])
        ends = np.cumsum([places[column].stop - places[column].start for column in others])
        starts = dict(zip(others, (0, *ends[:-1]), strict=True))
        codes, width = self._pivot.stop - self._pivot.start, int(ends[-1])
        self._shares, self._weights = torch.zeros(codes, width, width), torch.zeros(1, width, width)
        for table in triples:
            shares = table.shares.movedim(table.columns.index(pivot), 0)
            a, b = (int(starts[column]) for column in table.columns if column != pivot)
            place = slice(a, a + shares.shape[1]), slice(b, b + shares.shape[2])
            self._shares[:, *place], self._weights[:, *place] = shares, table.weight

    def miss(self, values: Tensor, slope: Tensor) -> Tensor:
        rows = len(values)
        others, pivot = values[:, self._others], values[:, self._pivot].T[:, :, None]
        off = (others * pivot).mT @ others / rows - self._shares
        pull = off * self._weights
        loss = (off * pull).sum()
        pull *= 2 / rows
        pushed = others @ pull
        slope[:, self._pivot] += (pushed * others).sum(2).T
        slope.index_add_(1, self._others, ((pushed + others @ pull.mT) * pivot).sum(0))
        return loss


def _by_pivot(triples: Sequence[_Table]) -> list[tuple[int, list[_Table]]]:
    """The tables by a column they share, the most frequent one first: with the planner's choice, all by the target."""
    left, found = list(triples), []
    while left:
        pivot = Counter(column for table in left for column in table.columns).most_common(1)[0][0]
        found.append((pivot, [table for table in left if pivot in table.columns]))
        left = [table for table in left if pivot not in table.columns]
    return found
