"""A maximum-entropy model tilted by a discriminator, an energy-based GAN: an experiment that did not become a product.

A discriminator D that was trained on patients against as many rows of a model p has the optimum
D(x) = log(density of patients at x / p(x)) (noise-contrastive estimation, Gutmann and Hyvarinen 2010), so that

    q(x) proportional to p(x) exp(D(x))

is the patients' density: the log-linear model with one more potential, of all columns at once. The same Gibbs chains
draw from it, at the price of a pass through the network for every code of every column. See docs/adversary.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from common.columns.base import Codes
from common.planning.plan import HospitalPlan
from common.privacy.discriminator import SLOPE, Discriminator
from common.privacy.dpsgd import noisy_gradient
from common.privacy.mechanisms import NoiseSource
from common.synthesizers.gan.generator import Blocks
from common.synthesizers.gan.synthesizer import BETAS, DISCRIMINATOR_RATE
from common.synthesizers.maximum_entropy.chains import Chains, ColumnTables
from common.synthesizers.maximum_entropy.fit import Fit
from common.synthesizers.maximum_entropy.potentials import Potentials
from common.synthesizers.maximum_entropy.rows import draw_rows

CHUNK = 4096
"""Rows whose logits are computed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownRows:
    """The rows that a discriminator tells apart.

    Attributes:
        real: training rows, (rows, columns).
        fake: rows of the model, (rows, columns).
        sizes: number of codes of each column.
    """

    real: Codes
    fake: Codes
    sizes: tuple[int, ...]


def train_discriminator(net: Discriminator, shown: ShownRows, plan: HospitalPlan, noise: NoiseSource) -> None:
    """Do one round: `plan.steps` steps of DP-SGD on patients against rows of a fixed model, with a new optimizer.

    Args:
        net: discriminator, which is moved.
        shown: real and fake rows; each step draws `plan.batch` of the fake ones.
        plan: what the hospital may release. Without noise, gradients are not clipped either.
        noise: noise source of this round, also of the fake rows.
    """
    blocks, optimizer = Blocks(shown.sizes), Adam(net.parameters(), DISCRIMINATOR_RATE, betas=BETAS)
    for step in range(plan.steps):
        source = noise.named(step)
        chosen = source.poisson_sample(len(shown.real), plan.sample_rate)
        drawn = source.named("fake").poisson_sample(len(shown.fake), plan.batch / len(shown.fake))
        rows, others = (blocks.one_hot(torch.from_numpy(part)) for part in (shown.real[chosen], shown.fake[drawn]))
        if plan.noise_multiplier:
            gradients = noisy_gradient(net, rows, others, plan.step, source)
        else:  # the same without bounds per patient, several times as fast
            loss = (F.softplus(-net(rows)).sum() + F.softplus(net(others)).sum()) / plan.batch
            gradients = list(torch.autograd.grad(loss, list(net.parameters())))
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


class TiltedChains(Chains):
    """Gibbs chains of p(x) exp(D(x)).

    Args:
        potentials: potentials of the model p.
        rows: codes, int64, shape (chains, columns).
        rng: of the draws.
        net: D.
    """

    def __init__(self, potentials: Potentials, rows: Tensor, rng: torch.Generator, *, net: Discriminator) -> None:
        super().__init__(potentials, rows, rng)
        self._net = net

    def logits(self, column: int, table: ColumnTables, logits: Tensor | None = None) -> Tensor:
        """Return the model's logits plus D of each chain with every code of the column, (chains, codes)."""
        logits = super().logits(column, table, logits)
        with torch.no_grad():
            ratios = [self._log_ratios(part, column, logits.shape[1]) for part in torch.split(self.positions, CHUNK)]
        return logits + torch.cat(ratios)

    def _log_ratios(self, positions: Tensor, column: int, codes: int) -> Tensor:
        """Return D of each row with every code of a column in turn, (rows, codes)."""
        first, second, last = self._net.linear
        by_code, start = first.weight.T, int(self._offsets[column])
        others = F.embedding_bag(positions, by_code, mode="sum") + first.bias - by_code[positions[:, column]]
        hidden = F.leaky_relu((others[:, None] + by_code[start : start + codes]).flatten(0, 1), SLOPE)
        out: Tensor = last(F.leaky_relu(second(hidden), SLOPE))
        return out.view(len(positions), codes)


def tilted_rows(fit: Fit, net: Discriminator, rows: int, seed: int) -> Codes:
    """Draw rows of the tilted model, pulled towards the tables that the model expects, as the model's own are.

    Args:
        fit: the model p.
        net: D.
        rows: number of rows.
        seed: seed of all draws.
    """
    drawn = draw_rows(fit, rows, seed, {}, make_chains=partial(TiltedChains, net=net))
    return drawn.numpy().astype(np.int16)
