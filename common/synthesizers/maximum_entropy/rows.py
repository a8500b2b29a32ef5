"""Rows from a fitted model: by Gibbs chains, and pulled towards the tables that the model expects.

Independent draws of n rows miss the model's tables by about 1 / sqrt(n). So rows are drawn in small parts, and what all
rows together have too little of in any pair gets more weight in the next part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from common.arrays import Array
from common.synthesizers.maximum_entropy.blocks import cut_in_blocks
from common.synthesizers.maximum_entropy.chains import Chains, ColumnTables, column_tables
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import Potentials

MIXING = 3
"""Sweeps between the chains' rows and rows without conditions."""

CONDITIONAL_MIXING = 40
"""Sweeps between the chains' rows and rows that satisfy conditions, which may be far from any of them."""

PASSES, PARTS = 4, 128
"""How often all rows are drawn again, and in how many parts each time."""

PULL, FIRST_PULL = 8.0, 0.3
"""Weight of what is lacking in the last pass, relative to the expected count; and the part of it in the first pass."""

MakeChains = Callable[[Potentials, Tensor, torch.Generator], Chains]
"""Makes chains from potentials, rows of codes and a random generator."""

CHUNK = 8192
"""Rows whose pairs are counted at once."""

STRONGEST_PULL = 3.0
"""Largest change of a logit by which a code is favored or disfavored."""


def draw_rows(fit: Fit, rows: int, seed: int, given: Mapping[int, int], *, make_chains: MakeChains = Chains) -> Tensor:
    """Return rows of codes, int64, shape (rows, columns), in random order.

    Args:
        fit: the model.
        rows: how many.
        seed: seed of all draws.
        given: column to code, which every row then has; the other columns follow the model's conditional distribution.
        make_chains: makes chains of the model, from its potentials, their rows and a random generator.
    """
    rng = torch.Generator().manual_seed(seed)
    if rows > len(fit.rows):
        chosen = torch.randint(len(fit.rows), (rows,), generator=rng)
    else:
        chosen = torch.randperm(len(fit.rows), generator=rng)[:rows]
    chains = make_chains(fit.potentials, fit.rows[chosen], rng)
    for column, code in given.items():
        chains.set_column(column, torch.full((rows,), code))
    tables = column_tables(fit.potentials)
    free = [column for column in range(len(tables)) if column not in given]
    chains.mix(CONDITIONAL_MIXING if given else MIXING, free, tables)
    if given or not rows or fit.potentials.has_few_pairs:
        return chains.rows
    with threadpool_limits(1, user_api="blas"):  # sums of a few rows, where further threads cost more than they save
        return _pulled(chains.rows, fit, tables, rng, make_chains)


def _pulled(rows: Tensor, fit: Fit, tables: list[ColumnTables], rng: torch.Generator, make: MakeChains) -> Tensor:
    """Draw the rows again, part by part, with weights towards the tables that the model expects."""
    counts, sizes = _PairCounts(rows, fit), fit.potentials.domain.sizes
    blocks = cut_in_blocks(range(len(tables)), sizes)
    for turn in range(PASSES):
        counts.pull(PULL * (FIRST_PULL + (1 - FIRST_PULL) * turn / (PASSES - 1)))
        for part in torch.randperm(len(rows), generator=rng).chunk(PARTS):
            chains = make(fit.potentials, rows[part], rng)
            one_hot = counts.one_hot(chains.positions)
            for columns in blocks:
                block = _BlockCounts(counts, columns, one_hot)
                points = torch.rand(len(columns), len(part), generator=rng).numpy()
                for column, point in zip(columns, points, strict=True):
                    codes = _drawn(chains.logits(column, tables[column], block.logits(column)), point)
                    chains.set_column(column, torch.from_numpy(codes))
                    block.move(column, codes)
                block.close()
            rows[part] = chains.rows
    return rows


class _PairCounts:
    """What the rows have too little of, in every pair of codes and in every code, in rows.

    In numpy, because parts have few rows and its calls cost less than those of torch. Squares are symmetric and read by
    row, where a column's codes lie side by side.
    """

    def __init__(self, rows: Tensor, fit: Fit) -> None:
        offsets = fit.potentials.offsets.tolist()
        self.width, self.spans = offsets[-1], [slice(*ends) for ends in pairwise(offsets)]
        self.pairs, self.singles = fit.potentials.pairs.numpy(), fit.potentials.singles.numpy()
        self.wanted, self.wanted_singles = fit.pairs.numpy() * len(rows), fit.singles.numpy() * len(rows)
        self.lacking = self.wanted.copy()
        starts = torch.tensor(offsets[:-1])
        for start in range(0, len(rows), CHUNK):
            one_hot = self.one_hot(rows[start : start + CHUNK] + starts)
            self.lacking -= one_hot.T @ one_hot
        counts = np.bincount((rows + starts).numpy().reshape(-1), minlength=self.width)
        self.lacking_singles = self.wanted_singles - counts.astype(np.float32)
        self.units = [np.eye(span.stop - span.start, dtype=np.float32) for span in self.spans]
        self.pull(PULL)

    def one_hot(self, positions: Tensor) -> Array:
        """Return 0 and 1, shape (rows, codes of all columns)."""
        one_hot = np.zeros((len(positions), self.width), dtype=np.float32)
        one_hot[np.arange(len(positions))[:, None], positions.numpy()] = 1.0
        return one_hot

    def pull(self, pull: float) -> None:
        """Set the weight of what is lacking, relative to the expected count; pairs within a column have none."""
        self.weights = np.float32(pull) / (self.wanted + 1)
        self.weights_singles = np.float32(pull) / (self.wanted_singles + 1)
        for span in self.spans:
            self.weights[span, span] = 0.0


class _BlockCounts:
    """Columns side by side that are drawn one after the other for some rows.

    What all other columns add to their logits stays the same until the block is closed, so it is summed once for all of
    them; only what they add to each other is followed from draw to draw.

    Args:
        counts: of all rows; follow the draws when the block is closed.
        columns: of the block, neighbors in increasing order.
        one_hot: codes of the rows, shape (rows, codes of all columns); follows every draw.
    """

    def __init__(self, counts: _PairCounts, columns: Sequence[int], one_hot: Array) -> None:
        self._counts, self._one_hot = counts, one_hot
        self._span = span = slice(counts.spans[columns[0]].start, counts.spans[columns[-1]].stop)
        pairs = _favored(counts.lacking[span], counts.weights[span])
        pairs += counts.pairs[span]
        pairs[:, span] = 0.0
        singles = _favored(counts.lacking_singles[span], counts.weights_singles[span]) + counts.singles[span]
        self._from_others = pairs @ one_hot.T + singles[:, None]
        self._before = one_hot[:, span].copy()

    def logits(self, column: int) -> Tensor:
        """Return what single codes and pairs add to a column's logits, more for what the rows have too little of."""
        counts, codes = self._counts, self._counts.spans[column]
        within = _favored(counts.lacking[codes, self._span], counts.weights[codes, self._span])
        within += counts.pairs[codes, self._span]
        by_code = self._from_others[self._local(column)] + within @ self._one_hot[:, self._span].T
        return torch.from_numpy(by_code).T

    def move(self, column: int, codes: Array) -> None:
        """Follow the rows to their new codes of a column."""
        counts, span = self._counts, self._counts.spans[column]
        change = counts.units[column][codes] - self._one_hot[:, span]
        moved = change.T @ self._one_hot[:, self._span]
        counts.lacking[span, self._span] -= moved
        counts.lacking[self._span, span] -= moved.T
        self._one_hot[:, span] += change

    def close(self) -> None:
        """Follow the rows to their new codes of the block in the pairs with all other columns."""
        counts, span = self._counts, self._span
        change = self._one_hot[:, span] - self._before
        moved = change.T @ self._one_hot
        moved[:, span] = 0.0
        counts.lacking[span] -= moved
        counts.lacking[:, span] -= moved.T
        counts.lacking_singles[span] -= change.sum(0)

    def _local(self, column: int) -> slice:
        """Return where a column's codes are among those of the block."""
        codes, start = self._counts.spans[column], self._span.start
        return slice(codes.start - start, codes.stop - start)


def _drawn(logits: Tensor, points: Array) -> Array:
    """Return one code for each row of logits, int64.

    In numpy and with codes along the first axis: for a few rows its calls cost a third of those of torch.

    Args:
        logits: up to a number for each row, shape (rows, codes).
        points: where in the distribution of each row its code is, from 0 to below 1, shape (rows,).
    """
    by_code = logits.numpy().T
    cumulative = np.cumsum(np.exp(by_code - by_code.max(0)), axis=0)
    return np.asarray((cumulative < points * cumulative[-1]).sum(0))


def _favored(lacking: Array, weights: Array) -> Array:
    favored = lacking * weights
    return np.clip(favored, -STRONGEST_PULL, STRONGEST_PULL, out=favored)
