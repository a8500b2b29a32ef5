"""Generators of one-hot rows: Gumbel-softmax over every column (Jang et al. 2017, arXiv 1611.01144)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 0.5
"""Temperature of the Gumbel-softmax: lower is closer to one-hot, with gradients of higher variance."""

NOISE_WIDTH = 64
"""Numbers in the latent of the MLP generator."""

LANES = 16
"""Padded columns are a multiple of this long: a softmax over 10 floats takes several times as long as one over 16."""

COMPONENTS = 512
"""Latents drawn to stand for a continuous latent where a mixture of prototypes is needed."""


class Blocks:
    """Which entries of a row belong to which column, and a padded layout in which all columns are computed at once.

    Args:
        sizes: number of codes of each column; their sum is the width of a row.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.width, self.columns = sum(sizes), len(sizes)
        self.largest = -(-max(sizes) // LANES) * LANES
        starts = torch.tensor([0, *sizes]).cumsum(0)[:-1]
        column = torch.repeat_interleave(torch.arange(self.columns), torch.tensor(self.sizes))
        self._slots = column * self.largest + torch.arange(self.width) - starts[column]
        self._starts = starts

    def pad(self, flat: Tensor) -> Tensor:
        """Return (rows, width) as (rows, columns, largest); entries that no code uses hold minus infinity."""
        padded = flat.new_full((len(flat), self.columns * self.largest), -torch.inf)
        return padded.index_copy(1, self._slots, flat).view(len(flat), self.columns, self.largest)

    def flatten(self, padded: Tensor) -> Tensor:
        """Return (rows, columns, largest) as (rows, width): the inverse of `pad`."""
        return padded.flatten(1).index_select(1, self._slots)

    def one_hot(self, codes: Tensor) -> Tensor:
        """Return one-hot rows, float32 (rows, width), of integer codes (rows, columns)."""
        rows = torch.zeros(len(codes), self.width)
        return rows.scatter_(1, codes.long() + self._starts, 1.0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax within each column, (rows, width), of logits of the same shape."""
        return self.flatten(self.pad(logits).softmax(2))


def gumbel(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Return standard Gumbel noise of this shape."""
    uniform = torch.rand(shape, generator=rng).clamp_(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()


class Generator(nn.Module):
    """Draws logits for a batch of latents; all else is the same for every kind of generator.

    Args:
        sizes: number of codes of each column.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.blocks = Blocks(sizes)

    def logits(self, rows: int, rng: torch.Generator) -> Tensor:
        """Draw `rows` latents and return their logits, (rows, width)."""
        raise NotImplementedError

    def sample(self, rows: int, rng: torch.Generator) -> Tensor:
        """Draw one-hot rows, (rows, width), whose gradients are those of the Gumbel-softmax (straight-through).

        Args:
            rows: number of rows.
            rng: random generator of latents and Gumbel noise.
        """
        logits = self.blocks.pad(self.logits(rows, rng))
        soft = ((logits + gumbel(tuple(logits.shape), rng)) / TEMPERATURE).softmax(2)
        hard = torch.zeros_like(soft).scatter_(2, soft.argmax(2, keepdim=True), 1.0)
        return self.blocks.flatten(hard + (soft - soft.detach()))  # the parenthesis is exactly zero

    def probabilities(self, rng: torch.Generator) -> Tensor:
        """Return column probabilities, (components, width), of a mixture that stands for this generator."""
        return self.blocks.probabilities(self.logits(COMPONENTS, rng))

    def loss(self, discriminator: Callable[[Tensor], Tensor], rows: int, rng: torch.Generator) -> Tensor:
        """Return the adversarial loss, a scalar: large where the discriminator tells drawn rows from real ones.

        Args:
            discriminator: maps (rows, width) to logits (rows,), positive where a row looks real.
            rows: number of rows to draw.
            rng: random generator of these rows.
        """
        return F.softplus(-discriminator(self.sample(rows, rng))).mean()


class PrototypeGenerator(Generator):
    """A discrete latent: `prototypes` typical patients, each a row of logits. A mixture of products of columns."""

    def __init__(self, sizes: Sequence[int], prototypes: int, rng: torch.Generator) -> None:
        super().__init__(sizes)
        self.table = nn.Parameter(torch.randn(prototypes, self.blocks.width, generator=rng))

    def logits(self, rows: int, rng: torch.Generator) -> Tensor:
        return self.table[torch.randint(len(self.table), (rows,), generator=rng)]

    def probabilities(self, rng: torch.Generator) -> Tensor:
        return self.blocks.probabilities(self.table)

    def loss(self, discriminator: Callable[[Tensor], Tensor], rows: int, rng: torch.Generator) -> Tensor:
        """Return the boundary-seeking loss (Hjelm et al. 2018, arXiv 1702.08431) of drawn rows x_1 ... x_n.

            L = - sum_i (v_i - 1/n) log sum_k p_k(x_i)    with v = softmax(D(x))

        D is the discriminator's logit, the log density ratio of real to drawn rows; p_k is the likelihood under
        prototype k. Summing over all prototypes matters: a straight-through gradient reaches only the prototype that a
        row came from and is mostly sampling noise.
        """
        with torch.no_grad():
            drawn = self.sample(rows, rng)  # x
            weights = discriminator(drawn).softmax(0) - 1 / rows  # v - 1/n
        logs = self.blocks.flatten(self.blocks.pad(self.table).log_softmax(2))  # log p_k, code by code
        return -(weights * (drawn @ logs.T).logsumexp(1)).sum()


class MlpGenerator(Generator):
    """A Gaussian latent through layers 64 -> 128 -> hidden -> width with LayerNorm; batch statistics would mix rows."""

    def __init__(self, sizes: Sequence[int], hidden: int, rng: torch.Generator) -> None:
        super().__init__(sizes)
        widths = [NOISE_WIDTH, 128, hidden, self.blocks.width]
        linear = [nn.Linear(before, after) for before, after in pairwise(widths)]
        with torch.no_grad():
            for layer in linear:
                nn.init.kaiming_uniform_(layer.weight, generator=rng)
                layer.bias.zero_()
        self.net = nn.Sequential(
            linear[0], nn.LayerNorm(128), nn.ReLU(), linear[1], nn.LayerNorm(hidden), nn.ReLU(), linear[2]
        )

    def logits(self, rows: int, rng: torch.Generator) -> Tensor:
        latents = torch.randn(rows, NOISE_WIDTH, generator=rng)
        out: Tensor = self.net(latents)
        return out
