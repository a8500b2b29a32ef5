"""Rows from a fitted model: by Gibbs chains, and pulled towards the tables that the model expects.

Independent draws of n rows miss the model's tables by about 1 / sqrt(n). So rows are drawn in small parts, and what all
rows together have too little of in any pair gets more weight in the next part.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from common.synthesizers.maximum_entropy.chains import Chains
from common.synthesizers.maximum_entropy.fit import Fit

MIXING = 3
"""Sweeps between the chains' rows and rows without conditions."""

CONDITIONAL_MIXING = 40
"""Sweeps between the chains' rows and rows that satisfy conditions, which may be far from any of them."""

PASSES, PARTS = 4, 64
"""How often all rows are drawn again, and in how many parts each time."""

PULL, FIRST_PULL = 8.0, 0.3
"""Weight of what is lacking in the last pass, relative to the expected count; and the part of it in the first pass."""

STRONGEST_PULL = 3.0
"""Largest change of a logit by which a code is favored or disfavored."""


def draw_rows(fit: Fit, rows: int, seed: int, given: Mapping[int, int]) -> Tensor:
    """Return rows of codes, int64, shape (rows, columns).

    Args:
        fit: the model.
        rows: how many.
        seed: seed of all draws.
        given: column to code, which every row then has; the other columns follow the model's conditional distribution.
    """
    rng = torch.Generator().manual_seed(seed)
    start = torch.randint(len(fit.rows), (rows,), generator=rng) if rows > len(fit.rows) else None
    chosen = torch.randperm(len(fit.rows), generator=rng)[:rows] if start is None else start
    chains = Chains(fit.potentials, fit.rows[chosen].clone(), seed)
    free = [column for column in range(len(fit.potentials.sizes)) if column not in given]
    for column, code in given.items():
        chains.rows[:, column] = code
    chains.mix(CONDITIONAL_MIXING if given else MIXING, free)
    if not given and rows:
        _pull(chains, fit)
    return chains.rows


def _pull(chains: Chains, fit: Fit) -> None:
    """Draw the rows again, part by part, with weights towards the tables that the model expects."""
    potentials, rows, count = fit.potentials, chains.rows, len(chains.rows)
    offsets = torch.from_numpy(potentials.offsets[:-1])
    pair_sum = potentials.pair_sum()
    one_hot = torch.zeros(count, int(potentials.offsets[-1])).scatter_(1, rows + offsets, 1.0)
    counts, wanted, wanted_singles = one_hot.T @ one_hot, fit.pairs * count, fit.singles * count
    for turn in range(PASSES):
        pull = PULL * (FIRST_PULL + (1 - FIRST_PULL) * turn / (PASSES - 1))
        for part in torch.randperm(count, generator=chains.rng).chunk(PARTS):
            codes, ones = rows[part], one_hot[part]
            for column in range(len(potentials.sizes)):
                span = potentials.span(column)
                lacking = _lacking(wanted[:, span], counts[:, span], pull)
                lacking[span] = 0.0
                single = _lacking(wanted_singles[span], counts.diagonal()[span], pull)
                extra = ones @ lacking + single
                drawn = chains.draw(chains.conditional(column, pair_sum, codes, extra))
                before = ones[:, span].clone()
                ones[:, span] = F.one_hot(drawn, potentials.sizes[column]).float()
                codes[:, column] = drawn
                change = ones.T @ (ones[:, span] - before)
                change[span] = 0.0
                counts[:, span] += change
                counts[span] += change.T
                counts.diagonal()[span] += (ones[:, span] - before).sum(0)
            one_hot[part], rows[part] = ones, codes


def _lacking(wanted: Tensor, counts: Tensor, pull: float) -> Tensor:
    return (pull * (wanted - counts) / (wanted + 1)).clamp(-STRONGEST_PULL, STRONGEST_PULL)
