"""Generators of one-hot rows: Gumbel-softmax over every column (Jang et al. 2017, arXiv 1611.01144)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 0.5
NOISE_WIDTH = 64
LANES = 16
"""Padded columns are a multiple of this long: a softmax over 10 floats takes several times as long as one over 16."""

COMPONENTS = 512
"""Latents that stand for a continuous one where a mixture is needed."""


class Blocks:
    """Where each column's logits lie in a row, and the way to a padded layout in which all columns work at once."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.width, self.columns = sum(sizes), len(sizes)
        self.largest = -(-max(sizes) // LANES) * LANES
        starts = torch.tensor([0, *sizes]).cumsum(0)[:-1]
        column = torch.repeat_interleave(torch.arange(self.columns), torch.tensor(self.sizes))
        self._slots = column * self.largest + torch.arange(self.width) - starts[column]
        self._starts = starts

    def pad(self, flat: Tensor) -> Tensor:
        """(rows, width) to (rows, columns, largest); slots that no code uses hold minus infinity."""
        padded = flat.new_full((len(flat), self.columns * self.largest), -torch.inf)
        return padded.index_copy(1, self._slots, flat).view(len(flat), self.columns, self.largest)

    def flatten(self, padded: Tensor) -> Tensor:
        """The inverse of `pad`."""
        return padded.flatten(1).index_select(1, self._slots)

    def one_hot(self, codes: Tensor) -> Tensor:
        """(rows, columns) integer codes to float32 (rows, width)."""
        rows = torch.zeros(len(codes), self.width)
        return rows.scatter_(1, codes.long() + self._starts, 1.0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax within each column: (rows, width) to (rows, width)."""
        return self.flatten(self.pad(logits).softmax(2))


def gumbel(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Standard Gumbel noise."""
    uniform = torch.rand(shape, generator=rng).clamp_(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()


class Generator(nn.Module):
    """Draws logits for a batch of latents; what is done with logits is the same for every kind."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.blocks = Blocks(sizes)

    def logits(self, rows: int, rng: torch.Generator) -> Tensor:
        """Logits of shape (rows, width) for `rows` fresh latents."""
        raise NotImplementedError

    def sample(self, rows: int, rng: torch.Generator) -> Tensor:
        """Straight-through one-hot rows, (rows, width): hard forwards, Gumbel-softmax gradients backwards."""
        logits = self.blocks.pad(self.logits(rows, rng))
        soft = ((logits + gumbel(tuple(logits.shape), rng)) / TEMPERATURE).softmax(2)
        hard = torch.zeros_like(soft).scatter_(2, soft.argmax(2, keepdim=True), 1.0)
        return self.blocks.flatten(hard + (soft - soft.detach()))  # the bracket is exactly zero

    def probabilities(self, rng: torch.Generator) -> Tensor:
        """Column probabilities, (mixture components, width), of the mixture that this generator is or stands for."""
        return self.blocks.probabilities(self.logits(COMPONENTS, rng))

    def loss(self, discriminator: Callable[[Tensor], Tensor], rows: int, rng: torch.Generator) -> Tensor:
        """How far `rows` samples are from passing for real: a scalar whose gradient is the generator's."""
        return F.softplus(-discriminator(self.sample(rows, rng))).mean()


class PrototypeGenerator(Generator):
    """A discrete latent: `prototypes` typical patients, each one row of logits. A mixture of products of columns."""

    def __init__(self, sizes: Sequence[int], prototypes: int, rng: torch.Generator) -> None:
        super().__init__(sizes)
        self.table = nn.Parameter(torch.randn(prototypes, self.blocks.width, generator=rng))

    def logits(self, rows: int, rng: torch.Generator) -> Tensor:
        return self.table[torch.randint(len(self.table), (rows,), generator=rng)]

    def probabilities(self, rng: torch.Generator) -> Tensor:
        return self.blocks.probabilities(self.table)

    def loss(self, discriminator: Callable[[Tensor], Tensor], rows: int, rng: torch.Generator) -> Tensor:
        """The likelihood of samples weighted by exp(logit), their density ratio to real rows, less an even weight.

        Boundary-seeking (Hjelm et al. 2018, arXiv 1702.08431), with the likelihood summed over all prototypes. The
        straight-through gradient reaches only the prototype that a row came from and is mostly sampling noise.
        """
        with torch.no_grad():
            drawn = self.sample(rows, rng)
            weights = discriminator(drawn).softmax(0) - 1 / rows
        logs = self.blocks.flatten(self.blocks.pad(self.table).log_softmax(2))
        return -(weights * (drawn @ logs.T).logsumexp(1)).sum()


class MlpGenerator(Generator):
    """Gaussian latent 64 -> 128 -> hidden -> width with LayerNorm (batch statistics would mix rows)."""

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
