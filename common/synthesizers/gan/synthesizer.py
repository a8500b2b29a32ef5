"""The DP-GAN held to noisy marginals, as functions from weights to weights.

A generator is fitted to the marginals, then trained against a discriminator that hospitals train by DP-SGD. State
between calls is a `Weights` dictionary and nothing else. When hospitals train by themselves, optimizers start new in
every round, so a hospital may miss one and lose nothing. In synchronous training the server keeps their state from step
to step, as part of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from common.arrays import Integers, Weights
from common.columns.base import Codes
from common.marginals.loss import MarginalLoss
from common.marginals.measurements import Measurements
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import noisy_gradient
from common.privacy.quantization import ClippedGrid, QuantizationGrid
from common.privacy.synchronous import gradient_of_sum, gradient_share
from common.study.synthesizers import GanSettings
from common.synthesizers.base import DISCRIMINATOR, OPTIMIZERS, TrainingRows
from common.synthesizers.gan.descent import descend, fit_steps
from common.synthesizers.gan.generator import Blocks, Generator, MlpGenerator, PrototypeGenerator
from common.synthesizers.gan.sampling import draw
from common.synthesizers.gan.weights import dump, dump_optimizer, restore, restore_optimizer

GENERATOR = "gen."
"""Prefix of the names of the generator's weights."""

DISCRIMINATOR_RATE = 3e-3
GENERATOR_RATES = {"prototypes": 3e-2, "mlp": 1e-3}
FIT_RATES = {"prototypes": 0.1, "mlp": 2e-3}
REFINE_RATES = {"prototypes": 0.02, "mlp": 5e-4}
"""Adam's learning rates in rounds, in the fit and in the refinement, by kind of generator."""

BETAS = (0.5, 0.9)
"""Adam's decay rates in rounds; in the fit and in the refinement they are the usual (0.9, 0.999)."""

REFINE_STEPS, REFINE_BATCH = 300, 512
"""Optimizer steps of the refinement, and fake rows in each."""


@dataclass(frozen=True)
class MarginalGan:
    """A Gumbel-softmax generator held to noisy marginals, against a discriminator trained by DP-SGD.

    The methods are described in `common.synthesizers.base`.

    Args:
        settings: the study's settings of the synthesizer.
        sizes: number of codes of each column.
    """

    settings: GanSettings
    sizes: tuple[int, ...]

    def initial_weights(self, seed: int) -> Weights:
        """Return weights that depend on the seed and the sizes only."""
        return _dump_networks(*self._networks(seed))

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return weights with the generator fitted to the measurements."""
        generator, _ = self._load(weights)
        rng = torch.Generator().manual_seed(seed)
        marginal_loss = MarginalLoss(measurements)
        steps, rate = fit_steps(self.settings.fit_steps, measurements, rounds), FIT_RATES[self.settings.generator]
        descend(generator, lambda: marginal_loss(generator.probabilities(rng)), steps, rate)
        return weights | dump(generator, GENERATOR)

    def train(self, weights: Weights, rows: TrainingRows, measurements: Measurements | None, seed: int) -> Weights:
        """Do one round at one hospital: `rows.plan.steps` steps of DP-SGD, one of the generator after each."""
        alternation = self._alternation(weights, measurements, torch.Generator().manual_seed(seed))
        blocks, plan = Blocks(self.sizes), rows.plan
        for _ in range(plan.steps):
            real = blocks.one_hot(torch.from_numpy(rows.poisson_batch()))
            fake = alternation.fake(plan.batch)
            gradient = noisy_gradient(alternation.discriminator, real, fake, plan.step, rows.noise)
            alternation.step(gradient, plan.batch)
        return _dump_networks(alternation.generator, alternation.discriminator)

    def gradient(self, weights: Weights, rows: TrainingRows, quantization: QuantizationGrid) -> Integers:
        """Return one hospital's rounded gradient of a synchronous step, with its share of the noise."""
        discriminator = Discriminator(sum(self.sizes), self.settings.hidden, torch.Generator())
        restore(discriminator, DISCRIMINATOR, weights)
        real = Blocks(self.sizes).one_hot(torch.from_numpy(rows.poisson_batch()))
        clipped, share = ClippedGrid(rows.plan.clip, quantization), rows.noise.named("share")
        return gradient_share(discriminator, real, clipped, batch=rows.plan.batch, noise=share)

    def step(
        self, state: Weights, total: Integers, measurements: Measurements | None, clipped: ClippedGrid, seed: int
    ) -> Weights:
        """Do one synchronous step at the server, from the sum of the hospitals' gradients."""
        alternation = self._alternation(state, measurements, torch.Generator().manual_seed(seed))
        for optimizer, prefix in zip(alternation.optimizers, OPTIMIZERS, strict=True):
            restore_optimizer(optimizer, prefix, state)
        fake = alternation.fake(clipped.grid.batch)
        gradient = gradient_of_sum(alternation.discriminator, total, fake, clipped)
        alternation.step(gradient, clipped.grid.batch)
        after = _dump_networks(alternation.generator, alternation.discriminator)
        for optimizer, prefix in zip(alternation.optimizers, OPTIMIZERS, strict=True):
            after |= dump_optimizer(optimizer, prefix)
        return after

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        """Return weights with the generator trained against the ensemble's mean discriminator, which stays fixed."""
        generator, discriminator = self._load(weights | ensemble)
        discriminator.requires_grad_(False)
        rng = torch.Generator().manual_seed(seed)
        marginal_loss = MarginalLoss(measurements)

        def loss() -> Tensor:
            return generator.loss(discriminator, REFINE_BATCH, rng) + self.settings.marginal_weight * marginal_loss(
                generator.probabilities(rng)
            )

        descend(generator, loss, REFINE_STEPS, REFINE_RATES[self.settings.generator])
        return weights | dump(generator, GENERATOR)

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows with the given columns at the given codes."""
        generator, _ = self._load(weights)
        return draw(generator, rows, seed, given)

    def _networks(self, seed: int) -> tuple[Generator, Discriminator]:
        rng = torch.Generator().manual_seed(seed)
        generator: Generator
        if self.settings.generator == "prototypes":
            generator = PrototypeGenerator(self.sizes, self.settings.prototypes, rng)
        else:
            generator = MlpGenerator(self.sizes, self.settings.hidden, rng)
        return generator, Discriminator(sum(self.sizes), self.settings.hidden, rng)

    def _load(self, weights: Weights) -> tuple[Generator, Discriminator]:
        generator, discriminator = self._networks(seed=0)
        restore(generator, GENERATOR, weights)
        restore(discriminator, DISCRIMINATOR, weights)
        return generator, discriminator

    def _alternation(self, weights: Weights, measurements: Measurements | None, rng: torch.Generator) -> _Alternation:
        """Return both networks with new optimizers."""
        generator, discriminator = self._load(weights)
        optimizers = (
            Adam(generator.parameters(), GENERATOR_RATES[self.settings.generator], betas=BETAS),
            Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS),
        )
        marginal_loss = MarginalLoss(measurements) if measurements else None
        return _Alternation(generator, discriminator, optimizers, marginal_loss, self.settings.marginal_weight, rng)


@dataclass(frozen=True)
class _Alternation:
    """Both networks in training, a step of one after a step of the other.

    Args:
        generator: draws fake rows.
        discriminator: tells them from real ones.
        optimizers: optimizers of the generator and of the discriminator.
        marginal_loss: distance of the generator from the noisy marginals; None where there are none.
        marginal_weight: weight of that distance in the generator's loss.
        rng: random generator of the fake rows.
    """

    generator: Generator
    discriminator: Discriminator
    optimizers: tuple[Adam, Adam]
    marginal_loss: MarginalLoss | None
    marginal_weight: float
    rng: torch.Generator

    def fake(self, rows: int) -> Tensor:
        """Draw fake rows, one-hot, (rows, width)."""
        with torch.no_grad():
            return self.generator.sample(rows, self.rng)

    def step(self, gradient: Sequence[Tensor], batch: int) -> None:
        """Move the discriminator along a noisy gradient, then the generator against it with `batch` fake rows."""
        generator_optimizer, discriminator_optimizer = self.optimizers
        for parameter, part in zip(self.discriminator.parameters(), gradient, strict=True):
            parameter.grad = part
        discriminator_optimizer.step()
        # From here on all is post-processing: the generator sees the noisy discriminator, no record.
        self.discriminator.requires_grad_(False)
        loss = self.generator.loss(self.discriminator, batch, self.rng)
        if self.marginal_loss:
            loss = loss + self.marginal_weight * self.marginal_loss(self.generator.probabilities(self.rng))
        generator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        generator_optimizer.step()
        self.discriminator.requires_grad_(True)


def _dump_networks(generator: Generator, discriminator: Discriminator) -> Weights:
    return dump(generator, GENERATOR) | dump(discriminator, DISCRIMINATOR)
