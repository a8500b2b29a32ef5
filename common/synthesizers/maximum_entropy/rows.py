"""Rows from a fitted model: by Gibbs chains, and pulled towards the tables that the model expects.

Independent draws of n rows miss the model's tables by about 1 / sqrt(n). So rows are drawn in small parts, and what all
rows together have too little of in any pair gets more weight in the next part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from common.arrays import Array
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
    if given or not rows:
        return chains.rows
    with threadpool_limits(1, user_api="blas"):  # sums of a few rows, where further threads cost more than they save
        return _pulled(chains.rows, fit, tables, rng, make_chains)


def _pulled(rows: Tensor, fit: Fit, tables: list[ColumnTables], rng: torch.Generator, make: MakeChains) -> Tensor:
    """Draw the rows again, part by part, with weights towards the tables that the model expects."""
    counts = _PairCounts(rows, fit)
    for turn in range(PASSES):
        counts.pull(PULL * (FIRST_PULL + (1 - FIRST_PULL) * turn / (PASSES - 1)))
        for part in torch.randperm(len(rows), generator=rng).chunk(PARTS):
            chains = make(fit.potentials, rows[part], rng)
            one_hot = counts.one_hot(chains.positions)
            for column, table in enumerate(tables):
                codes = chains.draw(chains.probabilities(column, table, counts.logits(column, one_hot)))
                chains.set_column(column, codes)
                counts.move(one_hot, column, codes)
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

    def logits(self, column: int, one_hot: Array) -> Tensor:
        """Return what single codes and pairs add to a column's logits, with more for what the rows have too little of.

        Args:
            column: index of the column.
            one_hot: codes of some rows, shape (rows, codes of all columns).
        """
        span = self.spans[column]
        pairs = _favored(self.lacking[span], self.weights[span]) + self.pairs[span]
        singles = _favored(self.lacking_singles[span], self.weights_singles[span]) + self.singles[span]
        return torch.from_numpy(one_hot @ pairs.T + singles)

    def move(self, one_hot: Array, column: int, codes: Tensor) -> None:
        """Follow some rows to their new codes of a column; `one_hot` are their codes before, and then after."""
        span = self.spans[column]
        change = self.units[column][codes.numpy()] - one_hot[:, span]
        moved = change.T @ one_hot
        self.lacking[span] -= moved
        self.lacking[:, span] -= moved.T
        self.lacking_singles[span] -= change.sum(0)
        one_hot[:, span] += change


def _favored(lacking: Array, weights: Array) -> Array:
    favored = lacking * weights
    return np.clip(favored, -STRONGEST_PULL, STRONGEST_PULL, out=favored)
