"""The marginal loss: how far the tables of a mixture of products are from the measurements, and its gradient.

A mixture has K prototypes. Prototype k draws code i of a column with probability P[k, i], each column independently;
P has shape (K, width), where the width is the number of codes of all columns. Symbols, the same in all docstrings:

    m        table of the mixture, as proportions
    a        the measured table, as proportions
    w        its weight: inverse noise variance, relative to the first query's
    r        residual, m - a
    L        loss
    G        gradient of L by the table, divided by K: 2/K w r

The gradients are written out, which takes half the matrix products of automatic differentiation. Where few pairs are
counted only their blocks are formed: memory follows the queries, not the square of the width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.marginals.measurements import Measurements
from common.marginals.queries import FULL, Domain, Query

ENTROPY, MOST_ENTROPY = 150.0, 0.5
"""Weight of the entropy in the loss: this factor times the squared noise of a proportion, up to the second number. The
noise left after the fit grows with its square, and so does what a mixture of undecided prototypes saves."""

SQUARE_LIMIT = 16.0
"""Largest ratio of a square over all columns to the cells that are counted, at which one large product over the square
is used: it is faster than many small ones up to about there."""


class MarginalLoss:
    """The weighted squared distance of a mixture from the measurements, less a reward for undecided prototypes.

        L(P) = sum_q w_q |m_q(P) - a_q|^2 + e/K sum_ki P[k, i] log P[k, i]

    The sum is over queries q. The weights w are relative to the first query's, so that more noise everywhere does not
    change the scale. The entropy's weight e keeps a generator from fitting the noise; it fades as the noise does.
    """

    def __init__(self, measurements: Measurements) -> None:
        domain = measurements.domain
        self._entropy = min(MOST_ENTROPY, ENTROPY * measurements.noise**2)
        self._single = torch.tensor(np.concatenate(measurements.singles), dtype=torch.float32)
        self._single_weights = torch.tensor(np.repeat(measurements.precisions, domain.sizes), dtype=torch.float32)
        pairs: dict[tuple[int, bool], list[_Table]] = {}
        triples: dict[tuple[int, bool], list[_Table]] = {}
        rows = zip(measurements.queries, measurements.proportions(), measurements.deviations, strict=True)
        for query, proportions, deviation in rows:
            measured = torch.tensor(proportions, dtype=torch.float32)
            table = _Table(query.columns, measured, measurements.precision(deviation))
            if len(query.columns) > 1:
                same = pairs if len(query.columns) == 2 else triples
                same.setdefault((query.groups, query.is_centered), []).append(table)
        self._groupings = [
            _Grouping(domain, merging, pairs.get(merging, []), triples.get(merging, []))
            for merging in sorted(pairs.keys() | triples.keys())
        ]

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Return the loss, a scalar that can be differentiated, of column probabilities (prototypes, width)."""
        loss: Tensor = _Differentiable.apply(probabilities, self)  # type: ignore[no-untyped-call]
        return loss

    def with_gradient(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient by the probabilities.

        Single columns have m = 1/K sum_k P[k], so dL/dP[k] = 2/K w r for every prototype k.
        The entropy has dL/dP[k, i] = e/K (log P[k, i] + 1).

        Args:
            probabilities: probability of each code, (prototypes, width), float32; each column's codes sum to 1.

        Returns:
            A scalar, and a tensor of the shape of `probabilities`.
        """
        prototypes = len(probabilities)
        residual = probabilities.mean(0) - self._single  # r
        weighted = residual * self._single_weights  # w r
        loss = (residual * weighted).sum()  # sum w r^2
        gradient = (2 / prototypes * weighted).expand_as(probabilities).clone()  # 2/K w r
        for grouping in self._groupings:
            loss = loss + grouping.loss(probabilities, gradient)
        if self._entropy:
            logs = probabilities.clamp_min(1e-9).log()
            loss = loss + self._entropy / prototypes * torch.vdot(probabilities.flatten(), logs.flatten())
            gradient.add_(logs.add_(1), alpha=self._entropy / prototypes)
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
    """A measured table over some columns, as proportions, and its weight in the loss."""

    columns: tuple[int, ...]
    proportions: Tensor
    weight: float


class _Grouping:
    """The pairs and triples whose codes are merged into the same number of groups.

    With the matrix M that merges codes into groups, V = P M are the probabilities of groups, and a gradient by V
    becomes one by P as dL/dP = dL/dV M^T. Where tables are centered, so is M along columns of few codes, and with it
    every table of V.
    """

    def __init__(
        self, domain: Domain, merging: tuple[int, bool], pairs: Sequence[_Table], triples: Sequence[_Table]
    ) -> None:
        groups, is_centered = merging
        used = sorted({column for table in (*pairs, *triples) for column in table.columns})
        blocks = [_merging(domain, column, groups, is_centered=is_centered) for column in used]
        slices = _slices(used, [block.shape[1] for block in blocks])
        starts = np.cumsum([0, *domain.sizes])
        self._codes = torch.cat([torch.arange(starts[column], starts[column + 1]) for column in used])
        self._merge: Tensor | None = None
        if groups != FULL or is_centered:
            self._merge = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        self._tables: list[_SquarePairs | _PairsOfColumn | _TriplesOfPivot] = []
        width = sum(block.shape[1] for block in blocks)
        if pairs and width**2 <= SQUARE_LIMIT * sum(table.proportions.numel() for table in pairs):
            self._tables.append(_SquarePairs(slices, width, pairs))
        elif pairs:
            firsts = sorted({table.columns[0] for table in pairs})
            self._tables += [_PairsOfColumn(slices, first, pairs) for first in firsts]
        self._tables += [_TriplesOfPivot(slices, pivot, tables) for pivot, tables in _by_pivot(triples)]

    def loss(self, probabilities: Tensor, gradient: Tensor) -> Tensor:
        """Return the loss of these tables and add its gradient by the probabilities to `gradient`."""
        values = probabilities.index_select(1, self._codes)
        if self._merge is not None:
            values = values @ self._merge  # V = P M
        gradient_of_values, loss = torch.zeros_like(values), values.new_zeros(())
        for tables in self._tables:
            loss = loss + tables.loss(values, gradient_of_values)
        if self._merge is not None:
            gradient_of_values = gradient_of_values @ self._merge.T  # dL/dV M^T
        gradient.index_add_(1, self._codes, gradient_of_values)
        return loss


class _SquarePairs:
    """All pairs of a grouping as one square; cells that are not counted, and those below the diagonal, weigh nothing.

    m = 1/K V^T V
    L = sum w (m - a)^2
    dL/dV = V (G + G^T)    with G = 2/K w (m - a)
    """

    def __init__(self, slices: Mapping[int, slice], width: int, pairs: Sequence[_Table]) -> None:
        self._measured, self._weights = torch.zeros(width, width), torch.zeros(width, width)
        for table in pairs:
            block = slices[table.columns[0]], slices[table.columns[1]]
            self._measured[block], self._weights[block] = table.proportions, table.weight

    def loss(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Return the loss of these tables and add its gradient by the values to `gradient`."""
        prototypes = len(values)
        residual = values.T @ values / prototypes - self._measured  # m - a
        by_table = residual * self._weights
        loss = (residual * by_table).sum()
        by_table *= 2 / prototypes  # G
        gradient.addmm_(values, by_table + by_table.T)  # V (G + G^T)
        return loss


class _PairsOfColumn:
    """The pairs of one column with later ones, side by side: A are the column's values, B those of the later columns.

    m = 1/K A^T B
    L = sum w (m - a)^2
    dL/dA = B G^T
    dL/dB = A G            with G = 2/K w (m - a)
    """

    def __init__(self, slices: Mapping[int, slice], first: int, pairs: Sequence[_Table]) -> None:
        of_first = [table for table in pairs if table.columns[0] == first]
        self._first = slices[first]
        self._later = _indices(slices, [table.columns[1] for table in of_first])
        self._measured = torch.cat([table.proportions for table in of_first], 1)
        self._weights = torch.cat([torch.full((table.proportions.shape[1],), table.weight) for table in of_first])

    def loss(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Return the loss of these tables and add its gradient by the values to `gradient`."""
        prototypes = len(values)
        first, later = values[:, self._first], values[:, self._later]  # A, B
        residual = first.T @ later / prototypes - self._measured  # m - a
        by_table = residual * self._weights
        loss = (residual * by_table).sum()
        by_table *= 2 / prototypes  # G
        gradient[:, self._first] += later @ by_table.T  # B G^T
        gradient.index_add_(1, self._later, first @ by_table)  # A G
        return loss


class _TriplesOfPivot:
    """Tables of three columns that share one, the pivot: pairs of the others, once for each code c of the pivot.

    A are the pivot's values, B those of the other columns; A_c scales every row k of what follows by A[k, c].

        m_c = 1/K B^T A_c B
        L = sum_c sum w (m_c - a_c)^2
        dL/dA[k, c] = sum_j (B G_c)[k, j] B[k, j]
        dL/dB = sum_c A_c (B G_c + B G_c^T)          with G_c = 2/K w (m_c - a_c)
    """

    def __init__(self, slices: Mapping[int, slice], pivot: int, triples: Sequence[_Table]) -> None:
        others = sorted({column for table in triples for column in table.columns} - {pivot})
        self._pivot, self._others = slices[pivot], _indices(slices, others)
        blocks = _slices(others, [slices[column].stop - slices[column].start for column in others])
        codes, width = self._pivot.stop - self._pivot.start, len(self._others)
        self._measured, self._weights = torch.zeros(codes, width, width), torch.zeros(1, width, width)
        for table in triples:
            first, second = (blocks[column] for column in table.columns if column != pivot)
            self._measured[:, first, second] = table.proportions.movedim(table.columns.index(pivot), 0)
            self._weights[:, first, second] = table.weight

    def loss(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Return the loss of these tables and add its gradient by the values to `gradient`."""
        prototypes = len(values)
        others, pivot = values[:, self._others], values[:, self._pivot].T[:, :, None]  # B, and A as (codes, K, 1)
        residual = (others * pivot).mT @ others / prototypes - self._measured  # m_c - a_c
        by_table = residual * self._weights
        loss = (residual * by_table).sum()
        by_table *= 2 / prototypes  # G_c
        product = others @ by_table  # B G_c
        gradient[:, self._pivot] += (product * others).sum(2).T
        gradient.index_add_(1, self._others, ((product + others @ by_table.mT) * pivot).sum(0))
        return loss


def _merging(domain: Domain, column: int, groups: int, *, is_centered: bool) -> Tensor:
    """Return which group each code of a column is in, 0 or 1, shape (codes, groups); less row means where centered."""
    merging = torch.nn.functional.one_hot(torch.tensor(domain.groups(column, groups))).float()
    is_few = is_centered and domain.centered_axes(Query((column,), groups, is_centered=True))
    return merging - 1 / merging.shape[1] if is_few else merging


def _slices(columns: Sequence[int], sizes: Sequence[int]) -> dict[int, slice]:
    """Return where each column's codes are in a row that holds these columns one after the other."""
    ends = np.cumsum(sizes)
    return {column: slice(int(end) - size, int(end)) for column, size, end in zip(columns, sizes, ends, strict=True)}


def _indices(slices: Mapping[int, slice], columns: Sequence[int]) -> Tensor:
    """Return the indices of all codes of these columns in a row, in the order of the columns."""
    return torch.cat([torch.arange(slices[column].start, slices[column].stop) for column in columns])


def _by_pivot(triples: Sequence[_Table]) -> list[tuple[int, list[_Table]]]:
    """Group tables by a column that they share, the most frequent one first: the planner's all share the target."""
    remaining, groups = list(triples), []
    while remaining:
        counter = Counter(column for table in remaining for column in table.columns)
        pivot = counter.most_common(1)[0][0]
        groups.append((pivot, [table for table in remaining if pivot in table.columns]))
        remaining = [table for table in remaining if pivot not in table.columns]
    return groups
