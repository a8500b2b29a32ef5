"""Columns in blocks, for a sweep of Gibbs chains: sums over codes and over chains, once for several columns.

What all other columns add to the logits of a block, and which chains hold a code, is the same for the whole block but
for the block's own columns, which are few. So a sweep costs sums over columns, not codes, and reads long rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK_CODES = 64
"""Codes of the columns that a sweep takes together."""


def cut_in_blocks(order: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Return the columns in their order, cut where a block would have more than `BLOCK_CODES` codes."""
    blocks: list[list[int]] = []
    codes = BLOCK_CODES
    for column in order:
        codes += sizes[column]
        if codes > BLOCK_CODES:
            blocks.append([])
            codes = sizes[column]
        blocks[-1].append(column)
    return blocks


class ColumnBlock:
    """Columns that are drawn one after the other. What all others add to their logits is summed once for all of them.

    Args:
        positions: of all chains before, as in `Chains`.
        columns: of the block.
        spans: where their codes are when all codes stand side by side.
        pairs: theta of each of them, (codes of the column, codes of all columns).

    Everything here has codes along the first axis: chains are many, so that rows of them are long.

    Attributes:
        local: where they are when the block's codes stand side by side.
        probabilities: of the codes when they were drawn, (codes of the block, chains).
    """

    def __init__(
        self, positions: Tensor, columns: Sequence[int], spans: Sequence[slice], pairs: Sequence[Tensor]
    ) -> None:
        sizes = [len(theta) for theta in pairs]
        self.local = [slice(*ends) for ends in pairwise(np.cumsum([0, *sizes]).tolist())]
        self._codes = torch.cat([torch.arange(span.start, span.stop) for span in spans])
        theta = torch.cat(list(pairs))
        self._within = theta[:, self._codes]
        theta[:, self._codes] = 0.0
        self._from_others = summed_by_chain(positions, theta)
        shifts = torch.tensor([local.start - span.start for local, span in zip(self.local, spans, strict=True)])
        self._before = torch.zeros(len(self._codes), len(positions))
        self._before.scatter_(0, (positions[:, torch.tensor(columns)] + shifts).T, 1.0)
        self._one_hot = self._before.clone()
        self.probabilities = torch.empty_like(self._one_hot)
        order = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self._is_drawn_before = order[:, None] < order

    def logits(self, index: int) -> Tensor:
        """Return what pairs add to the logits of a column, by its index in the block, shape (codes, chains)."""
        local = self.local[index]
        return torch.addmm(self._from_others[local], self._within[local], self._one_hot)

    def set_column(self, index: int, probabilities: Tensor, codes: Tensor) -> None:
        """Note with which probabilities a column was drawn, and its new codes.

        Args:
            index: of the column in the block.
            probabilities: of its codes, shape (codes, chains).
            codes: drawn codes, int64, shape (chains,).
        """
        local = self.local[index]
        self.probabilities[local] = probabilities
        self._one_hot[local] = 0.0
        self._one_hot[local].scatter_(0, codes[None], 1.0)

    def sums(self, holders: CodeHolders) -> Tensor:
        """Return the sum of the probabilities over the chains that held a code when they were computed.

        Args:
            holders: of the codes before the block.
        """
        by_chain = self.probabilities.T.contiguous()
        sums = holders.sums(by_chain)
        sums[self._codes] = torch.where(self._is_drawn_before, self._one_hot @ by_chain, self._before @ by_chain)
        return sums


def summed_by_chain(positions: Tensor, theta: Tensor) -> Tensor:
    """Return what the codes of every chain together add to the logits of some codes, shape (codes, chains).

    A column without a potential with any of these codes adds nothing and is left out of the sum.

    Args:
        positions: of the codes of all chains, shape (chains, columns), as in `Chains`.
        theta: potentials of these codes with all codes, shape (codes, codes of all columns).
    """
    has_potential = (theta != 0).any(0)
    is_near = has_potential[positions].any(0)
    if not is_near.any():
        return torch.zeros(len(theta), len(positions))
    return F.embedding_bag(positions[:, is_near], theta.T.contiguous(), mode="sum").T.contiguous()


class CodeHolders:
    """Which chains hold a code, for all codes: sums over them cost as much as there are columns, not codes.

    Args:
        rows: codes, int64, shape (chains, columns).
        offsets: index of each column's first code when all codes stand side by side.
        width: number of all codes.
    """

    def __init__(self, rows: Tensor, offsets: Sequence[int], width: int) -> None:
        self._offsets = offsets
        self._chains = np.empty((rows.shape[1], len(rows)), dtype=np.int64)  # of each column, by code
        self._starts = np.empty(width, dtype=np.int64)
        for column, (start, end) in enumerate(pairwise([*offsets, width])):
            self.set_column(column, rows[:, column], end - start)

    def set_column(self, column: int, codes: Tensor, size: int) -> None:
        """Give every chain a code in one column.

        Args:
            column: index of the column.
            codes: code of every chain, int64, shape (chains,).
            size: number of codes of the column.
        """
        held = codes.numpy()
        self._chains[column] = np.argsort(held.astype(np.int16), kind="stable")  # of int16, a radix sort
        counts = np.bincount(held, minlength=size)
        start = self._offsets[column]
        self._starts[start : start + size] = np.cumsum(counts) - counts + column * len(codes)

    def sums(self, values: Tensor) -> Tensor:
        """Return the sum of `values`, (chains, numbers), over the chains that hold a code, (codes, numbers)."""
        chains, starts = torch.from_numpy(self._chains).reshape(-1), torch.from_numpy(self._starts)
        return F.embedding_bag(chains, values, starts, mode="sum")
